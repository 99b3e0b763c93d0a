"""Made-up voxels that tests of networks over them share."""

import torch

from pointadapt.backbones.voxel.levels import Voxels


def cloud(seed, side, filled=0.4):
    """A cube of ``side`` voxels, of which this share is filled."""
    draw = torch.Generator().manual_seed(seed)
    grid = (torch.rand(side, side, side, generator=draw) < filled).nonzero()
    features = torch.randn(len(grid), 4, generator=draw)
    return Voxels(grid, grid * 0.1, features, torch.zeros(len(grid), dtype=torch.long))


def joined(*clouds):
    """One batch of single clouds, which are numbered in their order."""
    batch = torch.cat([torch.full((len(c.grid),), i) for i, c in enumerate(clouds)])
    parts = ("grid", "coord", "features")
    return Voxels(*(torch.cat([getattr(c, name) for c in clouds]) for name in parts), batch)
