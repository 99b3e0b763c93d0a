"""The Point Transformer V3 family as a backbone: clouds in, a token for each point out.

Clouds are drawn to voxels, which go through the network of :mod:`pointadapt.backbones.voxel`
together; each point is given what its voxel has. So heads of one width read it as any backbone: the
CLS token is the mean over a cloud's voxels, the patch tokens are the points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import ConfigError, PointCloudError
from ..core.fields import at_least
from ..ops import normalize
from .base import BACKBONES, Backbone, BackboneConfig
from .taps import Taps
from .tokens import Tokens
from .voxel.config import PTv3Config
from .voxel.inputs import FEATURES, Recipe, drawn, find_recipe, together
from .voxel.levels import Voxels
from .voxel.network import PTv3
from .voxel.sizes import SIZES
from .voxel.stages import StagedTaps, StageView, stage_views

OWN = PTv3Config(
    in_channels=3 + len(find_recipe("ball").takes), depths=(1, 1, 1, 1), channels=(32, 48, 64, 96),
    heads=(2, 3, 4, 6), patch_sizes=(256,) * 4, decoder_depths=(1, 1, 1),
    decoder_channels=(48, 48, 64), decoder_heads=(3, 3, 4), decoder_patch_sizes=(256,) * 3,
)  # fmt: skip


@dataclass(frozen=True)
class VoxelConfig(BackboneConfig):
    """A network over voxels, and what it wants of clouds.

    What every family's configuration has follows from these: ``dim`` is the width of a point's
    features (of the decoder, or of all stages side by side), ``depth`` is 1, ``heads`` those of all
    stages together. There are no patches of points, so ``groups`` and ``group_size`` are 1 whatever
    is asked for.

    Attributes:
        network: widths and depths of its stages.
        recipe: a name of :data:`.voxel.inputs.RECIPES`.
        grid: edge of a voxel, after scaling; 0 for the recipe's.
    """

    network: PTv3Config = OWN
    recipe: str = "ball"
    grid: float = 0.0

    def __post_init__(self) -> None:
        c, given = self.network, self.input
        wants = 3 * ("coord" in given.columns) + len(given.takes)
        if wants != c.in_channels:
            raise ConfigError(
                f"the recipe {self.recipe!r} gives {wants} features of a voxel, but the network "
                f"takes {c.in_channels}"
            )
        width = c.decoder_channels[0] if c.decoder_channels else sum(c.channels)
        derived = {"dim": width, "depth": 1, "heads": sum((*c.heads, *c.decoder_heads)),
                   "groups": 1, "group_size": 1, "qkv_bias": True}  # fmt: skip
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def input(self) -> Recipe:
        """What it wants of clouds."""
        at_least(self, 0, "grid")
        given = find_recipe(self.recipe)
        return replace(given, grid=self.grid) if self.grid else given


def sized(name: str) -> VoxelConfig:
    """A published size of :data:`.voxel.sizes.SIZES`, with what its clouds were in pre-training.

    The linear layer to the classes of its own data is left out, and the mask token of pre-training.
    """
    network = replace(SIZES[name], classes=0, mask_token=False)
    return VoxelConfig(network=network, recipe=recipe_of(network))


def recipe_of(network: PTv3Config) -> str:
    """What a published network of this form wants of scenes indoors."""
    if network.form == "ptv3":
        return "ptv3_driving" if network.in_channels == 4 else "ptv3_indoor"
    return "utonia_room" if network.rope_base else "concerto"


@BACKBONES.register("ptv3")
class PointTransformerV3(Backbone):
    """Encoder, or encoder and decoder, over voxels.

    ``tiny`` is this project's own size, 1.0 M parameters, for training on a CPU: clouds come
    centred and scaled as the older families take them, whatever their unit, and it is given
    colours, intensity, numbers of returns and traits of points where the data have them. The
    others are published sizes, which take metres, z up.
    """

    config_class = VoxelConfig
    sizes: ClassVar[dict[str, Any]] = {
        "tiny": VoxelConfig(),
        **{name: sized(name) for name in SIZES},
    }
    positions_enter = "once"
    sites = ("patch_out", "norm_out")
    pointwise = True

    def __init__(self, config: VoxelConfig) -> None:
        super().__init__(config)
        self.net = PTv3(config.network)
        self.recipe, self.takes = config.input, config.input.takes
        self.metric = self.recipe.metric
        scaled = self.recipe.scaled and self.takes
        self.scale = nn.BatchNorm1d(len(self.takes), affine=False) if scaled else None

    def stage_views(self) -> Sequence[StageView]:
        return stage_views(self.net, "net.")

    def set_drop_path(self, rate: float) -> None:
        self.net.set_drop_path(rate)

    def forward(
        self, points: Tensor, taps: Taps | None = None, features: Tensor | None = None
    ) -> Tokens:
        """A token for each point, after the mean over the voxels of its cloud.

        Args:
            points: (B, N, 3), in metres where it is ``metric``.
            taps: of each stage, see :class:`.voxel.stages.StagedTaps`.
            features: (B, N, F) what it ``takes``; zeros by default.
        """
        if points.dim() != 3 or points.shape[2] != 3:
            raise PointCloudError(f"clouds are (B, N, 3) points, not {tuple(points.shape)}")
        voxels, voxel_of = self.voxels(points, features)
        stages: Any = taps.stages if isinstance(taps, StagedTaps) else None
        pyramid = self.net(voxels, stages)
        x = pyramid.upcast() if pyramid.decoded is None else pyramid.decoded
        every = x.index_select(0, voxel_of).view(*points.shape[:2], -1)
        tokens = torch.cat([self._mean(x, voxels.batch, len(points)).unsqueeze(1), every], dim=1)
        centers = normalize(points.float()) if self.metric else points
        return Tokens(tokens, centers, x.new_zeros(*tokens.shape[:2], 0))

    def voxels(self, points: Tensor, features: Tensor | None) -> tuple[Voxels, Tensor]:
        """The clouds as one batch of voxels, and (B N,) the voxel of each point."""
        told = [self._told(x) for x in features] if features is not None else [{}] * len(points)
        each = [drawn(*cloud, self.recipe) for cloud in zip(points, told, strict=True)]
        voxels = together([one for one, _ in each])
        first = torch.tensor([0, *(len(one.grid) for one, _ in each)]).cumsum(0).tolist()
        rows = torch.cat([row + at for (_, row), at in zip(each, first, strict=False)])
        return self._scaled(voxels), rows

    def _told(self, features: Tensor) -> dict[str, Tensor]:
        """(N, F) features as columns."""
        names = [name for name in self.recipe.columns if name in FEATURES]
        parts = features.float().split([len(FEATURES[name]) for name in names], dim=1)
        return dict(zip(names, parts, strict=True))

    def _scaled(self, voxels: Voxels) -> Voxels:
        if self.scale is None:
            return voxels
        at, told = voxels.features.split([3, len(self.takes)], dim=1)
        return replace(voxels, features=torch.cat([at, self.scale(told)], dim=1))

    @staticmethod
    def _mean(x: Tensor, batch: Tensor, clouds: int) -> Tensor:
        """(B, C) means of the rows (V, C) of each cloud."""
        total = x.new_zeros(clouds, x.shape[1], dtype=torch.float32).index_add(0, batch, x.float())
        return (total / batch.bincount(minlength=clouds).unsqueeze(1)).to(x.dtype)
