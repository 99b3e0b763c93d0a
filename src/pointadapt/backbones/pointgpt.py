"""PointGPT (Chen et al., NeurIPS 2023, arXiv 2305.11487): patches in an order, causal attention.

As in the released fine-tuning network: the sequence is SOS, CLS, patches; each token sees those
before it. So CLS, which comes before all patches, sees none: its output is the same for every
cloud, and what a head learns of a cloud it learns from the patches. The generator, with which the
released code adds a reconstruction loss, is not built; its tensors are left over.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ConfigError
from ..ops import gather_points, group
from .base import BACKBONES, Backbone, BackboneConfig
from .layers import Attention, Block, PatchEncoder, set_drop_path
from .published.layouts import ENCODER, Layout, add_layouts, sizes, starting, swap, widths
from .published.tags import Tag, add_tags
from .published.torch_pointcloud import mirror
from .taps import BlockTaps, Taps
from .tokens import Tokens

if TYPE_CHECKING:
    from ..core.config import Published

_DEEP = (256, 512, 1024, 2048)


@dataclass(frozen=True)
class PointGPTConfig(BackboneConfig):
    """Adds the patch encoder's widths: three for :class:`PatchEncoder`, four for the deep one."""

    encoder_widths: tuple[int, ...] = (128, 256, 512)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.encoder_widths) not in (3, 4):
            raise ConfigError(f"encoder_widths are three or four, not {self.encoder_widths}")


class DeepPatchEncoder(PatchEncoder):
    """The patch encoder of PointGPT-B and -L, one layer deeper before the points of a patch meet.

    3 → w1 (BN, ReLU) → w2 (BN, ReLU) → w3; the maximum joins: 2·w3 → w4 (BN, ReLU) → dim.
    """

    def __init__(self, dim: int, widths: tuple[int, int, int, int], sign: bool = False) -> None:
        w1, w2, w3, w4 = widths
        super().__init__(dim, (w1, w2, w4), sign)
        self.norm3, self.linear5 = nn.BatchNorm1d(w2), nn.Linear(w2, w3)
        self.linear3 = nn.Linear(2 * w3, w4)

    def per_point(self, x: Tensor) -> Tensor:
        """(M, 3) coordinates to (M, w3)."""
        return self.linear5(F.relu(self.norm3(super().per_point(x)), inplace=True))


