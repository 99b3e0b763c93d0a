"""The configuration of a robustness study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..fields import at_least, seeds


@dataclass(frozen=True)
class RobustnessConfig:
    """What to score, and on what.

    Attributes:
        adapter: the folder that training wrote, or hf://owner/name.
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
        threads: CPU threads; 0 leaves it to torch.
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
    threads: int = 0

    def __post_init__(self) -> None:
        at_least(self, 0, "most", "threads")
        seeds(self, "seed")
