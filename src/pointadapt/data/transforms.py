"""Normalisation and augmentation of batches (B, N, 3), on whatever device they are.

Every random transform draws from the generator it is given, so that one seed fixes everything. The
names are those of the configuration; "scale_shift" is the papers' "scale and translate".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps

import torch
from torch import Generator, Tensor

from ..core.errors import PointCloudError, UnknownNameError
from ..core.machine import upload
from ..ops import farthest_point_sample, gather_points
from .views import VIEWS, View


def _uniform(like: Tensor, shape: Sequence[int], low: float, high: float, g: Generator) -> Tensor:
    draw = torch.empty(tuple(shape), dtype=like.dtype, device=g.device)
    return upload(draw.uniform_(low, high, generator=g), like.device)


def scale_shift(points: Tensor, g: Generator) -> Tensor:
    """Per-axis scale U(2/3, 3/2) and shift U(-.2, .2), one draw a cloud (Point-MAE, DAPT)."""
    shape = (len(points), 1, 3)
    scale = _uniform(points, shape, 2.0 / 3.0, 1.5, g)
    return points * scale + _uniform(points, shape, -0.2, 0.2, g)


def rotate_z(points: Tensor, g: Generator) -> Tensor:
    """Rotation about the upright axis z by U(0, 2π)."""
    angle = _uniform(points, (len(points),), 0.0, 2.0 * math.pi, g)
    c, s = angle.cos(), angle.sin()
    o, i = torch.zeros_like(c), torch.ones_like(c)
    matrix = torch.stack([c, -s, o, s, c, o, o, o, i], dim=-1).view(-1, 3, 3)
    return points @ matrix.transpose(1, 2)


def rotate(points: Tensor, g: Generator) -> Tensor:
    """Uniformly random rotation in three dimensions (a unit quaternion)."""
    q = torch.randn(len(points), 4, generator=g, device=g.device, dtype=points.dtype)
    w, x, y, z = upload(torch.nn.functional.normalize(q, dim=1), points.device).unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return points @ torch.stack(rows, dim=-1).view(-1, 3, 3).transpose(1, 2)


def jitter(points: Tensor, g: Generator, std: float = 0.01, clip: float = 0.05) -> Tensor:
    """Gaussian noise on every coordinate, clipped (PointNet)."""
    noise = torch.randn(points.shape, generator=g, device=g.device, dtype=points.dtype) * std
    return points + upload(noise.clamp_(-clip, clip), points.device)


def noise(points: Tensor, g: Generator, most: float = 0.04) -> Tensor:
    """Gaussian noise on every coordinate, of deviation U(0, ``most``), one draw a cloud."""
    std = _uniform(points, (len(points), 1, 1), 0.0, most, g)
    luck = torch.randn(points.shape, generator=g, device=g.device, dtype=points.dtype)
    return points + std * upload(luck, points.device)


def _viewed(view: View) -> Callable[[Tensor, Generator], Tensor]:
    """The points that a view leaves."""

    @wraps(view)
    def apply(points: Tensor, g: Generator) -> Tensor:
        return gather_points(*view(points, g))

    return apply


AUGMENTATIONS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "scale_shift": scale_shift,
    "rotate_z": rotate_z,
    "rotate": rotate,
    "jitter": jitter,
    "noise": noise,
    **{name: _viewed(view) for name, view in VIEWS.items()},
}


def check_augmentations(names: Sequence[str]) -> None:
    """Refuse a name that is no augmentation.

    Raises:
        UnknownNameError: with the nearest name.
    """
    for name in names:
        if name not in AUGMENTATIONS:
            raise UnknownNameError("augmentation", name, AUGMENTATIONS)


def augment(points: Tensor, names: Sequence[str], g: Generator) -> Tensor:
    """The augmentations ``names`` in that order.

    Raises:
        UnknownNameError: a name that is none of them.
    """
    check_augmentations(names)
    for name in names:
        points = AUGMENTATIONS[name](points, g)
    return points


def augment_along(
    points: Tensor, along: Sequence[Tensor], names: Sequence[str], g: Generator
) -> tuple[Tensor, list[Tensor]]:
    """:func:`augment` with labels (B, N) or features (B, N, C) of the points ``along``.

    A copy of a point has its values; otherwise they stay as they are.
    """
    along = list(along)
    for name in names:
        if name in VIEWS:
            points, kept = VIEWS[name](points, g)
            points, *along = (_columns(x, kept) for x in (points, *along))
        else:
            points = augment(points, (name,), g)
    return points, along


def sampled(n: int) -> int:
    """Points that farthest point sampling picks, for ``n`` to be chosen of: 1,200 for 1,024."""
    return round(n * 1200 / 1024)


def resample(points: Tensor, n: int, g: Generator) -> Tensor:
    """``n`` training points of those available, the papers' way: one draw for the whole batch.

    Farthest point sampling to n · 1200/1024 of the available points, then a random choice of n
    columns. Where exactly ``n`` are available that is a permutation, of which only the first point
    matters (grouping starts its sampling there), so the cloud is rolled by a random offset instead.

    Raises:
        PointCloudError: fewer than ``n`` points are available.
    """
    if points.shape[1] == n:
        return points.roll(-_offset(n, g), dims=1)
    return gather_points(points, _chosen(points, n, g))


def resample_along(
    points: Tensor, along: Sequence[Tensor], n: int, g: Generator
) -> tuple[Tensor, list[Tensor]]:
    """:func:`resample` with labels (B, N) or features (B, N, C) ``along``, which points keep."""
    if points.shape[1] == n:
        offset = _offset(n, g)
        return points.roll(-offset, dims=1), [x.roll(-offset, dims=1) for x in along]
    index = _chosen(points, n, g)
    return gather_points(points, index), [_columns(x, index) for x in along]


def _columns(values: Tensor, index: Tensor) -> Tensor:
    """The points ``index`` (B, m) of values (B, N, ...)."""
    return values[torch.arange(len(values), device=values.device).unsqueeze(1), index]


def _offset(n: int, g: Generator) -> int:
    return int(torch.randint(n, (1,), generator=g, device=g.device))


def _chosen(points: Tensor, n: int, g: Generator) -> Tensor:
    """(B, n) indices of the points that :func:`resample` takes of more than n."""
    have = points.shape[1]
    if have < n:
        raise PointCloudError(f"clouds of {have} points cannot give {n}: lower --points")
    most = sampled(n)
    if have <= most:  # a permutation, from which a random choice is one from any other order
        index = torch.arange(have, device=points.device).expand(len(points), -1)
        most = have
    else:
        index = farthest_point_sample(points, most, check=False)
    order = torch.randperm(most, generator=g, device=g.device)[:n]
    return index[:, upload(order, points.device)]
