"""Voting: each cloud is predicted several times, scaled and shifted anew, and the mean counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.config.words import Voting
from ..data.transforms import resample_along, scale_shift
from ..ops import gather_points
from ..ops.subset import taken_index


@dataclass(frozen=True)
class Look:
    """What the network sees of clouds at a time.

    Attributes:
        seen: (B, n, 3) what it is given.
        where: (B, n, 3) the same points where they are in the clouds.
        features: (B, n, C) of these points, where there are any.
    """

    seen: Tensor
    where: Tensor
    features: Tensor | None


@dataclass(frozen=True)
class Votes:
    """How clouds are looked at.

    Attributes:
        count: how often; 0 is once, as they are.
        seed: fixes the draws.
        how: "probabilities" takes the same points every time and averages probabilities;
            "released" draws the points anew, as training does, and averages the network's output
            before its softmax, as Point-MAE's and DAPT's code does. (That code also repeats the
            whole vote 299 times and reports the best on the test set, which is not done here.)
    """

    count: int = 0
    seed: int = 0
    how: Voting = "probabilities"

    @property
    def outputs(self) -> bool:
        """Whether the network's output is averaged, before it is made into probabilities."""
        return self.count > 0 and self.how == "released"

    def looks(self, points: Tensor, features: Tensor | None, n: int) -> Iterator[Look]:
        """The looks at normalised clouds (B, N, 3), of n points each.

        Raises:
            PointCloudError: N < n.
        """
        draws = [torch.Generator().manual_seed(self.seed * 1009 + k) for k in range(self.count)]
        along = [] if features is None else [features]
        if self.outputs:
            for draw in draws:
                some, told = resample_along(points, along, n, draw)
                yield Look(scale_shift(some, draw), some, told[0] if told else None)
            return
        index, some = taken_index(points, n), points
        if index is not None:
            some = gather_points(points, index)
            features = None if features is None else gather_points(features, index)
        yield from (Look(scale_shift(some, draw), some, features) for draw in draws)
        if not draws:
            yield Look(some, some, features)
