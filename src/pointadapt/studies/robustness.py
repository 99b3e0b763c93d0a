"""How well an adapter's classes survive corrupted clouds: ModelNet40-C and ModelNet-C.

Both benchmarks average over corruptions and severities, in two ways.

- ModelNet40-C (Sun et al., 2022): the plain mean of the error rates.
- ModelNet-C (Ren et al., ICML 2022): the error of each corruption, summed over the severities, is
  divided by DGCNN's (CE), and the mean over the corruptions is mCE; RmCE does so with the losses
  against clean clouds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import ConfigError
from ..core.fields import at_least

OFFICIAL = ("modelnet40_c", "modelnet_c")
OnCell = Callable[[int, int], None]


@dataclass(frozen=True)
class RobustnessConfig:
    """What to score, and on what.

    Attributes:
        adapter: the folder that training wrote.
        suite: whose corruptions are made of the adapter's own test set.
        data: ``modelnet40_c`` or ``modelnet_c``, to read the official files; or another data set
            whose test split is corrupted here; by default the one it was trained on.
        root: the data set's folder on disk.
        data_options: its other options, as key=value.
        out: folder for robustness.json and robustness.png. A run that was interrupted goes on.
        most: score so many test clouds of a fixed shuffle; 0 takes all.
        seed: fixes the corruptions that are made here.
        up: the test clouds' axis that points up, for corruptions that know up from down.
        backbone: where the backbone is now, if the adapter does not find it.
    """

    adapter: Path
    suite: Literal["modelnet40_c", "modelnet_c"] = "modelnet_c"
    data: str | None = None
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    out: Path = Path("runs/robustness")
    most: int = 0
    seed: int = 0
    up: Literal["x", "y", "z"] = "z"
    backbone: str | None = None

    def __post_init__(self) -> None:
        at_least(self, 0, "most", "seed")
        if self.data in OFFICIAL and self.root is None:
            raise ConfigError(f"{self.data} is read from its official files: pass --root DIR")


def robustness(config: RobustnessConfig, on_cell: OnCell | None = None) -> dict[str, Any]:
    """Score an adapter on every corruption and severity.

    All points of a corrupted cloud enter the network, as in the benchmarks; so their number varies.
    Scores are written to ``out`` one by one, and a second call takes those that are there.

    Args:
        config: what to score, and on what.
        on_cell: called with the number of scored sets of clouds, and of all.

    Returns:
        The settings, ``clean`` (accuracy in percent), ``cells`` corruption -> five of (accuracy,
        points of a cloud), ``summary``: see :func:`summarize`.

    Raises:
        AdapterError: no adapter, or of another backbone.
        ConfigError: the adapter labels points, or ``out`` holds the scores of other settings.
        DataLayoutError, FileFormatError: official files are missing or damaged.
        PointAdaptError: the data set has other classes than the adapter.
    """
    from .corrupted_scores import run

    return run(config, on_cell)
