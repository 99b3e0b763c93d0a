"""Clouds as sensors give them: which points of a whole cloud are left, and where they seem to be.

Each takes points (B, N, 3) in the unit sphere, z up, and a generator. It gives the points, moved
where it moves them, and (B, N) indices of what stands in each place afterwards: a lost point
becomes a copy of one that is left, as where files of few points are filled.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from ..core.machine import upload
from .sight import rings as on_rings
from .sight import seen, viewpoint

View = Callable[[Tensor, Generator], tuple[Tensor, Tensor]]
FEWEST = 32  # points that are left; of fewer than twice as many, half


def drop(points: Tensor, g: Generator, most: float = 0.875) -> tuple[Tensor, Tensor]:
    """A random share U(0, ``most``) of each cloud's points becomes copies of its first point."""
    b, n, _ = points.shape
    ratio = _uniform(points, (b, 1), g) * most
    gone = _uniform(points, (b, n), g) < ratio
    return points, torch.arange(n, device=points.device).where(~gone, 0)


def crop(points: Tensor, g: Generator, least: float = 0.4) -> tuple[Tensor, Tensor]:
    """A share U(``least``, 1) of each cloud is left: the points nearest to a random one."""
    b, n, _ = points.shape
    row = torch.arange(b, device=points.device)
    middle = points[row, (_uniform(points, (b,), g) * n).long()]
    rank = (points - middle.unsqueeze(1)).square().sum(dim=2).argsort(dim=1).argsort(dim=1)
    share = least + (1 - least) * _uniform(points, (b, 1), g)
    return points, filled(rank < share * n, g)


def one_side(points: Tensor, g: Generator) -> tuple[Tensor, Tensor]:
    """What is seen from one side, level or up to 60° above."""
    xyz, rng = _numpy(points, g)
    camera = viewpoint(len(xyz), rng.integers(1, 6, len(xyz)), (0, 60), 3.0, rng)
    return points, filled(torch.from_numpy(seen(xyz, camera)).to(points.device), g)


def rings(points: Tensor, g: Generator) -> tuple[Tensor, Tensor]:
    """What a turning scanner hits from one side: rings 1° apart, from 4 to 16 radii away."""
    xyz, rng = _numpy(points, g)
    far = rng.uniform(4, 16, (len(xyz), 1))
    scanner = viewpoint(len(xyz), rng.integers(1, 6, len(xyz)), (0, 20), far, rng)
    moved, hit = on_rings(xyz, scanner)
    visible = seen(xyz, scanner)
    hit = np.where((visible & hit).any(axis=1, keepdims=True), visible & hit, visible)
    out, kept = (torch.from_numpy(x).to(points.device) for x in (moved, hit))
    return out.to(points.dtype), filled(kept, g)


def sparse(points: Tensor, g: Generator) -> tuple[Tensor, Tensor]:
    """A random choice of points is left: 32 or more, each power of two as likely as the next."""
    b, n, _ = points.shape
    low = min(FEWEST, n / 2)
    count = low * (n / low) ** _uniform(points, (b, 1), g)
    rank = _uniform(points, (b, n), g).argsort(dim=1).argsort(dim=1)
    return points, filled(rank < count, g)


def sensor(points: Tensor, g: Generator) -> tuple[Tensor, Tensor]:
    """Each cloud whole, or as ``crop``, ``one_side`` or ``rings`` gives it, all as likely."""
    b, n, _ = points.shape
    kind = (_uniform(points, (b,), g) * 4).long()
    out = points.clone()
    index = torch.arange(n, device=points.device).expand(b, n).clone()
    for k, view in enumerate((crop, one_side, rings)):
        rows = (kind == k).nonzero().flatten()
        if len(rows):
            out[rows], index[rows] = view(points[rows], g)
    return out, index


VIEWS: dict[str, View] = {
    "drop": drop,
    "crop": crop,
    "one_side": one_side,
    "rings": rings,
    "sparse": sparse,
    "sensor": sensor,
}


def filled(kept: Tensor, g: Generator) -> Tensor:
    """(B, N) indices of the points of ``kept`` (B, N) in random order, over and over."""
    luck = upload(torch.rand(kept.shape, generator=g, device=g.device), kept.device)
    order = luck.masked_fill(~kept, 2.0).argsort(dim=1)
    place = torch.arange(kept.shape[1], device=kept.device) % kept.sum(dim=1, keepdim=True)
    return order.gather(1, place)


def _uniform(like: Tensor, shape: tuple[int, ...], g: Generator) -> Tensor:
    return upload(torch.rand(shape, generator=g, device=g.device, dtype=like.dtype), like.device)


def _numpy(points: Tensor, g: Generator) -> tuple[np.ndarray, np.random.Generator]:
    """The points on the host, and a generator that ``g`` seeds."""
    seed = int(torch.randint(2**62, (1,), generator=g, device=g.device))
    return points.detach().cpu().numpy(), np.random.default_rng(seed)
