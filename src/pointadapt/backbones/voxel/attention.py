"""Attention within patches along a curve, with relative positions or rotary embeddings."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import attend, joined
from ..taps import BlockTaps
from .levels import Level


class RelativePositions(nn.Module):
    """A bias for each head by the difference of two voxels' coordinates, axis by axis.

    Args:
        size: configured patch size K; differences count to ⌊2 (4K)^(1/3)⌋, in double precision.
        heads: H.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.bound = self.reach(size)
        self.table = nn.Parameter(torch.zeros(3 * (2 * self.bound + 1), heads))

    @staticmethod
    def reach(size: int) -> int:
        """The largest difference that counts."""
        return math.floor(2 * (4 * size) ** (1 / 3))

    def forward(self, grid: Tensor) -> Tensor:
        """(P, K, 3) coordinates to biases (P, H, K, K)."""
        steps = (grid.unsqueeze(2) - grid.unsqueeze(1)).clamp(-self.bound, self.bound)
        first = torch.arange(3, device=grid.device) * (2 * self.bound + 1) + self.bound
        biases = (self.table[axis] for axis in (steps + first).unbind(dim=-1))
        return sum(biases, start=torch.zeros((), device=grid.device)).permute(0, 3, 1, 2)


class Rope(nn.Module):
    """Rotary embedding of three real coordinates (Utonia).

    A head's channels are three thirds, one an axis; in each, the first half and the second are
    pairs that turn by coordinate · base^(-2m/c), c a third's width.
    """

    frequencies: Tensor

    def __init__(self, width: int, base: float) -> None:
        super().__init__()
        c = width // 3
        self.register_buffer(
            "frequencies", base ** (-torch.arange(0, c, 2, dtype=torch.float32) / c)
        )

    def angles(self, coord: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (N, 1, 3, c/2) for coordinates (N, 3)."""
        angle = (coord.unsqueeze(-1).float() * self.frequencies).unsqueeze(1)
        return angle.cos(), angle.sin()

    @staticmethod
    def turn(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """(N, H, width) queries or keys, turned."""
        cos, sin = angles
        low, high = x.unflatten(-1, (3, -1)).float().chunk(2, dim=-1)
        turned = torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)
        return turned.flatten(-2).to(x.dtype)


class PatchAttention(nn.Module):
    """Multi-head self-attention within patches.

    Args:
        dim: width C.
        heads: H.
        size: voxels of a patch K.
        relative: with :class:`RelativePositions`.
        rope_base: of :class:`Rope`; 0 for none.
        smallest: see :func:`.patches.cut`.
    """

    def __init__(
        self, dim: int, heads: int, size: int, *, relative: bool = False, rope_base: float = 0.0,
        smallest: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.size, self.smallest = heads, size, smallest
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.rpe = RelativePositions(size, heads) if relative else None
        self.rope = Rope(dim // heads, rope_base) if rope_base else None

    def forward(self, x: Tensor, level: Level, curve: int, taps: BlockTaps) -> Tensor:
        """(1, N, C) features of a level's voxels to the same, along curve number ``curve``."""
        patches = level.patches(curve, self.size, self.smallest)
        qkv = taps.after_linear("qkv", self.qkv, x).squeeze(0).unflatten(-1, (3, self.heads, -1))
        if self.rope is not None:
            angles = self.rope.angles(level.coord)
            q, k = (Rope.turn(part, angles) for part in (qkv[:, 0], qkv[:, 1]))
            qkv = torch.stack([q, k, qkv[:, 2]], dim=1)
        parts = [self._attended(qkv, rows, level, taps) for rows in patches.rows]
        x = torch.cat(parts).index_select(0, patches.place).unsqueeze(0)
        return taps.after_linear("proj", self.proj, x)

    def _attended(self, qkv: Tensor, rows: Tensor, level: Level, taps: BlockTaps) -> Tensor:
        """Patches of rows (P, K): their outputs (P K, C)."""
        flat = qkv.index_select(0, rows.flatten()).unflatten(0, rows.shape)
        q, k, v = flat.permute(2, 0, 3, 1, 4).unbind(0)
        k, v = taps.kv(k, v)
        if self.rpe is None:
            return joined(attend(q, k, v)).flatten(0, 1)
        bias = self.rpe(level.grid[rows])
        bias = F.pad(bias, (k.shape[2] - rows.shape[1], 0)).to(q.dtype)  # keys that a tap put first
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return joined(out).flatten(0, 1)
