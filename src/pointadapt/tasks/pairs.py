"""Linear maps that tell two classes apart at a time, and what the pairs say together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import is_exporting

MOST_PAIRED = 16  # classes: 120 pairs


class Votes(nn.Module):
    """Numbers of pairs of classes (B, pairs) to logits (B, classes).

    A number m of the pair (i, j), i < j, in the order (0, 1), (0, 2) … (1, 2) …, gives class i
    log σ(m) and class j log σ(-m): a pair that knows neither class cannot outvote the others. The
    sum is divided by half the number of classes, so that of two σ(m) itself is the probability.
    """

    first: Tensor
    second: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        index = torch.triu_indices(classes, classes, 1)
        for name, of in (("first", index[0]), ("second", index[1])):
            self.register_buffer(name, F.one_hot(of, classes).float(), persistent=False)
        self.pairs, self.scale = index.shape[1], 2 / classes

    def forward(self, margins: Tensor) -> Tensor:
        wide = margins.float()
        return (_logs(wide) @ self.first + _logs(-wide) @ self.second) * self.scale


def _logs(margins: Tensor) -> Tensor:
    """The logarithm of σ(m), which exporters take of σ(m) itself: of a large -m it is infinite."""
    if is_exporting():
        return margins.clamp(max=0) - (1 + (-margins.abs()).exp()).log()
    return F.logsigmoid(margins)


def voting(classes: int) -> Votes | None:
    """The votes of pairs of ``classes``; None of so many that each gets a number of its own."""
    return Votes(classes) if classes <= MOST_PAIRED else None
