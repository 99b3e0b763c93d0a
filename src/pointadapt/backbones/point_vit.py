"""Point transformer of Point-MAE (Pang et al., ECCV 2022): patches, CLS, pre-norm blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..core.errors import ConfigError
from ..ops import group
from .base import BACKBONES, Backbone, BackboneConfig
from .layers import Block, PatchEncoder, position_mlp, set_drop_path
from .published.layouts import ENCODER, Layout, add_layouts, sizes, starting, swap, width, widths
from .published.tags import Tag, add_tags
from .taps import Taps
from .tokens import Tokens

if TYPE_CHECKING:
    from ..core.config import Published


@dataclass(frozen=True)
class PointViTConfig(BackboneConfig):
    """What the families of this form differ in.

    Attributes:
        encoder_widths: the patch encoder's (w1, w2, w3); see :class:`PatchEncoder`.
        encoder_dim: width of the patch encoder's output where a linear layer ``reduce_dim`` takes
            it to D (Point-BERT, MaskPoint: 256); 0 for none.
        position: the centre's coordinates to the position MLP ("mlp"), or their sines and cosines
            ("sine", PCP-MAE).
    """

    encoder_widths: tuple[int, int, int] = (128, 256, 512)
    encoder_dim: int = 0
    position: Literal["mlp", "sine"] = "mlp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder_dim < 0:
            raise ConfigError(f"encoder_dim must be at least 0, not {self.encoder_dim}")
        if self.position == "sine" and self.dim % 6:
            raise ConfigError(f"position sine needs a width that 6 divides, not {self.dim}")


class SinePosition(nn.Sequential):
    """PCP-MAE's position embedding: sines and cosines of a centre, D → D, GELU, D → D (§3.3).

    Axis by axis, sin(ω x) for all ω, then cos(ω x); ω_i = 10000^(-6 i / D), i < D / 6.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.dim = dim

    def forward(self, centers: Tensor) -> Tensor:  # type: ignore[override]
        """(B, G, 3) to (B, G, D)."""
        steps = torch.arange(self.dim // 6, device=centers.device, dtype=torch.float32)
        angles = centers.unsqueeze(-1) * 10000.0 ** (-steps * 6 / self.dim)
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        return super().forward(waves)


@BACKBONES.register("point_vit")
class PointViT(Backbone):
    """The Point-MAE encoder with a CLS token.

    ``small`` is the published size (d=384, 12 blocks, 6 heads: 22.1 M parameters with a head), of
    Point-MAE and ACT; ``small_reduced`` is Point-BERT's, ``small_reduced_plain`` MaskPoint's,
    ``small_sine`` PCP-MAE's.
    ``tiny`` trains on a laptop and ships inside the package.
    """

    config_class = PointViTConfig
    optional = ("cls_token", "cls_pos")
    sizes: ClassVar[dict[str, Any]] = {
        "tiny": PointViTConfig(
            dim=192, depth=6, heads=6, groups=64, encoder_widths=(64, 128, 256),
            sampling_rule="plain",
        ),
        "small": PointViTConfig(),
        "small_reduced": PointViTConfig(encoder_dim=256),
        "small_reduced_plain": PointViTConfig(encoder_dim=256, sampling_rule="plain"),
        "small_sine": PointViTConfig(position="sine"),
    }  # fmt: skip

    def __init__(self, config: PointViTConfig) -> None:
        super().__init__(config)
        width = config.encoder_dim or config.dim
        self.encoder = PatchEncoder(width, config.encoder_widths, config.patch_sign)
        self.reduce_dim = nn.Linear(width, config.dim) if config.encoder_dim else nn.Identity()
        sine = config.position == "sine"
        self.pos_embed = SinePosition(config.dim) if sine else position_mlp(config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.cls_pos = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, qkv_bias=config.qkv_bias) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.cls_pos, std=0.02)

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth of ``rate`` at the last block, 0 at the first."""
        set_drop_path(self.blocks, rate)

    def fold_layer(self, site: str) -> str:
        reduced = site == "patch_out" and self.config.encoder_dim
        return "reduce_dim" if reduced else super().fold_layer(site)

    def position(self, centers: Tensor) -> Tensor:
        return self.pos_embed(centers)

    def patches(self, points: Tensor, groups: int, group_size: int) -> Tokens:
        centers, local = group(points, groups, group_size, rule=self.config.sampling_rule)
        x, pos = self.reduce_dim(self.encoder(local)), self.position(centers)
        return Tokens(x=x, centers=centers, pos=pos, prefix=0)

    def embed(self, points: Tensor, taps: Taps) -> Tokens:
        """(B, N, 3) points to the sequence CLS, patches, before positions are added."""
        patches = self.patches(points, self.config.groups, self.config.group_size)
        x, pos = self.prepend_cls(taps.patch_out(patches.x), patches.pos)
        return Tokens(x=x, centers=patches.centers, pos=pos)

    def prepend_cls(self, x: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        """The CLS token before patch tokens (B, G, D), and its position before theirs."""

        def join(first: Tensor, rest: Tensor) -> Tensor:
            return torch.cat([first.expand(rest.shape[0], -1, -1).to(rest.dtype), rest], dim=1)

        return join(self.cls_token, x), join(self.cls_pos, pos)


_OURS = re.compile(
    r"encoder\.(linear[1-4]|norm[12])\..+|reduce_dim\..+|pos_embed\..+|norm\.(weight|bias)"
    r"|cls_token|cls_pos|blocks\.[0-9]{1,6}\.(norm[12]\.(weight|bias)|attn\.qkv\.weight"
    r"|attn\.proj\.(weight|bias)|mlp\.fc[12]\.(weight|bias))"
)


def renamer(prefix: str = "") -> Callable[[str], str | None]:
    """A published key of this form to ours, ``prefix`` stripped; None for no backbone tensor's."""

    def rename(key: str) -> str | None:
        name = swap(key.removeprefix(prefix), {**ENCODER, "blocks.blocks.": "blocks."})
        return name if _OURS.fullmatch(name) else None

    return rename


