"""Farthest point sampling of the training clouds, once a run instead of once an epoch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data.transforms import sampled
from ..ops import farthest_point_sample, gather_points


class FirstPoints:
    """Brings clouds down to what :func:`transforms.resample` would sample of them first.

    That sampling starts at a cloud's first point and draws nothing, so it picks the same points in
    every epoch: they are worked out when a cloud first comes, and remembered (4 bytes a point).

    Args:
        clouds: how many there are.
        n: points that enter the network.
    """

    def __init__(self, clouds: int, n: int) -> None:
        self.most = sampled(n)
        self.n, self.known = n, np.zeros(clouds, dtype=bool)
        self.index = torch.empty(0, self.most, dtype=torch.int32)

    def __call__(self, at: np.ndarray, points: Tensor) -> Tensor:
        """Normalised ``points`` (B, N, 3) of the clouds ``at``, (B, most, 3) of them in order.

        As they are where there are no more, and on a GPU, where sampling costs nothing to speak of.
        """
        if points.shape[1] <= self.most or not points.is_cpu:
            return points
        if not len(self.index):
            self.index = torch.empty(len(self.known), self.most, dtype=torch.int32)
        new = np.flatnonzero(~self.known[at])
        if len(new):
            found = farthest_point_sample(points[new], self.most, check=False)
            self.index[at[new]] = found.to(torch.int32)
            self.known[at[new]] = True
        return gather_points(points, self.index[at].long())
