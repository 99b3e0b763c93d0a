"""Instant: the backbone is frozen, and a linear head is fitted to its features in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..core.errors import ConfigError
from ..core.fields import at_least
from .base import METHODS
from .linear_fit import LinearFit, Rows, fit_linear
from .linear_probe import LinearProbe


@METHODS.register("instant")
@dataclass(frozen=True)
class Instant(LinearProbe):
    """Fits a linear head to pooled tokens of two blocks, size, shape and profile.

    It has no epochs. ``--start instant`` lets another method begin where it ends: first the head,
    then the rest (Kumar et al., ICLR 2022).

    For up to 16 classes a linear support vector machine for each pair of classes, which vote; for
    more, or with the task's ``pairs=false``, multinomial logistic regression.

    Trainable on ``small`` with 15 classes: of 105 pairs a linear map of the maximum and the mean
    over the patches after the last block and the one in the middle, 4 · 384, with 29 traits; in all
    105 · (1,565 + 1) = 164,430. With Point-MAE's head on these inputs, which is what the list of
    methods counts, it would be 471,567.

    Attributes:
        strengths: to choose among by cross-validation on the training clouds: C times the number
            of the head's inputs; a small one is a strong penalty.
        traits: how much size, shape and profile weigh each, where a pooling of tokens weighs 1 (0
            leaves them out); a map is fitted with each of these, and the maps are averaged.
        parts: into which that cross-validation divides them.
    """

    title = "Instant"
    paper = "a linear classifier on frozen features; as a start: Kumar et al., LP-FT, ICLR 2022"
    head_inputs = (
        "patch_max", "patch_mean", "patch_max@mid", "patch_mean@mid", "size", "shape", "profile",
    )  # fmt: skip
    fits = True
    task_options: ClassVar[Mapping[str, Any]] = {"hidden": 0, "pairs": True}

    strengths: tuple[float, ...] = (0.3, 1, 3, 10, 30, 100, 300)
    traits: tuple[float, ...] = (0, 0.5, 1)
    parts: int = 5

    def __post_init__(self) -> None:
        at_least(self, 2, "parts")
        if not self.strengths or min(self.strengths) <= 0:
            raise ConfigError(f"strengths must be numbers above 0, not {list(self.strengths)}")
        if not self.traits or min(self.traits) < 0:
            raise ConfigError(f"traits must be numbers of at least 0, not {list(self.traits)}")

    def fit(self, rows: Rows) -> LinearFit:
        tokens = any(not of_clouds for _, of_clouds in rows.kinds)
        emphases = self.traits if tokens else tuple(filter(None, self.traits)) or (1.0,)
        return fit_linear(replace(rows, emphases=emphases), self.strengths, self.parts)
