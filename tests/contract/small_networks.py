"""Networks that are small enough to be worked out by hand, for tests."""

import torch

from pointadapt.backbones.point_vit import PointViT, PointViTConfig


def small_vit(depth=4):
    """Six patches of four points, 12 channels."""
    config = PointViTConfig(
        dim=12, depth=depth, heads=2, groups=6, group_size=4, encoder_widths=(8, 8, 8)
    )
    torch.manual_seed(0)
    return PointViT(config).seal()
