"""The configuration of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..fields import LAST_SEED, at_least
from ..plain import shown
from .train import TrainConfig


@dataclass(frozen=True)
class CompareConfig(TrainConfig):
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
        jobs: runs at a time. More than one makes them slow one another, which their times show; 0
            takes one for every GPU, or else core, 8 at most.
        together: runs that are trained in one process and in the same steps, for a GPU that small
            clouds leave idle; what cannot be is told, and trained by itself. Of each of --jobs.
        cluster: address of a Ray cluster to train on, as HOST:PORT, or "auto" on one of its nodes;
            "local" starts one here. --out, the data and the backbone must be on a file system that
            its nodes share. There, --jobs 0 takes as many at a time as there is room for, each
            with a GPU where there are some, or else --threads cores (1).
    """

    out: Path = Path("runs/compare")
    methods: tuple[str, ...] = ()
    method_options: tuple[str, ...] = ()
    methods_file: Path | None = None
    seeds: tuple[int, ...] = (0,)
    lrs: tuple[float, ...] = ()
    tune_epochs: int = 3
    jobs: int = 1
    together: int = 1
    cluster: str = ""
    tensorboard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 0, "jobs")
        at_least(self, 1, "tune_epochs", "together")
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
