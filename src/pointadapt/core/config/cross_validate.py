"""The configuration of a cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..fields import at_least
from .study import StudyConfig


@dataclass(frozen=True)
class CrossValidateConfig(StudyConfig):
    """Training as often as there are folds, each time without one of them, which is then predicted.

    Attributes:
        folds: how many parts the clouds are split into, class by class.
        pool: "all" splits the clouds of train and test together, "train" leaves test alone.
        folds_file: a folds.json to use, such as an earlier run's; by default the folds are drawn,
            from --seed, and written to OUT/folds.json.
        final: at the end also train an adapter on all clouds, to be used; it is stated with the
            scores of the cross-validation, since no cloud is left to score it on.
    """

    out: Path = Path("runs/cross-validate")
    folds: int = 5
    pool: Literal["all", "train"] = "all"
    folds_file: Path | None = None
    final: bool = False
    save_every: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 2, "folds")
