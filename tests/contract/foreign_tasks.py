"""Two tasks that nothing in the package or in its other tests knows; installed by test_tasks.py.

One tells which of some parts a cloud has, any number of them; the other predicts a number, which
is a column of the data's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F

from pointadapt.tasks import TASKS, Answer, Measure, Names, Task
from pointadapt.tasks.classification import ClassificationHead

PARTS = ("leg", "arm", "seat", "top")


@TASKS.register("has_parts")
@dataclass(frozen=True)
class HasParts(Task):
    """Which of four parts a cloud has: binary cross-entropy on each."""

    measures = (Measure("exact", "all parts right"), Measure("each", "parts right"))
    answers = "parts"

    hidden: int = 16

    def names(
        self, classes: Sequence[str], parts: Sequence[str] = (), features: Sequence[str] = ()
    ) -> Names:
        return Names(PARTS)

    def make_head(self, config, inputs, names):
        return ClassificationHead(config.dim, inputs, len(PARTS), (self.hidden,), dropout=0.0)

    def target(self, clouds):
        words = np.array([name.rpartition("/")[2] for name in clouds.part_names])
        return np.stack(
            [(words[clouds.parts] == part).any(axis=1) for part in PARTS], axis=1
        ).astype(np.float32)

    def loss(self, output, target):
        return F.binary_cross_entropy_with_logits(output.float(), target)

    def activate(self, output):
        return output.sigmoid()

    def answer(self, predicted, names, top=1):
        sure = sorted(zip(PARTS, predicted.tolist(), strict=True), key=lambda item: -item[1])
        has = [name for name, p in zip(PARTS, predicted.tolist(), strict=True) if p > 0.5]
        return Answer(", ".join(has) or "none", top=tuple(sure[:top]), values=dict(sure))

    def truth(self, target, names):
        return ", ".join(p for p, has in zip(PARTS, target.tolist(), strict=True) if has) or "none"

    def score(self, predicted, target, names, category):
        right = (predicted > 0.5) == (target > 0.5)
        each = 100 * right.double().mean(dim=0)
        return {
            "exact": round(100 * float(right.all(dim=1).double().mean()), 4),
            "each": round(float(each.mean()), 4),
            "per_class": dict(zip(PARTS, each.tolist(), strict=True)),
            "count": len(target),
        }


@TASKS.register("column")
@dataclass(frozen=True)
class Column(Task):
    """A number of each cloud, from a column of the data: squared error."""

    measures = (Measure("less_error", "minus the mean error", "m"), Measure("bias", "bias", "m"))
    answers = "height"

    column: str = "height"

    def make_head(self, config, inputs, names):
        return ClassificationHead(config.dim, inputs, 1, (16,), dropout=0.0)

    def target(self, clouds):
        return clouds.extra(self.column)

    def loss(self, output, target):
        return F.mse_loss(output.float().squeeze(-1), target)

    def predict(self, probabilities, category, names):
        return probabilities.squeeze(-1)

    def score(self, predicted, target, names, category):
        apart = (predicted - target).double()
        error, bias = -float(apart.abs().mean()), float(apart.mean())
        return {"less_error": error, "bias": bias, "count": len(target)}
