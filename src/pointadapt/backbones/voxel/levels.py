"""The voxels of one resolution, with what layers of that resolution share.

A level is worked out once and serves all blocks of its stage, in the encoder and the decoder: the
curves, the patches along them, and who is whose neighbour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ...core.errors import PointCloudError
from ...ops.curves import ORDERS, Runs, curve_depth, cut_runs, serialise
from ...ops.sparse_conv import Neighbors, find_neighbors
from ...ops.voxels import Pool, pool_equal
from .patches import Patches, cut

Draw = Callable[[], Tensor]  # a permutation of the four orders
DepthRule = Literal["next", "own"]


def fixed() -> Tensor:
    """The orders as they are listed: z, z-trans, hilbert, hilbert-trans."""
    return torch.arange(len(ORDERS))


def shuffled() -> Tensor:
    """The orders at random, as the released code draws them, in evaluation too."""
    return torch.randperm(len(ORDERS))


@dataclass(frozen=True)
class Voxels:
    """A batch of clouds as a network of this family takes them, one row a voxel.

    Attributes:
        grid: (N, 3) integer coordinates, 0 or more; one row a voxel.
        coord: (N, 3) real coordinates.
        features: (N, C).
        batch: (N,) number of each row's cloud, ascending.
    """

    grid: Tensor
    coord: Tensor
    features: Tensor
    batch: Tensor

    def __post_init__(self) -> None:
        n = len(self.grid)
        if not n or {len(x) for x in (self.coord, self.features, self.batch)} != {n}:
            shapes = [tuple(x.shape) for x in (self.grid, self.coord, self.features, self.batch)]
            raise PointCloudError(
                f"voxels need equally many rows of grid, coord, features and batch, at least one; "
                f"theirs are {shapes}"
            )
        if (self.batch.diff() < 0).any():
            raise PointCloudError("the rows of voxels must be sorted by cloud")


@dataclass(frozen=True)
class Level:
    """Voxels of one resolution.

    Attributes:
        grid: (N, 3) integer coordinates.
        coord: (N, 3) real coordinates, means after pooling.
        batch: (N,) number of each row's cloud, ascending.
        depth: bits of a coordinate.
        codes: (4, N) along the curves, in the order in which blocks take them.
        pool: how these came from the finer level's; None for the first.
        scene: what taps keep for one another during a forward, at all levels the same.
    """

    grid: Tensor
    coord: Tensor
    batch: Tensor
    depth: int
    codes: Tensor
    pool: Pool | None = None
    scene: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)
    _kept: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.grid)

    def neighbors(self, kernel: int) -> Neighbors:
        """Who is whose neighbour within ``kernel`` ** 3."""
        return self._once(("near", kernel), lambda: find_neighbors(self.grid, self.batch, kernel))

    def order(self, number: int) -> Tensor:
        """(N,) the rows along curve ``number``, cloud after cloud."""
        return self._once(("order", number), self.codes[number].argsort)

    def runs(self, number: int, count: int) -> Runs:
        """Curve ``number`` of each cloud, cut into ``count`` pieces."""

        def work() -> Runs:
            return cut_runs(self.order(number), self.batch, torch.bincount(self.batch), count)

        return self._once(("runs", number, count), work)

    def patches(self, number: int, size: int, smallest: bool) -> Patches:
        """The patches of the block that takes curve ``number``, see :func:`.patches.cut`."""

        def work() -> Patches:
            counts = self._once("counts", lambda: torch.bincount(self.batch).tolist())
            return cut(self.order(number), [c for c in counts if c], size, smallest=smallest)

        return self._once(("patches", number, size, smallest), work)

    def _once(self, key: object, work: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = work()
        return self._kept[key]


def first_level(voxels: Voxels, rule: DepthRule = "next", draw: Draw = fixed) -> Level:
    """The level of the input.

    Args:
        voxels: the input.
        rule: bits of a coordinate: of the largest plus 1 ("next"), or of the largest ("own").
        draw: in which order blocks take the curves.
    """
    return _serialised(voxels.grid.long(), voxels.coord, voxels.batch.long(), rule, draw)


def pool_cells(fine: Level, rule: DepthRule = "next", draw: Draw = fixed) -> Level:
    """Cells of 2³ voxels, with curves of their own, as Sonata, Concerto and Utonia pool.

    Rows come sorted by cloud, x, y, z.
    """
    cells = fine.grid >> 1
    side = int(cells.max()) + 1
    pool, _ = pool_equal(
        ((fine.batch * side + cells[:, 0]) * side + cells[:, 1]) * side + cells[:, 2]
    )
    coord, batch = pool.mean(fine.coord), fine.batch[pool.first]
    return _serialised(cells[pool.first], coord, batch, rule, draw, pool, fine.scene)


def pool_curve(fine: Level, draw: Draw = fixed) -> Level:
    """Runs of the first curve with one code but for its last 3 bits, as Point Transformer V3 pools.

    These are cells of 2³ voxels too; codes are shortened rather than worked out anew.
    """
    pool, _ = pool_equal(fine.codes[0] >> 3)
    first = pool.first
    codes = (fine.codes[:, first] >> 3)[draw().to(first.device)]
    coord = pool.mean(fine.coord)
    grid, batch = fine.grid[first] >> 1, fine.batch[first]
    return Level(grid, coord, batch, fine.depth - 1, codes, pool, fine.scene)


def _serialised(
    grid: Tensor, coord: Tensor, batch: Tensor, rule: DepthRule, draw: Draw,
    pool: Pool | None = None, scene: dict[object, Any] | None = None,
) -> Level:  # fmt: skip
    depth = curve_depth(grid, 1 if rule == "next" else 0)
    codes = serialise(grid, batch, depth)[draw().to(grid.device)]
    return Level(grid, coord, batch, depth, codes, pool, {} if scene is None else scene)
