"""Blocks, stems, pooling and unpooling of the Point Transformer V3 family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.errors import ConfigError
from ...ops.sparse_conv import submanifold_conv
from ...ops.voxels import Pool
from ..layers import DropPath, Mlp
from ..taps import BlockTaps
from ..tokens import Tokens
from .attention import PatchAttention
from .levels import Level


class SubmanifoldConv(nn.Module):
    """Convolution whose outputs are the given voxels, see :mod:`pointadapt.ops.sparse_conv`."""

    def __init__(self, dim: int, out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.kernel = kernel
        bound = (dim * kernel**3) ** -0.5
        self.weight = nn.Parameter(
            torch.empty(out, kernel, kernel, kernel, dim).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(N, C) to (N, C_out)."""
        device, weight, bias = x.device.type, self.weight, self.bias
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            x, weight, bias = (
                x.to(dtype),
                weight.to(dtype),
                None if bias is None else bias.to(dtype),
            )
        return submanifold_conv(x, weight, bias, level.neighbors(self.kernel))


class ConditionNorm(nn.Module):
    """A norm for each condition (data set) of a network trained on several (PPT's PDNorm).

    Attributes:
        chosen: number of the condition whose norm is used.
    """

    def __init__(self, norms: list[nn.Module]) -> None:
        super().__init__()
        self.norm, self.chosen = nn.ModuleList(norms), 0

    def forward(self, x: Tensor) -> Tensor:
        return self.norm[self.chosen](x)


@dataclass(frozen=True)
class Norms:
    """Which norms a network has.

    Attributes:
        batch: stems, pooling and unpooling have BatchNorm, else LayerNorm.
        conditions: sets of norms; 0 for plain ones.
    """

    batch: bool
    conditions: int

    def inner(self, dim: int) -> nn.Module:
        """Of a block."""
        return self._each(lambda: nn.LayerNorm(dim))

    def outer(self, dim: int) -> nn.Module:
        """Between stages."""
        if self.batch:
            return self._each(lambda: nn.BatchNorm1d(dim, eps=1e-3, momentum=0.01))
        return self._each(lambda: nn.LayerNorm(dim))

    def _each(self, make: Any) -> nn.Module:
        if not self.conditions:
            return make()
        return ConditionNorm([make() for _ in range(self.conditions)])


