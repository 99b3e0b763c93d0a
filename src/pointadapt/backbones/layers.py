"""Layers that transformer backbones share: DropPath, attention, MLP, block, patch encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import is_exporting
from ..ops.largest import largest, takes
from ..ops.rowwise import rowwise
from .memory import again, from_inputs, instead, is_lean
from .taps import BlockTaps
from .tokens import Tokens


class DropPath(nn.Module):
    """Stochastic depth: in training, drops a residual branch for whole samples.

    Survivors are scaled by 1 / (1 - rate). Each call draws anew (Huang et al., ECCV 2016).
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        factor = self.factor(x)
        return x if factor is None else x * factor

    def factor(self, x: Tensor) -> Tensor | None:
        """What each sample of x (B, ...) is multiplied by; None where nothing is dropped."""
        if not self.training or self.rate == 0.0:
            return None
        keep = 1.0 - self.rate
        shape = (x.shape[0],) + (1,) * (x.dim() - 1)
        return x.new_empty(shape).bernoulli_(keep).div_(keep)

    def added(self, x: Tensor, branch: Tensor) -> Tensor:
        """X + DropPath(branch), which a lean forward pass computes again."""
        factor = self.factor(branch)
        return again(plus, x, branch) if factor is None else again(plus, x, branch, factor)

    def added_last(self, x: Tensor, branch: Tensor) -> Tensor:
        """The same, where a lean forward pass has the branch back from the sum, kept anyway."""
        factor = self.factor(branch)
        more = () if factor is None else (factor,)
        out = plus(x, branch, *more)
        instead(branch, minus, out, x, *more)
        return out


def plus(x: Tensor, branch: Tensor, factor: Tensor | None = None) -> Tensor:
    """X + branch · factor."""
    return x + branch if factor is None else torch.addcmul(x, branch, factor)


def minus(out: Tensor, x: Tensor, factor: Tensor | None = None) -> Tensor:
    """The branch that :func:`plus` made ``out`` of; 0 where the factor is."""
    if factor is None:
        return out - x
    return (out - x).mul_(torch.where(factor > 0, 1 / factor, 0))


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: token width D.
        heads: number of heads.
        qkv_bias: of the joint projection; Point-MAE has none, unless it is folded.
        causal: each token sees itself and those before it (and keys that a tap put before all).
    """

    def __init__(
        self, dim: int, heads: int, qkv_bias: bool = False, *, causal: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, taps: BlockTaps) -> Tensor:
        b, t, d = x.shape
        qkv = taps.after_linear("qkv", self.qkv, x)
        qkv = qkv.reshape(b, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        k, v = taps.kv(k, v)
        x = joined(attend(q, k, v, causal=self.causal))
        return taps.after_linear("proj", self.proj, x)


def joined(x: Tensor) -> Tensor:
    """(B, H, T, c) heads to (B, T, H c)."""
    return x.transpose(1, 2).flatten(2)


@rowwise
def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """softmax(q kᵀ / √c) v for q (B, H, T, c) and k, v (B, H, S, c).

    Causal: the last T keys are the queries' own; query i sees those up to i, and all before them.

    On a CPU in bfloat16 torch's fused kernel takes twice as long as three plain products do (48 ×
    135 × 64: 5.5 against 2.8 ms), and its backward nine times as long, so these are used; without a
    gradient only for sequences short enough that the weights are no burden.
    """
    seen = None
    if causal:
        t, s = q.shape[-2], k.shape[-2]
        seen = torch.ones(t, s, dtype=torch.bool, device=q.device).tril(s - t)
    short = torch.is_grad_enabled() or k.shape[-2] <= SHORT
    if q.is_cpu and q.dtype == torch.bfloat16 and short:
        with torch.autocast("cpu", enabled=False):
            if is_lean():
                return LeanAttention.apply(q, k, v, seen)
            return attention_weights(q, k, seen) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)


SHORT = 1024  # keys
NARROW = 3  # a lean forward pass keeps attention weights that are no more than q, k and v together


def attention_weights(q: Tensor, k: Tensor, seen: Tensor | None) -> Tensor:
    """softmax(q kᵀ / √c), with 0 where a key is not ``seen``."""
    c = q.shape[-1]
    flat_q, flat_k = q.reshape(-1, q.shape[-2], c), k.reshape(-1, k.shape[-2], c)
    scores = torch.baddbmm(
        q.new_empty(1), flat_q, flat_k.transpose(1, 2), beta=0, alpha=c**-0.5
    ).view(*q.shape[:-1], -1)
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    return scores.softmax(dim=-1)


class LeanAttention(torch.autograd.Function):
    """softmax(q kᵀ / √c) v that keeps views of q, k and v alone.

    The weights are kept where they are no more than those three together (:data:`NARROW`), and
    computed again where there are more tokens.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
        weights = attention_weights(q, k, seen)
        narrow = k.shape[-2] <= NARROW * q.shape[-1]
        ctx.save_for_backward(q, k, v, weights if narrow else None)
        ctx.seen = seen
        return weights @ v

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (g,), (q, k, v, weights) = grads, ctx.saved_tensors
        weights = attention_weights(q, k, ctx.seen) if weights is None else weights
        scale = q.shape[-1] ** -0.5
        dv = weights.transpose(-2, -1) @ g
        dw = g @ v.transpose(-2, -1)
        ds = torch.ops.aten._softmax_backward_data(dw, weights, -1, weights.dtype)
        return (ds @ k).mul_(scale), (ds.transpose(-2, -1) @ q).mul_(scale), dv, None


