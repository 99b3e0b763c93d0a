"""What the published networks over voxels want of a cloud, and how it is brought to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...core.errors import PointCloudError, UnknownNameError
from ...ops import normalize
from ...ops.point_traits import POINT_TRAITS
from ...ops.voxels import grid_sample
from .levels import Voxels

Column = Literal["coord", "color", "normal", "intensity", "returns", "traits"]
FEATURES: dict[str, tuple[str, ...]] = {  # of columns but coord, as data sets call them
    "color": ("red", "green", "blue"),
    "normal": ("nx", "ny", "nz"),
    "intensity": ("intensity",),
    "returns": ("return_number", "number_of_returns"),
    "traits": POINT_TRAITS,
}


@dataclass(frozen=True)
class Recipe:
    """How a cloud, in metres and with z up, becomes a network's input.

    Attributes:
        grid: edge of a voxel, after scaling.
        scale: factor of the coordinates.
        unit: first move the mean to the origin and scale to the unit ball: single objects.
        shift: "floor": the middle of x and y, and the lowest z, to 0; "middle": that of x and y
            after the voxels are drawn; "none".
        color: "unit": 0 to 1; "symmetric": -1 to 1, as before Pointcept v1.6.0.
        columns: of the features, in this order.
        metric: coordinates keep their unit, metres; else clouds come as the older families take
            them, centred and scaled where their data set says so.
        scaled: features but coordinates are brought to mean 0 and deviation 1 over the batch, in
            evaluation by what training saw: for a network that is trained here.
    """

    grid: float = 0.02
    scale: float = 1.0
    unit: bool = False
    shift: Literal["floor", "middle", "none"] = "floor"
    color: Literal["unit", "symmetric"] = "unit"
    columns: tuple[Column, ...] = ("coord", "color", "normal")
    metric: bool = True
    scaled: bool = False

    @property
    def takes(self) -> tuple[str, ...]:
        """Names of the features besides coordinates, as data sets call them."""
        return tuple(n for column in self.columns for n in FEATURES.get(column, ()))


RECIPES = {
    "sonata": Recipe(),
    "concerto": Recipe(),
    "concerto_outdoor": Recipe(grid=0.01, scale=0.2, shift="middle"),
    "utonia_room": Recipe(grid=0.01, scale=0.5),
    "utonia_driving": Recipe(grid=0.01, scale=0.2, shift="none"),
    "utonia_object": Recipe(grid=0.01, unit=True, shift="none"),
    "ptv3_indoor": Recipe(color="symmetric", columns=("color", "normal")),
    "ptv3_driving": Recipe(grid=0.05, shift="none", columns=("coord", "intensity")),
    "ball": Recipe(
        grid=0.04, shift="none", metric=False, scaled=True,
        columns=("coord", "color", "intensity", "returns", "traits"),
    ),
}  # fmt: skip


def find_recipe(name: str) -> Recipe:
    """A recipe of :data:`RECIPES`.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe of a network's input", name, RECIPES)
    return RECIPES[name]


def as_voxels(
    points: Tensor, color: Tensor | None = None, normal: Tensor | None = None,
    recipe: Recipe = RECIPES["concerto"],
) -> tuple[Voxels, Tensor]:  # fmt: skip
    """One cloud as input of a network.

    Of several points in a voxel the first stands for it, so that the same cloud gives the same
    features; released code draws one at random.

    Args:
        points: (N, 3) in metres, z up.
        color: (N, 3) from 0 to 1; zeros by default.
        normal: (N, 3); zeros by default.
        recipe: what the network wants.

    Returns:
        The voxels, and (N,) the voxel of each point.

    Raises:
        PointCloudError: no points, or ones that are no numbers.
    """
    given = {"color": color, "normal": normal}
    return drawn(points, {k: x.float() for k, x in given.items() if x is not None}, recipe)


def drawn(points: Tensor, told: Mapping[str, Tensor], recipe: Recipe) -> tuple[Voxels, Tensor]:
    """:func:`as_voxels` with any columns.

    Args:
        points: (N, 3).
        told: column -> (N, its width), colours from 0 to 1; zeros where it is not there.
        recipe: what the network wants.
    """
    moved = placed(points, recipe)
    found = grid_sample(moved, recipe.grid)
    coord = moved[found.rows]
    if recipe.shift == "middle":
        coord = coord - _middle(coord)

    def column(name: str) -> Tensor:
        if name == "coord":
            return coord
        x = told[name][found.rows] if name in told else torch.zeros_like(coord[:, :1])
        x = x.expand(-1, len(FEATURES[name]))
        return 2 * x - 1 if name == "color" and recipe.color == "symmetric" else x

    features = torch.cat([column(name) for name in recipe.columns], dim=1)
    batch = torch.zeros(len(coord), dtype=torch.long, device=coord.device)
    return Voxels(found.grid, coord, features, batch), found.inverse


def placed(points: Tensor, recipe: Recipe) -> Tensor:
    """(N, 3) points, moved and scaled as the network takes them.

    Raises:
        PointCloudError: no points.
    """
    if points.dim() != 2 or points.shape[1] != 3 or not len(points):
        raise PointCloudError(f"a cloud is (N, 3) points, not {tuple(points.shape)}")
    coord = normalize(points.unsqueeze(0)).squeeze(0) if recipe.unit else points
    coord = coord * recipe.scale
    if recipe.shift == "floor":
        low = coord.min(dim=0).values
        coord = coord - torch.cat([_middle(coord)[:2], low[2:]])
    return coord.float()


def _middle(coord: Tensor) -> Tensor:
    """The middle of x and y; 0 for z."""
    both = (coord.min(dim=0).values + coord.max(dim=0).values) / 2
    return torch.cat([both[:2], torch.zeros_like(both[2:])])


def together(clouds: Sequence[Voxels]) -> Voxels:
    """Several clouds as one batch.

    Raises:
        PointCloudError: there is none.
    """
    if not clouds:
        raise PointCloudError("a batch needs at least one cloud")
    counts = torch.tensor([len(cloud.grid) for cloud in clouds], device=clouds[0].grid.device)
    batch = torch.arange(len(clouds), device=counts.device).repeat_interleave(counts)
    grid, coord, features = (
        torch.cat([getattr(cloud, name) for cloud in clouds])
        for name in ("grid", "coord", "features")
    )
    return Voxels(grid, coord, features, batch)
