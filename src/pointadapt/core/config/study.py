"""What the configurations of many runs have in common."""

from __future__ import annotations

from dataclasses import dataclass

from ..fields import at_least
from .train import TrainConfig


@dataclass(frozen=True)
class StudyConfig(TrainConfig):
    """Many runs of one kind: seeds, folds, episodes.

    Attributes:
        jobs: runs at a time. More than one makes them slow one another, which their times show; 0
            takes one for every GPU, or else core, 8 at most.
        together: runs that are trained in one process and in the same steps, for a GPU that small
            clouds leave idle; what cannot be is told, and trained by itself. Of each of --jobs.
        cluster: address of a Ray cluster to train on, as HOST:PORT, or "auto" on one of its nodes;
            "local" starts one here. --out, the data and the backbone must be on a file system that
            its nodes share. There, --jobs 0 takes as many at a time as there is room for, each
            with a GPU where there are some, or else --threads cores (1).
    """

    jobs: int = 0
    together: int = 1
    cluster: str = ""
    tensorboard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 0, "jobs")
        at_least(self, 1, "together")