class Mlp(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, taps: BlockTaps) -> Tensor:
        hidden = taps.act(again(F.gelu, taps.after_linear("fc1", self.fc1, x)))
        return taps.after_linear("fc2", self.fc2, hidden)


class Block(nn.Module):
    """Pre-norm transformer block: x + DropPath(Attn(LN x)), then x + DropPath(MLP(LN x))."""

    def __init__(
        self, dim: int, heads: int, mlp_ratio: float = 4.0, qkv_bias: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, qkv_bias)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath()

    def forward(self, tokens: Tokens, taps: BlockTaps) -> Tokens:
        return from_inputs(self._forward, tokens, taps)

    def _forward(self, tokens: Tokens, taps: BlockTaps) -> Tokens:
        tokens = taps.block_in(tokens)
        taps, x = taps.bound(tokens), tokens.x
        h = taps.after_norm("norm1", self.norm1, x)
        x = self.drop_path.added(x, self.attn(h, taps))
        h = taps.after_norm("norm2", self.norm2, x)
        branch, memo = taps.mlp(h, self.mlp(h, taps), tokens.with_x(x))
        return taps.block_out(tokens.with_x(self.drop_path.added_last(x, branch)), memo)


def set_drop_path(blocks: nn.ModuleList, rate: float) -> None:
    """DropPath rates that grow linearly from 0 at the first block to ``rate`` at the last."""
    rates = np.linspace(0, rate, len(blocks)).tolist()  # numbers on the meta device too
    for block, value in zip(blocks, rates, strict=True):
        for module in block.modules():
            if isinstance(module, DropPath):
                module.rate = value


def maximum(x: Tensor, dim: int) -> Tensor:
    """Maximum over ``dim``, whose gradient goes to one of equal entries.

    Without a gradient ``amax`` gives the same values in a fifth of the time; with one its backward
    is the slower (it shares the gradient among equals). Compiled for a GPU it is a kernel.
    """
    if torch.compiler.is_compiling() and not is_exporting() and takes(x, dim):
        return largest(x)
    return x.max(dim=dim).values if x.requires_grad else x.amax(dim=dim)


class PatchEncoder(nn.Module):
    """Mini-PointNet that turns a patch of points into one token (Point-BERT, §3.1).

    3 → w1 (BN, ReLU) → w2; the patch's maximum joins each point: 2·w2 → w3 (BN, ReLU) → dim;
    maximum over the patch. 1×1 convolutions are linear layers here.

    Args:
        dim: token width D.
        widths: (w1, w2, w3).
        sign: multiply each channel of the tokens by a sign, see :class:`BackboneConfig`.
        columns: of a point.
    """

    def __init__(
        self, dim: int, widths: tuple[int, int, int] = (128, 256, 512), sign: bool = False,
        columns: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        w1, w2, w3 = widths
        self.linear1, self.norm1 = nn.Linear(columns, w1), nn.BatchNorm1d(w1)
        self.linear2 = nn.Linear(w1, w2)
        self.linear3, self.norm2 = nn.Linear(2 * w2, w3), nn.BatchNorm1d(w3)
        self.linear4 = nn.Linear(w3, dim)
        self.sign = nn.Parameter(torch.ones(dim)) if sign else None

    def per_point(self, x: Tensor) -> Tensor:
        """(M, 3) coordinates to (M, w2), before points of a patch meet."""
        return self.linear2(F.relu(self.norm1(self.linear1(x)), inplace=True))

    def forward(self, groups: Tensor) -> Tensor:
        """(B, G, k, columns), coordinates relative to the centres first, to (B, G, D)."""
        b, g, k, _ = groups.shape
        x = self.per_point(groups.reshape(b * g * k, -1))
        # The maximum is the same for all k points of a patch, so its half of linear3 is computed
        # once a patch instead of once a point: the same sum, a quarter of the encoder's work less.
        pooled = maximum(x.view(b * g, k, -1), dim=1)
        w_pooled, w_own = self.linear3.weight.chunk(2, dim=1)
        shared = F.linear(pooled, w_pooled, self.linear3.bias)
        x = F.linear(x, w_own).view(b * g, k, -1) + shared.unsqueeze(1)
        x = F.relu(self.norm2(x.view(b * g * k, -1)), inplace=True)
        tokens = maximum(self.linear4(x).view(b, g, k, -1), dim=2)
        return tokens if self.sign is None else tokens * self.sign.to(tokens.dtype)


def position_mlp(dim: int) -> nn.Sequential:
    """Position embedding of a centre: 3 → 128 → GELU → dim."""
    return nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, dim))


def init_weights(module: nn.Module) -> None:
    """Point-MAE's start values for pre-training: truncated normal .02, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
