"""Runs of neighbours along a curve, within which voxels attend to one another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Patches:
    """Which rows attend together.

    Attributes:
        rows: for each length K that occurs, the rows (P, K) of the patches of that length.
        place: (N,) where each row's own result is among the results of all patches, one after
            another; rows that fill up a patch are there a second time, of which nothing is read.
    """

    rows: tuple[Tensor, ...]
    place: Tensor


def cut(order: Tensor, counts: list[int], size: int, *, smallest: bool = False) -> Patches:
    """Cut each cloud's curve into patches of ``size``.

    A cloud of n ≤ K voxels is one patch. Of more, the last patch is the last K of the curve: those
    that no other patch has, then, to fill it up, those just before them.

    Args:
        order: (N,) rows along the curve, cloud after cloud.
        counts: voxels of each cloud, none zero.
        size: K.
        smallest: K is at most the smallest cloud's number of voxels, for all clouds. So does the
            released code without flash attention; then what a cloud yields hangs on its batch.
    """
    if smallest:
        size = min(size, *counts) if counts else size
    by_length: dict[int, list[Tensor]] = {}
    owners: dict[int, list[tuple[int, int]]] = {}
    start = 0
    for n in counts:
        length = min(n, size)
        by_length.setdefault(length, []).append(start + positions(n, length))
        owners.setdefault(length, []).append((start, n))
        start += n
    place, before = torch.empty_like(order), 0
    for length, parts in by_length.items():
        for part, (first, n) in zip(parts, owners[length], strict=True):
            rows = order[first : first + n]
            place[rows] = torch.arange(before, before + n, device=order.device)
            before += len(part)
    rows = tuple(
        order[torch.cat(parts).to(order.device)].view(-1, length)
        for length, parts in by_length.items()
    )
    return Patches(rows, place)


def positions(n: int, size: int) -> Tensor:
    """Positions along a curve of ``n`` voxels, patch after patch of ``size`` ≤ n."""
    last = (n - 1) // size * size  # where the last patch starts
    return torch.cat([torch.arange(n), torch.arange(n - size, last)])
