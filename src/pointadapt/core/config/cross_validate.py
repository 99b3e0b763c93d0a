"""The configuration of a cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..fields import at_least
from .train import TrainConfig


@dataclass(frozen=True)
class CrossValidateConfig(TrainConfig):
    """Training as often as there are folds, each time without one of them, which is then predicted.

    Attributes:
        folds: how many parts the clouds are split into, class by class.
        pool: "all" splits the clouds of train and test together, "train" leaves test alone.
        folds_file: a folds.json to use, such as an earlier run's; by default the folds are drawn,
            from --seed, and written to OUT/folds.json.
        final: at the end also train an adapter on all clouds, to be used; it is stated with the
            scores of the cross-validation, since no cloud is left to score it on.
        jobs: folds at a time; 0 takes one for every GPU, or else core, 8 at most.
        together: folds that are trained in one process and in the same steps, for a GPU that small
            clouds leave idle; what cannot be is told, and trained by itself. Of each of --jobs.
        cluster: address of a Ray cluster to train on, as HOST:PORT, or "auto" on one of its nodes;
            "local" starts one here. --out, the data and the backbone must be on a file system that
            its nodes share. There, --jobs 0 takes as many at a time as there is room for, each
            with a GPU where there are some, or else --threads cores (1).
    """

    out: Path = Path("runs/cross-validate")
    folds: int = 5
    pool: Literal["all", "train"] = "all"
    folds_file: Path | None = None
    final: bool = False
    jobs: int = 0
    together: int = 1
    cluster: str = ""
    save_every: int = 50
    tensorboard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 2, "folds")
        at_least(self, 0, "jobs")
        at_least(self, 1, "together")