class GPTBlock(Block):
    """Block whose residual starts from the normalised input: h = LN1 x + Attn(LN1 x)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.attn = Attention(dim, heads, qkv_bias=True, causal=True)

    def _forward(self, tokens: Tokens, taps: BlockTaps) -> Tokens:
        tokens = taps.block_in(tokens)
        taps = taps.bound(tokens)
        x = taps.norm1(self.norm1(tokens.x))
        x = x + self.drop_path(self.attn(x, taps))
        h = taps.norm2(self.norm2(x))
        branch, memo = taps.mlp(h, self.mlp(h, taps), tokens.with_x(x))
        return taps.block_out(tokens.with_x(x + self.drop_path(branch)), memo)


def nearest_chain(centers: Tensor) -> Tensor:
    """The order that the released code calls simplified Morton sorting: from the first, always on
    to the nearest centre not yet taken, ties to the lower index.

    Args:
        centers: (B, G, 3).

    Returns:
        (B, G) indices.
    """
    b, g, _ = centers.shape
    centers = centers.detach().float()
    distances = (centers.unsqueeze(2) - centers.unsqueeze(1)).square().sum(dim=-1)
    rows, last = torch.arange(b, device=centers.device), centers.new_zeros(b, dtype=torch.long)
    order = [last]
    for _ in range(g - 1):
        distances[rows, :, last] = torch.inf
        last = distances[rows, last].argmin(dim=-1)
        order.append(last)
    return torch.stack(order, dim=1)


def sine_position(centers: Tensor, dim: int) -> Tensor:
    """(B, G, 3) to (B, G, D): sin 2πx and cos 2πx of each axis, over and over, zeros at the end.

    A sinusoidal embedding has falling frequencies; the released code passes 1 as their base
    (``temperature``), so all are equal. Published weights were trained so.
    """
    angles = 2 * math.pi * centers
    pair = torch.stack([angles.sin(), angles.cos()], dim=-1)
    waves = pair.repeat(1, 1, 1, dim // 6).flatten(2)
    return F.pad(waves, (0, dim - waves.shape[-1]))


@BACKBONES.register("pointgpt")
class PointGPT(Backbone):
    """The extractor of PointGPT, as fine-tuned: causal blocks over SOS, CLS and ordered patches.

    With the generator and a head the published sizes have 29.2 M (S), 120.5 M (B) and 360.5 M (L)
    parameters; without, as here, 21.8, 91.5 and 309.3 M. ``norm0`` ends the blocks; ``norm`` is
    the released head's own LayerNorm, which pre-training does not have.
    """

    config_class = PointGPTConfig
    optional = ("cls_token", "cls_pos", "norm.weight", "norm.bias")
    sizes: ClassVar[dict[str, Any]] = {
        "small": PointGPTConfig(),
        "base": PointGPTConfig(dim=768, heads=12, encoder_widths=_DEEP),
        "large": PointGPTConfig(dim=1024, depth=24, heads=16, encoder_widths=_DEEP),
    }

    def __init__(self, config: PointGPTConfig) -> None:
        super().__init__(config)
        deep = len(config.encoder_widths) == 4
        encoder: Any = DeepPatchEncoder if deep else PatchEncoder
        self.encoder = encoder(config.dim, config.encoder_widths, config.patch_sign)
        self.sos_token = nn.Parameter(torch.empty(config.dim).normal_())
        self.sos_pos = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.cls_pos = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.blocks = nn.ModuleList(GPTBlock(config.dim, config.heads) for _ in range(config.depth))
        self.norm0, self.norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.cls_pos, std=0.02)

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth of ``rate`` at the last block, 0 at the first (released code: none)."""
        set_drop_path(self.blocks, rate)

    def patches(self, points: Tensor, groups: int, group_size: int) -> Tokens:
        """(B, N, 3) points cut into patches, ordered and embedded; no prefix, no position added."""
        centers, local = group(points, groups, group_size, rule=self.config.sampling_rule)
        order = nearest_chain(centers)
        centers = gather_points(centers, order)
        local = local[torch.arange(len(order), device=order.device).unsqueeze(1), order]
        x, pos = self.encoder(local), self.position(centers)
        return Tokens(x=x, centers=centers, pos=pos, prefix=0, names=())

    def normalised(self, x: Tensor) -> Tensor:
        return self.norm(self.norm0(x))

    def position(self, centers: Tensor) -> Tensor:
        return sine_position(centers, self.config.dim)

    def embed(self, points: Tensor, taps: Taps) -> Tokens:
        """(B, N, 3) points to the sequence SOS, CLS, ordered patches, before positions are added.

        As in the released code SOS takes the position ``cls_pos``, and CLS ``sos_pos``.
        """

        def join(first: Tensor, second: Tensor, rest: Tensor) -> Tensor:
            both = torch.cat([first.view(1, 1, -1), second], dim=1).expand(rest.shape[0], -1, -1)
            return torch.cat([both.to(rest.dtype), rest], dim=1)

        own = self.patches(points, self.config.groups, self.config.group_size)
        x = join(self.sos_token, self.cls_token, taps.patch_out(own.x))
        pos = join(self.cls_pos, self.sos_pos, own.pos)
        return Tokens(x=x, centers=own.centers, pos=pos, prefix=2, names=("sos", "cls"))


_PUBLISHED = {
    **ENCODER,
    "encoder.first_conv.4.": "encoder.norm3.",
    "encoder.first_conv.6.": "encoder.linear5.",
    "blocks.layers.": "blocks.",
    "blocks.sos": "sos_token",
    "blocks.ln_f.": "norm0.",
    "blocks.cls_norm.": "norm.",
    "norm.": "unused.",  # a LayerNorm that the released forward never calls
}
_IN_BLOCK = {
    "ln_1.": "norm1.", "ln_2.": "norm2.", "attn.in_proj_": "attn.qkv.",
    "attn.out_proj.": "attn.proj.", "mlp.0.": "mlp.fc1.", "mlp.2.": "mlp.fc2.",
}  # fmt: skip
_OURS = re.compile(
    r"encoder\.(linear[1-5]|norm[1-3])\..+|norm0?\.(weight|bias)|(sos|cls)_(token|pos)"
    r"|blocks\.[0-9]{1,6}\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12])\.(weight|bias)"
)


