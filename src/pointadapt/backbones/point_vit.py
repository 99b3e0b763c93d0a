"""Point transformer of Point-MAE (Pang et al., ECCV 2022): patches, CLS, pre-norm blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..ops import group
from ._base import BACKBONES, Backbone, BackboneConfig, Tokens
from ._layers import Block, PatchEncoder, position_mlp, set_drop_path
from ._taps import Taps


@dataclass(frozen=True)
class PointViTConfig(BackboneConfig):
    """Adds the patch encoder's widths (w1, w2, w3); see :class:`PatchEncoder`."""

    encoder_widths: tuple[int, int, int] = (128, 256, 512)


@BACKBONES.register("point_vit")
class PointViT(Backbone):
    """The Point-MAE encoder with a CLS token.

    ``small`` is the published size (d=384, 12 blocks, 6 heads: 22.1 M parameters with a head).
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
    }  # fmt: skip

    def __init__(self, config: PointViTConfig) -> None:
        super().__init__(config)
        self.encoder = PatchEncoder(config.dim, config.encoder_widths)
        self.pos_embed = position_mlp(config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.cls_pos = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.blocks = nn.ModuleList(Block(config.dim, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.cls_pos, std=0.02)

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth of ``rate`` at the last block, 0 at the first."""
        set_drop_path(self.blocks, rate)

    def embed(self, points: Tensor, taps: Taps) -> Tokens:
        """(B, N, 3) points to the sequence CLS, patches, before positions are added."""
        c = self.config
        centers, groups = group(points, c.groups, c.group_size, rule=c.sampling_rule)
        patches = taps.patch_out(self.encoder(groups))
        x, pos = self.prepend_cls(patches, self.pos_embed(centers))
        return Tokens(x=x, centers=centers, pos=pos)

    def prepend_cls(self, x: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        """The CLS token before patch tokens (B, G, D), and its position before theirs."""

        def join(first: Tensor, rest: Tensor) -> Tensor:
            return torch.cat([first.expand(len(rest), -1, -1).to(rest.dtype), rest], dim=1)

        return join(self.cls_token, x), join(self.cls_pos, pos)

    def forward(self, points: Tensor, taps: Taps | None = None) -> Tokens:
        """Tokens after the final LayerNorm.

        Args:
            points: (B, N, 3), N at least the number of groups and the group size.
            taps: what a method adds; nothing when None.
        """
        taps = taps if taps is not None else Taps(len(self.blocks))
        return self.encode(taps.tokens_in(self.embed(points, taps)), taps)


_PUBLISHED = {  # Point-MAE's names -> ours
    "encoder.first_conv.0.": "encoder.linear1.",
    "encoder.first_conv.1.": "encoder.norm1.",
    "encoder.first_conv.3.": "encoder.linear2.",
    "encoder.second_conv.0.": "encoder.linear3.",
    "encoder.second_conv.1.": "encoder.norm2.",
    "encoder.second_conv.3.": "encoder.linear4.",
    "blocks.blocks.": "blocks.",
}

_BLOCK_TENSOR = re.compile(
    r"blocks\.\d+\.(norm[12]\.(weight|bias)|attn\.(qkv\.weight|proj\.(weight|bias))"
    r"|mlp\.fc[12]\.(weight|bias))"
)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under Point-MAE's names (prefixes already stripped) under ours.

    1×1 convolutions become linear layers. Names that are no backbone tensor's are left out.
    """
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key
        for old, new in _PUBLISHED.items():
            if key.startswith(old):
                name = new + key[len(old) :]
        if name.startswith(("encoder.linear", "encoder.norm", "pos_embed.", "norm.")) or (
            name.startswith("blocks.") and _BLOCK_TENSOR.fullmatch(name)
        ) or name in ("cls_token", "cls_pos"):  # fmt: skip
            conv = name.startswith("encoder.linear") and value.dim() == 3
            out[name] = value.squeeze(-1) if conv else value
    return out


def infer_config(
    state: Mapping[str, Tensor], *, heads: int, groups: int, group_size: int, source: str = "file"
) -> PointViTConfig:
    """The configuration that tensors (under our names) were made with; the rest is given.

    Raises:
        CheckpointError: a tensor that sizes are read from is missing.
    """
    try:
        dim = state["norm.weight"].shape[0]
        widths = tuple(state[f"encoder.linear{i}.weight"].shape[0] for i in (1, 2, 3))
        depth = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("blocks."))
    except ValueError:
        raise CheckpointError(f"{source} holds no transformer block") from None
    except KeyError as error:
        raise CheckpointError(f"{source}: tensor {error} is missing") from None
    return PointViTConfig(
        dim=dim, depth=depth, heads=heads, groups=groups, group_size=group_size,
        encoder_widths=widths,  # type: ignore[arg-type]
    )  # fmt: skip