def infer_config(
    state: Mapping[str, Tensor], facts: Published, source: str = "file"
) -> PointViTConfig:
    """The configuration that tensors (under our names) were made with; the rest is given.

    Raises:
        CheckpointError: a tensor that sizes are read from is missing.
    """
    reduced, position = "reduce_dim.weight" in state, "pos_embed.0.weight" in state
    return PointViTConfig(
        **sizes(state, facts, source),
        encoder_widths=widths(state, (1, 2, 3), source),  # type: ignore[arg-type]
        encoder_dim=width(state, "reduce_dim.weight", source, 1) if reduced else 0,
        position="sine" if position and has_sine_position(state, source) else "mlp",
    )


def has_sine_position(state: Mapping[str, Tensor], source: str = "file") -> bool:
    """Whether the position MLP takes more than a centre's three coordinates."""
    return width(state, "pos_embed.0.weight", source, 1) != 3


point_mae = renamer("MAE_encoder.")

add_layouts(
    Layout(
        name="point_mae",
        family="point_vit",
        title="Point-MAE",
        fits=lambda given: starting("MAE_encoder.")(given) or starting("blocks.blocks.")(given),
        rename=point_mae,
        config=infer_config,
        fallback=True,
    )
)

add_tags(
    Tag(
        name="point_mae-small",
        family="point_vit",
        size="small",
        source="Pang et al., Masked Autoencoders for Point Cloud Self-supervised Learning, "
        "ECCV 2022; github.com/Pang-Yatian/Point-MAE",
        licence="MIT",
        url="https://github.com/Pang-Yatian/Point-MAE/releases/download/main/pretrain.pth",
        page="https://github.com/Pang-Yatian/Point-MAE",
        layout="point_mae",
        accuracy="full fine-tuning: ScanObjectNN PB_T50_RS 85.18, OBJ_BG 90.02, OBJ_ONLY 88.29; "
        "ModelNet40 93.2, 93.8 with voting",
        verified="keys, shapes, arithmetic",
        parameters=21_825_792,
    )
)
