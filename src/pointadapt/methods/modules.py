"""Small modules that several methods are built of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import BlockTaps, CloudView, Folding, Taps, Tokens
from ..backbones.linear import is_frozen, linear, scaled_linear
from ..backbones.memory import again
from ..ops.rowwise import is_stacked

SMALLEST_GAMMA = 0.1  # below it, y tells too little of x


class ScaleShift(nn.Module):
    """y = γ ⊙ x + β per channel, with γ ~ N(1, std) and β ~ N(0, std) at the start.

    Attributes:
        by_output: y tells enough of x for the gradient of γ. Looked at when training begins and in
            every epoch, not in every step, which would wait for a GPU.
    """

    by_output = False

    def __init__(self, dim: int, std: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim).normal_(1.0, std))
        self.beta = nn.Parameter(torch.empty(dim).normal_(0.0, std))

    def train(self, mode: bool = True) -> ScaleShift:
        if mode and not self.gamma.is_meta:
            self.by_output = self._large()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.beta.to(x.dtype), x, self.gamma.to(x.dtype))

    def after_layer_norm(self, layer: nn.LayerNorm, x: Tensor) -> Tensor:
        """γ ⊙ LN(x) + β as one LayerNorm, of weight γ ⊙ w and bias γ ⊙ b + β."""
        weight, bias = layer.weight * self.gamma, torch.addcmul(self.beta, layer.bias, self.gamma)

        def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return F.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)

        return again(norm, x, weight, bias)

    def after_linear(self, layer: nn.Module, x: Tensor) -> Tensor:
        """γ ⊙ (W x + b) + β: of a frozen layer as one, of weight γ ⊙ W and bias γ ⊙ b + β."""
        if is_frozen(layer) and (not torch.is_grad_enabled() or self._tells()):
            return scaled_linear(layer, x, self.gamma, self.beta)  # type: ignore[arg-type]
        return self(linear(layer, x))

    def _tells(self) -> bool:
        """``by_output``; in evaluation looked at anew, lest answers depend on earlier training."""
        if self.training:
            return self.by_output and not is_stacked(self.gamma)
        return self._large()

    def _large(self) -> bool:
        return float(self.gamma.detach().abs().amin()) >= SMALLEST_GAMMA


def scale_shift(dim: int, std: float | None) -> nn.Module:
    """A :class:`ScaleShift`, or the identity when ``std`` is None."""
    return nn.Identity() if std is None else ScaleShift(dim, std)


def fold_scale_shift(
    folding: Folding, site: str, module: nn.Module, block: int | None = None
) -> None:
    """Move what :func:`scale_shift` made at ``site`` into the layer before it."""
    if isinstance(module, ScaleShift):
        folding.scale_shift(site, module.gamma, module.beta, block)


class LayerTaps(BlockTaps):
    """Taps that do the same at each linear layer of a block: :meth:`add`."""

    def add(self, name: str, x: Tensor, source: Tensor) -> Tensor:
        """What takes the place of ``x``, the output of the layer ``name`` for ``source``."""
        raise NotImplementedError

    def qkv(self, x: Tensor, source: Tensor) -> Tensor:
        return self.add("qkv", x, source)

    def proj(self, x: Tensor, source: Tensor) -> Tensor:
        return self.add("proj", x, source)

    def fc1(self, x: Tensor, source: Tensor) -> Tensor:
        return self.add("fc1", x, source)

    def fc2(self, x: Tensor, source: Tensor) -> Tensor:
        return self.add("fc2", x, source)


class ScaleShiftBlockTaps(LayerTaps):
    """A scale-shift after each of a block's six layers (SSF; DAPT's TFTS)."""

    def add_scale_shifts(self, dim: int, fc1: int, std: float | None) -> None:
        """Make the six; call it once. None makes them identities."""
        self.ss_norm1, self.ss_qkv = scale_shift(dim, std), scale_shift(3 * dim, std)
        self.ss_proj, self.ss_norm2 = scale_shift(dim, std), scale_shift(dim, std)
        self.ss_fc1, self.ss_fc2 = scale_shift(fc1, std), scale_shift(dim, std)

    def fold(self, folding: Folding, block: int) -> None:
        """Move the six into the frozen layers of block number ``block``."""
        for site in ("norm1", "qkv", "proj", "norm2", "fc1", "fc2"):
            fold_scale_shift(folding, site, getattr(self, f"ss_{site}"), block)

    def after_norm(self, site: Literal["norm1", "norm2"], layer: nn.Module, x: Tensor) -> Tensor:
        module = getattr(self, f"ss_{site}")
        if isinstance(module, ScaleShift) and type(layer) is nn.LayerNorm:
            return module.after_layer_norm(layer, x)
        return super().after_norm(site, layer, x)

    def after_linear(
        self, site: Literal["qkv", "proj", "fc1", "fc2"], layer: nn.Module, x: Tensor
    ) -> Tensor:
        module = getattr(self, f"ss_{site}")
        if isinstance(module, ScaleShift):
            return module.after_linear(layer, x)
        return super().after_linear(site, layer, x)

    def add(self, name: str, x: Tensor, source: Tensor) -> Tensor:
        """For families that call the layer themselves."""
        del source
        return getattr(self, f"ss_{name}")(x)

    def norm1(self, x: Tensor) -> Tensor:
        return self.ss_norm1(x)

    def norm2(self, x: Tensor) -> Tensor:
        return self.ss_norm2(x)


class ScaleShiftTaps(Taps):
    """A scale-shift after the patch encoder and one after the last LayerNorm, around ``blocks``."""

    lean = True

    def __init__(
        self, blocks: Sequence[BlockTaps], dim: int, std: float | None,
        position: Literal["every_block", "once"],
    ) -> None:  # fmt: skip
        super().__init__(len(blocks), position)
        self.blocks = nn.ModuleList(blocks)
        self.ss_patch = scale_shift(dim, std)
        self.ss_out = scale_shift(dim, std)

    def fold(self, folding: Folding) -> None:
        """Move all scale-shifts, those of the blocks included, into the frozen layers."""
        fold_scale_shift(folding, "patch_out", self.ss_patch)
        for i, block in enumerate(self.blocks):
            if isinstance(block, ScaleShiftBlockTaps):
                block.fold(folding, i)
        fold_scale_shift(folding, "norm_out", self.ss_out)

    def deciding(self) -> tuple[bool, ...]:
        return tuple(m.by_output for m in self._scale_shifts())

    def decide(self, deciding: tuple[bool, ...]) -> None:
        for module, by_output in zip(self._scale_shifts(), deciding, strict=True):
            module.by_output = by_output

    def _scale_shifts(self) -> Iterator[ScaleShift]:
        return (m for m in self.modules() if isinstance(m, ScaleShift))

    def patch_out(self, x: Tensor) -> Tensor:
        return self.ss_patch(x)

    def norm_out(self, x: Tensor) -> Tensor:
        return self.ss_out(x)


class Bottleneck(nn.Module):
    """W_u · dropout(σ(W_d x + b_d)) + b_u, (..., D) to (..., D); a residual is the caller's.

    Args:
        dim: D.
        rank: width r between the two layers.
        activation: σ.
        dropout: on the hidden layer.
        std: both weights start as N(0, std) cut at two std (Houlsby). Without it W_u starts as
            zero and W_d Kaiming-uniform with a = √5, torch's own. Biases start as zero.
    """

    def __init__(
        self, dim: int, rank: int, *, activation: Callable[[Tensor], Tensor] = F.gelu,
        dropout: float = 0.0, std: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.down, self.up = nn.Linear(dim, rank), nn.Linear(rank, dim)
        self.activation, self.dropout = activation, nn.Dropout(dropout)
        nn.init.zeros_(self.up.weight)
        for layer in (self.down, self.up):
            nn.init.zeros_(layer.bias)
            if std is not None:
                nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.dropout(self.activation(self.down(x))))


class LowRank(nn.Module):
    """s · B A x without biases, (..., C_in) to (..., C_out); A Kaiming-uniform, B zero at start."""

    def __init__(
        self, dim_in: int, dim_out: int, rank: int, scale: float = 1.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.down = nn.Linear(dim_in, rank, bias=False)
        self.up = nn.Linear(rank, dim_out, bias=False)
        self.dropout, self.scale = nn.Dropout(dropout), scale
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(self.dropout(x))) * self.scale

    def increment(self) -> Tensor:
        """ΔW = s B A, (C_out, C_in), on the CPU in float64."""
        up, down = (m.weight.detach().cpu().double() for m in (self.up, self.down))
        return self.scale * up @ down


class AddGradient(torch.autograd.Function):
    """The identity on x, in whose backward pass ``loss`` counts as if it were added to the loss."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, loss: Tensor) -> Tensor:
        ctx.like = loss.dtype, loss.device
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        dtype, device = ctx.like
        return grads[0], torch.ones((), dtype=dtype, device=device)


