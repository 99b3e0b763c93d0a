"""Traits of a cloud: what it is like in its own unit, before it is normalised and thinned.

Normalising a cloud divides its size away, and bringing it to N points its density. These 29 numbers
keep them, in three groups. None of them changes when a cloud is moved or turned about the upright
axis z. Logarithms are natural; lengths are in the cloud's own unit, and never taken as less than a
thousandth of its radius, so that a flat cloud has a finite logarithm.

``size`` (log): height along z; length and width, its extents along the two main axes of its top
view; radius, the farthest point from the mean, which is what normalising divides by; spread, the
root mean square distance to the mean; spacing, the mean distance from a point to its nearest
neighbour; count of points; density, points in a cubic unit of the box of the first three.

``shape`` (no unit): with l1 ≥ l2 ≥ l3 the standard deviations along the cloud's own main axes,
middle = l2 / l1, least = l3 / l1; axis_up and normal_up, the upright share |z| of the first and
the last main axis; narrow = log width / length, tall = log height / length; mass = height of the
mean above the lowest point / height; crowd = log radius / spread.

``profile`` (no unit): the shares of points in five equal layers of height from the lowest (layer1
to layer5), in three rings about the upright axis through the mean (distance below a third, two
thirds and all of the farthest one's), and of pairs of points whose distance, divided by the mean
of such distances, is below .4, .7, 1, 1.3 and above that (pair1 to pair5; up to 128 points, evenly
picked).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointadapt.ops._check import check_layout

TRAITS: dict[str, tuple[str, ...]] = {  # head input -> its columns
    "size": ("height", "length", "width", "radius", "spread", "spacing", "count", "density"),
    "shape": ("middle", "least", "axis_up", "normal_up", "narrow", "tall", "mass", "crowd"),
    "profile": (
        *(f"layer{k}" for k in range(1, 6)), "ring1", "ring2", "ring3",
        *(f"pair{k}" for k in range(1, 6)),
    ),
}  # fmt: skip
NAMES: tuple[str, ...] = tuple(name for names in TRAITS.values() for name in names)
FLAT = 1e-3  # of the radius: no length counts as less
POINT = 1e-12  # the radius of a cloud whose points are all equal
PICKED = 128  # points whose neighbours and distances are looked at
PAIRS = (0.4, 0.7, 1.0, 1.3)
EXACT = "donot_use_mm_for_euclid_dist"
CHUNK = 1 << 16  # points at a time, whatever a cloud has


@torch.no_grad()
def cloud_traits(points: Tensor) -> Tensor:
    """The traits of clouds (B, N, 3), which are neither normalised nor thinned.

    Returns:
        (B, 29) float32 on the same device, columns as in :data:`NAMES`; finite for finite clouds.

    Raises:
        PointCloudError: a wrong shape.
    """
    check_layout(points)
    centred = points - points.mean(dim=1, keepdim=True, dtype=torch.float64)
    radius = centred.square().sum(dim=2).amax(dim=1).sqrt()
    radius = radius.clamp(min=POINT)
    unit = (centred / radius[:, None, None]).float()
    size, shape = _size_and_shape(unit, radius)
    return torch.cat([size, shape, _profile(unit)], dim=1).float()


def columns(name: str) -> slice:
    """Where the traits of a head input are among :data:`NAMES`."""
    start = NAMES.index(TRAITS[name][0])
    return slice(start, start + len(TRAITS[name]))


def _size_and_shape(unit: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 8) and (B, 8) of centred clouds of radius 1 and their own ``radius``."""
    count = unit.shape[1]
    height, length, width = _extents(unit)
    spread = unit.square().sum(dim=2).mean(dim=1).sqrt()
    spacing = _spacing(unit)
    volume = height.log() + length.log() + width.log() + 3 * radius.log()
    lengths = torch.stack([height, length, width, torch.ones_like(height), spread, spacing], dim=1)
    many = torch.full_like(volume, float(count)).log()
    logs = lengths.clamp(min=FLAT).log() + radius.log()[:, None]
    size = torch.cat([logs, torch.stack([many, many - volume], dim=1)], dim=1)
    low = unit[..., 2].amin(dim=1)
    shape = torch.stack(
        [
            *_axes(unit), (width / length).log(), (height / length).log(),
            (-low / height).clamp(0, 1), -spread.clamp(min=FLAT).log(),
        ], dim=1,
    )  # fmt: skip
    return size, shape