def rename(key: str) -> str | None:
    """A key of PointGPT's pre-training, post-pre-training or fine-tuned file to ours."""
    name = swap(key.removeprefix("GPT_Transformer."), _PUBLISHED)
    if name.startswith("blocks."):
        _, index, rest = [*name.split(".", 2), ""][:3]
        name = f"blocks.{index}.{swap(rest, _IN_BLOCK)}"
    return name if _OURS.fullmatch(name) else None


def infer_config(state: Mapping[str, Tensor], facts: Published, source: str) -> PointGPTConfig:
    """The configuration that tensors (under our names) were made with; the rest is given."""
    layers = (1, 2, 5, 3) if "encoder.linear5.weight" in state else (1, 2, 3)
    return PointGPTConfig(
        **sizes(state, facts, source), encoder_widths=widths(state, layers, source)
    )


add_layouts(
    Layout(
        name="pointgpt",
        family="pointgpt",
        title="PointGPT",
        fits=lambda given: starting("GPT_Transformer.")(given) or starting("blocks.layers.")(given),
        rename=rename,
        config=infer_config,
        head="blocks.cls_head_finetune.",
        unused=lambda key: key.startswith(("generator_blocks.", "norm.", "blocks.increase_dim.")),
    )
)

_PAPER = (
    "Chen et al., PointGPT: Auto-regressively Generative Pre-training from Point Clouds, "
    "NeurIPS 2023; github.com/CGuangyan-BIT/PointGPT"
)


def _tag(
    name: str, size: str, file: str, accuracy: str, parameters: int, commit: str = ""
) -> Tag:  # fmt: skip
    """``commit``: of the mirror; there is none of the files after labelled pre-training."""
    return Tag(
        name=name, family="pointgpt", size=size, source=_PAPER, licence="MIT",
        url=mirror(f"pointgpt-{size[0]}.pretrain.guangyan-chen", commit) if commit else "",
        page=f"https://drive.google.com/file/d/{file}/view", layout="pointgpt",
        accuracy=accuracy, verified="keys, shapes, arithmetic", tuned=not commit,
        parameters=parameters,
    )  # fmt: skip


add_tags(
    _tag(
        "pointgpt-small", "small", "1gTFI327kXVDFQ90JfYX0zIS4opM1EkqX",
        "full fine-tuning: ScanObjectNN PB_T50_RS 86.9, OBJ_BG 91.6, OBJ_ONLY 90.0; "
        "ModelNet40 94.0", 21_791_104, "60f2989ead639ac920878c2d4cd467f36fbe6584",
    ),
    _tag(
        "pointgpt-base", "base", "1Gyf9ZR8MCPg1XOCALjJR9VJepV7iAi5S",
        "full fine-tuning: ScanObjectNN PB_T50_RS 89.6, OBJ_BG 93.6, OBJ_ONLY 92.5; "
        "ModelNet40 94.2", 91_494_144, "7390bc297925d3c241653bddaa9143edf20cc2d8",
    ),
    _tag(
        "pointgpt-base-post", "base", "1Gc7thuU-D1Sq4NIMTV6-U1LhVN0E2z9l",
        "after labelled post-pre-training: ScanObjectNN PB_T50_RS 91.9, OBJ_BG 95.8, "
        "OBJ_ONLY 95.2; ModelNet40 94.4", 91_494_144,
    ),
    _tag(
        "pointgpt-large", "large", "1nzCwriFbC2QoDbRpGhWvf_DbFIkFU6zV",
        "full fine-tuning: ScanObjectNN PB_T50_RS 91.1, OBJ_BG 95.7, OBJ_ONLY 94.1; "
        "ModelNet40 94.5", 309_275_648, "0e83640c82e6b6e742ee9be4bf657cb064f49efa",
    ),
    _tag(
        "pointgpt-large-post", "large", "1Kh6f6gFR12Y86FAeBtMU9NbNpB5vZnpu",
        "after labelled post-pre-training: ScanObjectNN PB_T50_RS 93.4, OBJ_BG 97.2, "
        "OBJ_ONLY 96.6; ModelNet40 94.7", 309_275_648,
    ),
)  # fmt: skip