class LayerScale(nn.Module):
    """γ ⊙ x."""

    def __init__(self, dim: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class ConditionalPosition(nn.Module):
    """xCPE: a 3³ submanifold convolution, a linear layer, a norm."""

    def __init__(self, dim: int, norms: Norms) -> None:
        super().__init__()
        self.conv, self.linear = SubmanifoldConv(dim, dim, 3), nn.Linear(dim, dim)
        self.norm = norms.inner(dim)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        return self.norm(self.linear(self.conv(x, level)))


class VoxelBlock(nn.Module):
    """x1 = x + CPE(x); x2 = x1 + γ1 Attn(N1 x1); x3 = x2 + γ2 MLP(N2 x2).

    Taps see all voxels of the batch as one sequence (1, N, C), without prefix and prompts.
    """

    def __init__(
        self, dim: int, attn: PatchAttention, hidden: int, norms: Norms, layer_scale: float = 0.0
    ) -> None:
        super().__init__()
        self.cpe = ConditionalPosition(dim, norms)
        self.norm1, self.attn, self.norm2 = norms.inner(dim), attn, norms.inner(dim)
        self.mlp = Mlp(dim, hidden)
        self.ls1, self.ls2 = (
            LayerScale(dim, layer_scale) if layer_scale else nn.Identity() for _ in range(2)
        )
        self.drop_path = DropPath()

    def forward(
        self, x: Tensor, level: Level, curve: int, taps: BlockTaps, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(N, C) features to those after the block, and the MLP's branch alone.

        Args:
            x: the residual stream.
            level: where the voxels are.
            curve: which of the level's curves the attention follows.
            taps: what a method adds.
            seen: what the convolution reads instead of ``x``.
        """
        tokens = _voxels_alone(taps.block_in(as_tokens(x, level)))
        taps = taps.bound(tokens)
        read = tokens.x.squeeze(0) if seen is None else seen
        x = tokens.x + taps.cpe(self.cpe(read, level).unsqueeze(0), read.unsqueeze(0))
        h = self.attn(taps.after_norm("norm1", self.norm1, x), level, curve, taps)
        x = x + self._dropped(self.ls1(h))
        h = taps.after_norm("norm2", self.norm2, x)
        branch, memo = taps.mlp(h, self.mlp(h, taps), tokens.with_x(x))
        branch = self._dropped(self.ls2(branch))
        tokens = _voxels_alone(taps.block_out(tokens.with_x(x + branch), memo))
        return tokens.x.squeeze(0), branch.squeeze(0)

    def _dropped(self, x: Tensor) -> Tensor:
        """Stochastic depth voxel by voxel, as released."""
        return self.drop_path(x.squeeze(0)).unsqueeze(0)


def _voxels_alone(tokens: Tokens) -> Tokens:
    if tokens.prompts:
        raise ConfigError(
            "this method adds prompt tokens, which have no place among voxels: take one that acts "
            "inside blocks, such as lora or adapter"
        )
    return tokens


def as_tokens(x: Tensor, level: Level) -> Tokens:
    """(N, C) features of a level as the sequence that taps see."""
    return Tokens(
        x=x.unsqueeze(0), centers=level.coord.unsqueeze(0), pos=x.new_zeros(1, len(x), 0),
        prefix=0, names=(), level=level,
    )  # fmt: skip


class LinearStem(nn.Module):
    """GELU(LN(W x + b)); where a mask is given, the mask token instead."""

    def __init__(self, dim: int, out: int, mask_token: bool) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(dim, out), nn.LayerNorm(out)
        self.mask_token = nn.Parameter(torch.zeros(1, out)) if mask_token else None

    def forward(self, x: Tensor, level: Level, mask: Tensor | None = None) -> Tensor:
        del level
        x = F.gelu(self.norm(self.linear(x)))
        if mask is None or self.mask_token is None:
            return x
        return torch.where(mask.unsqueeze(1), self.mask_token.to(x.dtype), x)


class ConvStem(nn.Module):
    """GELU(BN(5³ submanifold convolution))."""

    def __init__(self, dim: int, out: int, norms: Norms) -> None:
        super().__init__()
        self.conv, self.norm = SubmanifoldConv(dim, out, 5, bias=False), norms.outer(out)

    def forward(self, x: Tensor, level: Level, mask: Tensor | None = None) -> Tensor:
        del mask
        return F.gelu(self.norm(self.conv(x, level)))


class Down(nn.Module):
    """GELU(N(max over the cell of W x + b))."""

    def __init__(self, dim: int, out: int, norms: Norms) -> None:
        super().__init__()
        self.proj, self.norm = nn.Linear(dim, out), norms.outer(out)

    def forward(self, x: Tensor, pool: Pool) -> Tensor:
        return F.gelu(self.norm(pool.maximum(self.proj(x))))


class Projection(nn.Module):
    """GELU(N(W x + b))."""

    def __init__(self, dim: int, out: int, norms: Norms) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(dim, out), norms.outer(out)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.linear(x)))


class Up(nn.Module):
    """The finer stage's features and the coarser cell's, each projected, added."""

    def __init__(self, coarse: int, fine: int, out: int, norms: Norms) -> None:
        super().__init__()
        self.coarse, self.skip = Projection(coarse, out, norms), Projection(fine, out, norms)

    def forward(self, coarse: Tensor, fine: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
        """The sum (N, C), and the finer stage's half of it."""
        skip = self.skip(fine)
        return skip + self.coarse(coarse).index_select(0, pool.cluster), skip
