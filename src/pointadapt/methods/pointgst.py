"""PointGST: adapters in the graph spectral domain at two scales (Liang et al., 2024, §4).

The patch centres are the nodes of a graph A with weights 1 / distance, the smallest distance being
1, and 1 from each node to itself; with D its row sums, U holds the eigenvectors of the normalised
Laplacian I - D^-½ A D^-½. The cloud is one graph; sorted along a Z-order curve it is also cut into
smaller ones. In every block, with h the sequence between attention and LN2 and F a transform by U::

    z = W_d h + b_d                                    D → r
    a_i(v) = F⁻¹[ F v + SiLU(W_a LN_i(F v) + b_a) ]    on the cloud (a_1), on its parts (a_2)
    A = W_u [ SiLU(z) + a_1(z) + a_2(z) ] + b_u        the a_i for the patches alone
    x = h + DropPath(MLP(LN2 h)) + A
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, CloudView, Taps, Tokens
from ..core.errors import ConfigError
from ..core.fields import at_least
from ..ops import gather_points
from .base import METHODS, ClsMethod

Laplacian = Literal["normalised", "unnormalised"]


@METHODS.register("pointgst")
@dataclass(frozen=True)
class PointGst(ClsMethod):
    """The released arithmetic of PointGST, for each cloud on its own.

    Trainable on ``small`` with 15 classes: 12 adapters of 2 D r + r + D + r² + r + 4 r = 29,544
    make 354,528, CLS and its position 768, the head 267,535; in all 622,831 (published: 0.62 M,
    head included).

    Eigenvectors have no sign of their own; here the component of largest size is positive, so that
    solvers agree. Where eigenvalues coincide they may still differ. The unit of length is the
    smallest distance in the cloud (in all its small graphs together); the released code takes that
    of the whole *batch*, and so agrees with this one for one cloud at a time.

    Attributes:
        rank: r.
        local: nodes of a small graph; the whole cloud where it has fewer patches.
        laplacian: "normalised", I - D^-½ A D^-½, as in today's released code; "unnormalised",
            D - A, as in its first release, where neither the unit of length nor the weight of a
            node to itself matters. Adapters from before this option have the latter.
        transform: "released" multiplies by U and back by Uᵀ; "fourier" by Uᵀ and back by U, the
            graph Fourier transform as it is defined.
        scale: factor of A.
        resolution: cells per unit length of the Z-order curve.
    """

    title = "PointGST"
    trains_together = True
    paper = "Liang et al., PEFT in Spectral Domain for Point Cloud Learning, arXiv 2410.08114"
    why_not_fold = "it mixes patches along the graph of each cloud, which no weight does"
    starts_as_pretrained = True
    formerly: ClassVar[Mapping[str, Any]] = {"laplacian": "unnormalised"}

    rank: int = 36
    local: int = 32
    laplacian: Laplacian = "normalised"
    transform: Literal["released", "fourier"] = "released"
    scale: float = 1.0
    resolution: float = 100.0

    def __post_init__(self) -> None:
        at_least(self, 1, "rank", "local")
        at_least(self, 0, "scale", "resolution")

    def attach(self, backbone: Backbone) -> Taps:
        return PointGstTaps(self, backbone.config)


class Bases(NamedTuple):
    """Bases of a batch of clouds: the whole and its parts, and the order of the parts.

    Attributes:
        whole: (B, G, G), multiplied from the left onto patches (B, G, r).
        parts: (B, G / n, n, n) of n nodes each.
        order: (B, G) patches along the Z-order curve.
        back: (B, G) the inverse of ``order``.
    """

    whole: Tensor
    parts: Tensor
    order: Tensor
    back: Tensor


@torch.no_grad()
def graph_basis(centers: Tensor, laplacian: Laplacian = "normalised") -> Tensor:
    """Eigenvectors of the Laplacian as columns, by growing eigenvalue.

    Args:
        centers: (B, ..., n, 3) nodes; each of the B has its own unit of length.
        laplacian: see :class:`PointGst`.

    Returns:
        (B, ..., n, n).
    """
    weight = graph_weights(centers)
    degree = weight.sum(dim=-1)
    if laplacian == "normalised":
        scale = (degree + 1e-6).rsqrt()  # the constant is released
        eye = torch.eye(weight.shape[-1], device=weight.device)
        matrix = eye - scale.unsqueeze(-1) * weight * scale.unsqueeze(-2)
    else:
        matrix = torch.diag_embed(degree) - weight
    basis = torch.linalg.eigh(matrix).eigenvectors
    largest = basis.gather(-2, basis.abs().argmax(dim=-2, keepdim=True))
    return basis * largest.sign()


def graph_weights(centers: Tensor) -> Tensor:
    """A: 1 / distance of nodes (B, ..., n, 3) in units of each one's smallest: (B, ..., n, n).

    1 from a node to itself. Nodes at the same place are joined as the nearest two others are.
    """
    distance = (centers.unsqueeze(-2) - centers.unsqueeze(-3)).float().norm(dim=-1)
    apart = distance.masked_fill(distance == 0, torch.inf)
    nearest = apart.flatten(1).amin(dim=1).view(-1, *[1] * (apart.dim() - 1))
    return torch.where(apart.isinf(), 1.0, nearest / apart)


@torch.no_grad()
def z_order(centers: Tensor, resolution: float) -> Tensor:
    """(B, G, 3) to (B, G): patches along a Z-order curve, of which y is the slowest axis, then x.

    Coordinates become 16-bit integers towards zero; negative ones come after positive ones, as in
    the released code's two's complement.
    """
    y, x, z = ((centers * resolution).long() & 0xFFFF)[..., [1, 0, 2]].unbind(dim=-1)
    key = torch.zeros_like(x)
    for bit in range(16):
        for place, axis in ((2, y), (1, x), (0, z)):
            key |= ((axis >> bit) & 1) << (3 * bit + place)
    return key.argsort(dim=1, stable=True)


class SpectralAdapter(nn.Module):
    """A of one block."""

    def __init__(self, options: PointGst, dim: int) -> None:
        super().__init__()
        r = options.rank
        self.down, self.up, self.adapt = nn.Linear(dim, r), nn.Linear(r, dim), nn.Linear(r, r)
        self.norm_whole, self.norm_parts = nn.LayerNorm(r), nn.LayerNorm(r)
        self.scale = options.scale
        nn.init.xavier_uniform_(self.down.weight)
        for layer in (self.up, self.adapt):  # the adapter starts as zero
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, bases: Bases) -> Tensor:
        """(B, T, D) to (B, T, D); the last G tokens are the patches."""
        z = self.down(x)
        rest, patches = z.split([x.shape[1] - bases.order.shape[1], bases.order.shape[1]], dim=1)
        parts = gather_points(patches, bases.order).view(*bases.parts.shape[:3], -1)
        parts = self.filter(parts, bases.parts, self.norm_parts).view(patches.shape)
        whole = self.filter(patches, bases.whole, self.norm_whole)
        patches = F.silu(patches) + (whole + gather_points(parts, bases.back))
        return self.up(torch.cat([F.silu(rest), patches], dim=1)) * self.scale

    def filter(self, x: Tensor, basis: Tensor, norm: nn.Module) -> Tensor:
        """(..., n, r) to the spectral domain, changed there, and back."""
        x = basis @ x
        x = x + F.silu(self.adapt(norm(x)))
        return basis.transpose(-2, -1) @ x


class PointGstTaps(Taps):
    """PointGST on a whole backbone; the bases are found once a forward."""

    def __init__(self, options: PointGst, config: Any) -> None:
        super().__init__(config.depth, options.position)
        self.local = min(options.local, config.groups)
        if config.groups % self.local:
            raise ConfigError(
                f"local={self.local} does not divide the backbone's {config.groups} patches"
            )
        self.fourier, self.resolution = options.transform == "fourier", options.resolution
        self.laplacian: Laplacian = options.laplacian
        self.blocks = nn.ModuleList(
            PointGstBlockTaps(options, config.dim) for _ in range(config.depth)
        )

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        with torch.autocast(tokens.x.device.type, enabled=False):
            return tokens.with_context(self.bases(tokens.centers))

    def bases(self, centers: Tensor) -> Bases:
        """Of clouds (B, G, 3)."""
        order = z_order(centers, self.resolution)
        parts = gather_points(centers, order).unflatten(1, (-1, self.local))
        whole, parts = (graph_basis(nodes, self.laplacian) for nodes in (centers, parts))
        if self.fourier:
            whole, parts = whole.transpose(-2, -1), parts.transpose(-2, -1)
        return Bases(whole, parts, order, order.argsort(dim=1))


class PointGstBlockTaps(BlockTaps):
    """One block's adapter."""

    def __init__(self, options: PointGst, dim: int) -> None:
        super().__init__()
        self.adapter = SpectralAdapter(options, dim)

    def mlp(self, x: Tensor, out: Tensor, tokens: Tokens) -> tuple[Tensor, Any]:
        return out, self.adapter(tokens.x, tokens.context)

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        return tokens.with_x(tokens.x + memo)
