"""ReCon (Qi et al., ICML 2023, arXiv 2302.02318): three global tokens beside the patches.

A block has two branches. Patches (and prompts) attend to each other. The global tokens (CLS,
image, text) attend to the patches through weights of their own (``contrast``), and not to each
other. In the released code the residual of both branches starts from the *normalised* features,
twice a block: h = LN1 x + Attn(LN1 x), then LN2 h + MLP(LN2 h).

Taps see one sequence of all tokens, so a method needs to know nothing of this. Two notes: at
``qkv`` the rows of global tokens hold their query, and zeros for key and value, which nobody reads;
and the keys and values that global tokens read come from ``contrast.attn.kv``, which has no tap of
its own (what a method puts before all keys at ``kv``, global tokens see too).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import group
from .base import BACKBONES, Backbone, BackboneConfig
from .layers import Block, DropPath, Mlp, PatchEncoder, attend, position_mlp, set_drop_path
from .published.layouts import ENCODER, Layout, add_layouts, sizes, swap, widths
from .published.tags import Tag, add_tags
from .taps import BlockTaps, Taps
from .tokens import Tokens

if TYPE_CHECKING:
    from ..core.config import Published

NAMES = ("cls", "img", "text")
_GLOBAL = len(NAMES)


@dataclass(frozen=True)
class ReConConfig(BackboneConfig):
    """Adds the patch encoder's widths (w1, w2, w3); see :class:`PatchEncoder`."""

    encoder_widths: tuple[int, int, int] = (128, 256, 512)


class CrossAttention(nn.Module):
    """Weights of the global tokens' attention to the patches; none of q and kv has a bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)


class Contrast(nn.Module):
    """A block's second set of weights, for the global tokens."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), CrossAttention(dim)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim, hidden)


class ReConBlock(Block):
    """One block; the first three tokens are the global ones."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__(dim, heads)
        self.contrast = Contrast(dim, hidden)

    def _forward(self, tokens: Tokens, taps: BlockTaps) -> Tokens:
        tokens, other = taps.block_in(tokens), self.contrast
        taps = taps.bound(tokens)
        x = taps.norm1(both(other.norm1, self.norm1, tokens.x))
        x = x + self.drop_each(self.attention(x, taps))
        h = taps.norm2(both(other.norm2, self.norm2, x))
        branch, memo = taps.mlp(h, self.feed_forward(h, taps), tokens.with_x(x))
        return taps.block_out(tokens.with_x(h + self.drop_each(branch)), memo)

    def attention(self, x: Tensor, taps: BlockTaps) -> Tensor:
        """Patches to patches, global tokens to patches; (B, T, D) to (B, T, D)."""
        (b, t, d), heads, cross = x.shape, self.attn.heads, self.contrast.attn
        queries = F.pad(cross.q(x[:, :_GLOBAL]), (0, 2 * d))
        qkv = taps.qkv(torch.cat([queries, self.attn.qkv(x[:, _GLOBAL:])], dim=1), x)
        q, k, v = qkv.reshape(b, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
        k, v = taps.kv(k, v)
        first = k.shape[2] - t  # keys that a tap put before all
        theirs = cross.kv(x[:, _GLOBAL:]).reshape(b, t - _GLOBAL, 2, heads, d // heads)

        def keys(all_of_them: Tensor, own: Tensor) -> Tensor:
            return torch.cat([all_of_them[:, :, :first], own], dim=2)

        local = [keys(one, one[:, :, first + _GLOBAL :]) for one in (k, v)]
        distant = [
            keys(one, own) for one, own in zip((k, v), theirs.permute(2, 0, 3, 1, 4), strict=True)
        ]
        out = torch.cat(
            [attend(q[:, :, :_GLOBAL], *distant), attend(q[:, :, _GLOBAL:], *local)], dim=2
        )
        out = out.transpose(1, 2).reshape(b, t, d)
        return taps.proj(both(cross.proj, self.attn.proj, out), out)

    def feed_forward(self, x: Tensor, taps: BlockTaps) -> Tensor:
        """The two MLPs; (B, T, D) to (B, T, D)."""
        other = self.contrast.mlp
        hidden = taps.act(F.gelu(taps.fc1(both(other.fc1, self.mlp.fc1, x), x)))
        return taps.fc2(both(other.fc2, self.mlp.fc2, hidden), hidden)

    def drop_each(self, x: Tensor) -> Tensor:
        """DropPath, drawn for the global tokens and for the others on their own."""
        return both(self.drop_path, self.drop_path, x)


def both(first: nn.Module, rest: nn.Module, x: Tensor) -> Tensor:
    """``first`` of the global tokens and ``rest`` of the others, (B, T, ·)."""
    if isinstance(first, DropPath) and (not first.training or first.rate == 0.0):
        return x
    return torch.cat([first(x[:, :_GLOBAL]), rest(x[:, _GLOBAL:])], dim=1)


@BACKBONES.register("recon")
class ReCon(Backbone):
    """The ReCon encoder, as fine-tuned (43.6 M parameters with a head in its published size).

    ``base`` is the paper's model; ``small`` and ``tiny`` are configurations of its repository, of
    which no weights are known to us. The released head reads CLS, image, text and the patches'
    maximum: ``--head cls img text patch_max``.
    """

    config_class = ReConConfig
    fold_layers: ClassVar[Mapping[str, str]] = {}  # two layers stand before each site
    optional = tuple(f"{name}_{what}" for name in NAMES for what in ("token", "pos"))
    sizes: ClassVar[dict[str, Any]] = {
        "tiny": ReConConfig(dim=192, heads=3),
        "small": ReConConfig(dim=256, heads=4),
        "base": ReConConfig(),
    }

    def __init__(self, config: ReConConfig) -> None:
        super().__init__(config)
        self.encoder = PatchEncoder(config.dim, config.encoder_widths)
        self.pos_embed = position_mlp(config.dim)
        for name in self.optional:
            self.register_parameter(name, nn.Parameter(torch.zeros(1, 1, config.dim)))
            nn.init.trunc_normal_(getattr(self, name), std=0.02)
        self.blocks = nn.ModuleList(
            ReConBlock(config.dim, config.heads, config.hidden) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim)

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth of ``rate`` at the last block, 0 at the first."""
        set_drop_path(self.blocks, rate)

    def patches(self, points: Tensor, groups: int, group_size: int) -> Tokens:
        """(B, N, 3) points cut into patches and embedded; no prefix, no position added."""
        centers, local = group(points, groups, group_size, rule=self.config.sampling_rule)
        x, pos = self.encoder(local), self.position(centers)
        return Tokens(x=x, centers=centers, pos=pos, prefix=0, names=())

    def position(self, centers: Tensor) -> Tensor:
        return self.pos_embed(centers)

    def embed(self, points: Tensor, taps: Taps) -> Tokens:
        """(B, N, 3) points to CLS, image, text, patches, before positions are added."""

        def join(what: str, rest: Tensor) -> Tensor:
            first = torch.cat([getattr(self, f"{name}_{what}") for name in NAMES], dim=1)
            return torch.cat([first.expand(rest.shape[0], -1, -1).to(rest.dtype), rest], dim=1)

        own = self.patches(points, self.config.groups, self.config.group_size)
        x, pos = join("token", taps.patch_out(own.x)), join("pos", own.pos)
        return Tokens(x=x, centers=own.centers, pos=pos, prefix=_GLOBAL, names=NAMES)


