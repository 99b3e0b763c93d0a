"""Space-filling curves over voxels: Z order and Hilbert's curve, each also with x and y swapped.

A code is an integer whose order is that of the voxels along the curve. Point Transformer V3 (Wu et
al., CVPR 2024, §4.1) cuts the curve into runs of neighbours and attends within them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pointadapt.core.errors import PointCloudError

ORDERS = ("z", "z-trans", "hilbert", "hilbert-trans")
MOST_BITS = 16  # of a coordinate, so that three of them and a cloud's number fit 64 bits

_SPREAD = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def curve_depth(grid: Tensor, margin: int = 1) -> int:
    """Bits of a coordinate: of the largest in ``grid`` (N, 3) plus ``margin``.

    The margin is 1 in Pointcept from v1.6.0 and in Sonata, Concerto and Utonia, and was 0 before.

    Raises:
        PointCloudError: a coordinate is negative, or needs more than 16 bits.
    """
    if grid.numel() == 0:
        return int(margin).bit_length()
    low, high = (int(value) for value in grid.aminmax())
    depth = (high + margin).bit_length()
    if low < 0 or depth > MOST_BITS:
        raise PointCloudError(
            f"voxel coordinates from {low} to {high} do not fit 0 to {2**MOST_BITS - 2}: "
            "take larger voxels, or cut the scene into blocks"
        )
    return depth


def z_codes(grid: Tensor) -> Tensor:
    """(N,) codes in Z order of (N, 3) coordinates: bits interleaved, x the most significant."""
    x, y, z = (_spread(axis) for axis in grid.long().unbind(dim=1))
    return (x << 2) | (y << 1) | z


def hilbert_codes(grid: Tensor, depth: int) -> Tensor:
    """(N,) codes along Hilbert's curve of (N, 3) coordinates of ``depth`` bits.

    By Skilling's transform (AIP Conf. Proc. 707, 2004). The curve depends on ``depth``: each
    leading bit that is unused exchanges axes.
    """
    axes = [axis.clone() for axis in grid.long().unbind(dim=1)]
    for bit in range(depth - 1, -1, -1):
        low = (1 << bit) - 1
        for axis in range(3):
            odd = (axes[axis] >> bit) & 1
            swap = (axes[0] ^ axes[axis]) & low & (odd - 1)  # where the bit is 0
            axes[0] = axes[0] ^ swap ^ (low * odd)  # where it is 1, all lower bits are turned
            if axis:
                axes[axis] = axes[axis] ^ swap
    code = z_codes(torch.stack(axes, dim=1))
    for shift in (1, 2, 4, 8, 16, 32):  # each bit becomes the parity of those from the top to it
        code = code ^ (code >> shift)
    return code


def serialise(grid: Tensor, batch: Tensor, depth: int, orders: Sequence[str] = ORDERS) -> Tensor:
    """Codes of voxels along several curves; those of a cloud come before those of the next.

    Args:
        grid: (N, 3) integer coordinates, 0 or more.
        batch: (N,) number of each voxel's cloud.
        depth: bits of a coordinate, see :func:`curve_depth`.
        orders: names of :data:`ORDERS`; "-trans" swaps x and y first.

    Returns:
        (len(orders), N) int64 codes of 3 ``depth`` bits, the cloud's number above them.
    """
    above = batch.long() << (3 * depth)
    codes = []
    for order in orders:
        name, _, trans = order.partition("-")
        given = grid[:, [1, 0, 2]] if trans else grid
        codes.append(above + (z_codes(given) if name == "z" else hilbert_codes(given, depth)))
    return torch.stack(codes)


@dataclass(frozen=True)
class Runs:
    """Pieces of the curves of several clouds.

    Attributes:
        of: (N,) number of each row's run, across clouds.
        length: (R,) rows that each run has if it is full.
    """

    of: Tensor
    length: Tensor

    def mean(self, x: Tensor) -> Tensor:
        """(R, C) means of rows (N, C); what a run is short of counts as zeros."""
        total = x.new_zeros(len(self.length), x.shape[1]).index_add(0, self.of, x)
        return total / self.length.clamp(min=1).unsqueeze(1).to(x.dtype)


def cut_runs(order: Tensor, batch: Tensor, counts: Tensor, count: int) -> Runs:
    """Cut each cloud's curve of n rows into ``count`` runs of ⌈n / count⌉, the last ones shorter.

    Args:
        order: (N,) rows along the curve, cloud after cloud.
        batch: (N,) number of each row's cloud.
        counts: (B,) rows of each cloud.
        count: runs of a cloud; some have no row where it has fewer rows than that.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    within = place - (counts.cumsum(0) - counts)[batch]
    length = (counts + count - 1) // count
    return Runs(batch * count + within // length[batch], length.repeat_interleave(count))


def _spread(x: Tensor) -> Tensor:
    """Bit i of each number to bit 3 i."""
    for shift, mask in _SPREAD:
        x = (x | (x << shift)) & mask
    return x
