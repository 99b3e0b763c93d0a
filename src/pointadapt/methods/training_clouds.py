"""Training clouds as a method may look at them before training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..ops import normalize
from ..ops.subset import take


@dataclass(frozen=True)
class TrainingClouds:
    """Training clouds as :meth:`pointadapt.methods.Method.prepare` sees them: not augmented.

    Attributes:
        points: (M, N, 3) of the data set.
        count: points of a cloud that enter the network.
        seed: of the run.
        device: where batches are to be.
        normalise: whether each cloud is centred and scaled.
    """

    points: np.ndarray
    count: int
    seed: int = 0
    device: torch.device | str = "cpu"
    normalise: bool = True

    def __len__(self) -> int:
        return len(self.points)

    def batch(self, rows: Tensor) -> Tensor:
        """The clouds of these numbers, (len(rows), count, 3), prepared and sampled as for scoring.

        Raises:
            PointCloudError: they have fewer points than that.
        """
        points = torch.from_numpy(self.points[rows.numpy()]).to(self.device).float()
        return take(normalize(points) if self.normalise else points, self.count)