def prompt_mlp(dim: int, hidden: int, out: int | None = None) -> nn.Sequential:
    """Linear, GELU, Linear; weights start as N(0, .02) and biases as zero (PPT, PointLoRA)."""
    down, up = nn.Linear(dim, hidden), nn.Linear(hidden, out or dim)
    for layer in (down, up):
        nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(down, nn.GELU(), up)


def add_per_kind(tokens: Tokens, to_patches: nn.Module, to_prompts: nn.Module) -> Tokens:
    """Add m(x) to x, with one m for the patches and one for the prompts; the prefix stays."""
    prefix, prompts, patches = tokens.x.split(
        [tokens.prefix, tokens.prompts, tokens.patches.shape[1]], dim=1
    )
    moved = (prompts + to_prompts(prompts), patches + to_patches(patches))
    return tokens.with_x(torch.cat([prefix, *(x.to(prefix.dtype) for x in moved)], dim=1))


def patches_at(tokens: Tokens, view: CloudView, scale: tuple[int, int] | None) -> Tokens:
    """Patches of ``scale`` (groups, group size), or with None the sequence's own once more.

    Released code embeds the cloud anew even where the scale is the backbone's own. The values are
    the same; only BatchNorm's running statistics then move twice a step.
    """
    if scale is not None:
        return view.patches(*scale)
    first = tokens.prefix + tokens.prompts
    return replace(tokens, x=tokens.patches, pos=tokens.pos[:, first:], prefix=0, prompts=0)


EMBEDDING = ("encoder.linear1.", "encoder.norm1.", "encoder.linear2.", "pos_embed.")
"""What PPT and PointLoRA train of the backbone: the patch encoder's first half, the position."""