def _extents(unit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B,) each: height, and length and width of the top view along its main axes."""
    flat = unit[..., :2]
    _, axes = torch.linalg.eigh(flat.transpose(1, 2) @ flat)
    turned = flat @ axes
    extents = turned.amax(dim=1) - turned.amin(dim=1)
    z = unit[..., 2]
    three = (z.amax(dim=1) - z.amin(dim=1), extents.amax(dim=1), extents.amin(dim=1))
    height, length, width = (x.clamp(min=FLAT) for x in three)
    return height, length, width


def _axes(unit: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B,) each: middle, least, axis_up, normal_up."""
    values, vectors = torch.linalg.eigh(unit.transpose(1, 2) @ unit / unit.shape[1])
    deviations = values.clamp(min=0).sqrt()
    first = deviations[:, 2].clamp(min=FLAT)
    up = vectors[:, 2].abs()
    return deviations[:, 1] / first, deviations[:, 0] / first, up[:, 2], up[:, 0]


def _picked(unit: Tensor) -> Tensor:
    """(m,) indices of at most ``PICKED`` points, evenly over the order they came in."""
    count = unit.shape[1]
    return torch.linspace(0, count - 1, min(count, PICKED), device=unit.device).round().long()


def _spacing(unit: Tensor) -> Tensor:
    """(B,) mean distance from a point to its nearest neighbour, over the picked ones."""
    picked = _picked(unit)
    nearest = torch.full((len(unit), len(picked)), torch.inf, dtype=unit.dtype, device=unit.device)
    for start in range(0, unit.shape[1], CHUNK):
        part = unit[:, start : start + CHUNK]
        distance = torch.cdist(unit[:, picked], part, compute_mode=EXACT)
        own = torch.arange(start, start + part.shape[1], device=unit.device) == picked[:, None]
        nearest = torch.minimum(nearest, distance.masked_fill(own, torch.inf).amin(dim=2))
    return nearest.nan_to_num(posinf=0.0).mean(dim=1)


def _profile(unit: Tensor) -> Tensor:
    """(B, 13) shares of points in layers and rings, and of pairs by distance."""
    z, off = unit[..., 2], unit[..., :2].norm(dim=2)
    low, high = z.amin(dim=1, keepdim=True), z.amax(dim=1, keepdim=True)
    layer = (z - low) / (high - low).clamp(min=FLAT)
    ring = off / off.amax(dim=1, keepdim=True).clamp(min=FLAT)
    some = unit[:, _picked(unit)]
    above = torch.triu_indices(some.shape[1], some.shape[1], 1, device=unit.device)
    pair = torch.cdist(some, some, compute_mode=EXACT)[:, above[0], above[1]]
    pair = pair / pair.mean(dim=1, keepdim=True).clamp(min=FLAT)
    return torch.cat([_shares(layer, _equal(5)), _shares(ring, _equal(3)), _shares(pair, PAIRS)], 1)


def _equal(bins: int) -> tuple[float, ...]:
    """The inner edges of so many equal bins from 0 to 1."""
    return tuple(k / bins for k in range(1, bins))


def _shares(values: Tensor, edges: tuple[float, ...]) -> Tensor:
    """(B, len(edges) + 1) shares of values (B, M) below the first edge, between two, above all."""
    below = [(values < edge).double().mean(dim=1) for edge in edges]
    bounds = torch.stack([torch.zeros_like(below[0]), *below, torch.ones_like(below[0])], dim=1)
    return bounds.diff(dim=1) if values.shape[1] else torch.zeros_like(bounds[:, 1:])