_CONTRAST = re.compile(r"(norm[12]|attn|mlp)_contrast\.")
_OURS = re.compile(
    r"encoder\.(linear[1-4]|norm[12])\..+|pos_embed\..+|norm\.(weight|bias)"
    r"|(cls|img|text)_(token|pos)|blocks\.[0-9]{1,6}\.(contrast\.)?(norm[12]\.(weight|bias)"
    r"|attn\.(qkv|q|kv)\.weight|attn\.proj\.(weight|bias)|mlp\.fc[12]\.(weight|bias))"
)


def rename(key: str) -> str | None:
    """A key of ReCon's pre-training or fine-tuned file to ours."""
    name = swap(key.removeprefix("MAE_encoder."), {**ENCODER, "blocks.blocks.": "blocks."})
    name = _CONTRAST.sub(r"contrast.\1.", name)
    return name if _OURS.fullmatch(name) else None


def infer_config(state: Mapping[str, Tensor], facts: Published, source: str) -> ReConConfig:
    """The configuration that tensors (under our names) were made with; the rest is given."""
    return ReConConfig(
        **sizes(state, facts, source),
        encoder_widths=widths(state, (1, 2, 3), source),  # type: ignore[arg-type]
    )


add_layouts(
    Layout(
        name="recon",
        family="recon",
        title="ReCon",
        fits=lambda given: any("_contrast." in key for key in given),
        rename=rename,
        config=infer_config,
        head_inputs=("cls", "img", "text", "patch_max"),
    )
)

add_tags(
    Tag(
        name="recon-base",
        family="recon",
        size="base",
        source="Qi et al., Contrast with Reconstruct: Contrastive 3D Representation Learning "
        "Guided by Generative Pretraining, ICML 2023; github.com/qizekun/ReCon",
        licence="MIT",
        page="https://github.com/qizekun/ReCon",
        layout="recon",
        accuracy="full fine-tuning: ScanObjectNN PB_T50_RS 90.63, OBJ_BG 95.18, OBJ_ONLY 93.29; "
        "with voting 91.26, 95.35, 93.80; ModelNet40 94.7",
        verified="keys, shapes, arithmetic",
        parameters=43_107_072,
    )
)
