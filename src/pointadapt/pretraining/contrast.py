"""Two views of one cloud: the second view, and the loss that brings their features together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..core.config import PretrainConfig
from ..data.transforms import augment
from ..ops import normalize
from ..training.setup import FEWEST

WIDTH = 128  # of the features that are compared
TEMPERATURE = 0.2


def second_view(clouds: Tensor, config: PretrainConfig, draw: Generator) -> Tensor:
    """(B, n, 3) another view of clouds (B, N, 3), as the network is given clouds of n points.

    With ``view_points``, n is a power of two from 64, the fewest that small clouds are given as,
    up to it, the same for all, and clouds with fewer points hold them over and over.
    """
    names = [*config.views, *(["sparse"] if config.view_points else [])]
    view = normalize(augment(clouds, names, draw))
    if not config.view_points:
        return view
    sizes = [FEWEST]
    while 2 * sizes[-1] <= config.view_points:
        sizes.append(2 * sizes[-1])
    return view[:, : sizes[int(torch.randint(len(sizes), (1,), generator=draw))]]


def projector(width: int) -> nn.Sequential:
    """(B, ``width``) features to (B, WIDTH) that are compared; thrown away after pre-training."""
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, WIDTH))


def contrast(features: Tensor) -> Tensor:
    """NT-Xent (SimCLR, Chen et al., ICML 2020, Eq. 1): each view is to find its cloud's other one.

    Args:
        features: (2 B, C), those of B clouds in one view, then in the other.
    """
    z = F.normalize(features.float(), dim=1)
    alike = z @ z.t() / TEMPERATURE
    alike = alike.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    return F.cross_entropy(alike, torch.arange(len(z), device=z.device).roll(len(z) // 2))
