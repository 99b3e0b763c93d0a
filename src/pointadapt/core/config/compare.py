"""The configuration of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..fields import LAST_SEED, at_least
from ..plain import shown
from .study import StudyConfig


@dataclass(frozen=True)
class CompareConfig(StudyConfig):
    """Methods under one protocol; all options but the following are the same for every method.

    Attributes:
        methods: names of methods, LABEL=METHOD for a method under a name of your own, or "all".
        method_options: what is a method's own, as LABEL:key=value,key=value: its options, lr,
            min_lr, warmup_epochs, weight_decay, clip, drop_path, head, start and task_options.
        methods_file: the same in YAML, a line for each: "dapt-r64: {method: dapt, rank: 64}".
        seeds: a run for each.
        lrs: learning rates to choose among, for each method that is given none of its own: a short
            run with each, scored on training clouds held out (``val_fraction``), before the board.
        tune_epochs: length of those runs.
    """

    out: Path = Path("runs/compare")
    methods: tuple[str, ...] = ()
    method_options: tuple[str, ...] = ()
    methods_file: Path | None = None
    seeds: tuple[int, ...] = (0,)
    lrs: tuple[float, ...] = ()
    tune_epochs: int = 3
    jobs: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "tune_epochs")
        if len(set(self.lrs)) < len(self.lrs) or min(self.lrs, default=1.0) <= 0:
            raise ConfigError(f"lrs must be different numbers above 0, not {list(self.lrs)}")
        if (
            not self.seeds
            or len(set(self.seeds)) < len(self.seeds)
            or not (min(self.seeds) >= 0 and max(self.seeds) <= LAST_SEED)
        ):
            raise ConfigError(
                f"seeds must be different whole numbers, 0 to {LAST_SEED}, not "
                f"{shown(list(self.seeds))}"
            )
