"""Scenes cut into blocks: square columns of points, drawn for training, in a grid for scoring."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import PointCloudError
from ...io.place import check_unit
from ..base import SCENE, Clouds

TRIES = 200  # places looked at for one block before a scene is given up as too sparse
NUDGE = 1e-3  # metres by which a block of the grid reaches over its border, as in the field's code
SPARE = 1.5  # times as wide as the fullest block shows to be enough: other places have fewer points
MOST_CELLS = 2.0**62
FEW = 8  # points of the fullest block, from which another unit is likelier than a sparse scan
CHUNK = 64  # blocks of a scene that are made at a time


@dataclass(frozen=True)
class Scene:
    """A labelled scene.

    Attributes:
        name: of the file or room.
        points: (M, 3) float32 metres from the scene's lowest corner.
        labels: (M,) whole numbers, -1 where nobody labelled the point.
        features: indices (...) of points to what is known of them, (..., C) float32.
    """

    name: str
    points: np.ndarray
    labels: np.ndarray
    features: Callable[[np.ndarray], np.ndarray]

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class SceneFile:
    """A scene that is read when it is needed: its name, its number of points, and how."""

    name: str
    count: int
    open: Callable[[], Scene]


@dataclass(frozen=True)
class Block:
    """Points of a scene, as their indices (n,), and the middle (2,) of the block they are in."""

    index: np.ndarray
    center: np.ndarray


class Cells:
    """The points of a scene sorted into squares, so that those of a block are found at once."""

    def __init__(self, points: np.ndarray, size: float) -> None:
        self.xy, self.size = points[:, :2], size
        self.low, self.high = self.xy.min(axis=0), self.xy.max(axis=0)
        self.check_width(size)
        cell = self._cell(self.xy)
        self.shape = cell.max(axis=0) + 1
        flat = cell[:, 0] * self.shape[1] + cell[:, 1]
        self.order = np.argsort(flat, kind="stable")
        self.sorted = flat[self.order]

    def check_width(self, size: float) -> None:
        """Refuse squares so small that their numbers would be too large.

        Raises:
            PointCloudError: they are.
        """
        if float(((self.high - self.low).astype(float) / size + 2).prod()) > MOST_CELLS:
            raise PointCloudError(f"has points too far apart for blocks of {size:g} m")

    def _cell(self, xy: np.ndarray) -> np.ndarray:
        return np.floor((xy - self.low) / self.size).astype(np.int64)

    def within(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """(k,) indices of the points with low <= (x, y) <= high."""
        first = self._cell(low).clip(0, self.shape - 1)
        last = self._cell(high).clip(0, self.shape - 1)
        found = []
        for i in range(first[0], last[0] + 1):
            ends = i * self.shape[1] + np.array([first[1], last[1] + 1])
            begin, end = np.searchsorted(self.sorted, ends)
            found.append(self.order[begin:end])
        some = np.concatenate(found)
        xy = self.xy[some]
        return some[((xy >= low) & (xy <= high)).all(axis=1)]


def generator(seed: int, split: int, name: str) -> np.random.Generator:
    """A source of randomness for one scene, whatever other scenes there are."""
    return np.random.default_rng((seed, split, zlib.crc32(name.encode())))


def draw_blocks(
    scene: Scene, count: int, n: int, size: float, least: int, rng: np.random.Generator
) -> list[Block]:
    """``count`` blocks at random places, ``n`` points of each: PointNet++'s rule.

    A block is a square column about a point chosen at random. It counts if it has more than
    ``least`` points (1,024 in the field's code), one of them labelled; ``n`` of them are chosen,
    with repetitions only where there are fewer.

    Raises:
        PointCloudError: no place with so many points was found.
    """
    cells, half, blocks, most = Cells(scene.points, size), size / 2, [], 0
    for _ in range(count):
        for _ in range(TRIES):
            center = scene.points[rng.integers(len(scene))][:2]
            inside = cells.within(center - half, center + half)
            labelled = (scene.labels[inside] >= 0).any()
            if len(inside) > least and labelled:
                break
            most = max(most, len(inside) if labelled else 0)
        else:
            raise PointCloudError(_too_sparse(scene.name, size, least, most))
        index = rng.choice(inside, n, replace=len(inside) < n)
        blocks.append(Block(index, center))
    return blocks


def _too_sparse(name: str, size: float, least: int, most: int) -> str:
    """What to say where no block was found: the fullest one tells which width would do."""
    start = f"{name}: none of {TRIES} blocks of {size:g} m has more than {least} points and a label"
    if not most:
        return f"{start}: no point there has one: check label= and ignore= in --data-options"
    width = size * math.sqrt((least + 1) / most) * SPARE
    unit = "is its unit millimetres, and not metres? Else " if most < FEW else ""
    better = f"block={math.ceil(width) if width > 1 else round(width, 2):g}"
    return (
        f"{start}; the fullest has {most}: {unit}use a larger block (--data-options {better}), or "
        f"fewer points (least={max(1, most // 2)})"
    )


def grid_blocks(
    scene: Scene, n: int, size: float, stride: float, rng: np.random.Generator, most: int = 0
) -> Iterator[Block]:
    """Blocks every ``stride`` along both axes which together hold every point, ``n`` at a time.

    The last ones end at the scene's border. A block of more points gives several, filled up with
    repetitions. ``most`` of them are a sample of all, wherever they are in the scene; 0 takes all.

    Raises:
        PointCloudError: hardly a point in each block, as in another unit.
    """
    cells = Cells(scene.points, size)
    cells.check_width(stride)
    steps = np.ceil((cells.high - cells.low - size).clip(0) / stride).astype(int) + 1

    def square(place: int) -> tuple[np.ndarray, np.ndarray]:
        """The lowest corner of a block, and the points in it."""
        at = np.array(np.unravel_index(place, steps))
        high = np.minimum(cells.low + at * stride + size, cells.high)
        return high - size, cells.within(high - size - NUDGE, high + NUDGE)

    try:
        places = _occupied(cells, steps, size, stride)
    except PointCloudError as error:
        raise PointCloudError(f"{scene.name}: {error}") from error
    wanted: dict[int, int] | None = None  # place -> blocks of it
    if most:
        ends = np.cumsum([-(-len(square(place)[1]) // n) for place in places])
        chosen = rng.permutation(ends[-1])[:most]
        found, numbers = np.unique(np.searchsorted(ends, chosen, "right"), return_counts=True)
        wanted = {places[k]: int(m) for k, m in zip(found.tolist(), numbers, strict=True)}
    for place in places if wanted is None else wanted:
        low, inside = square(place)
        inside = rng.permutation(inside)
        extra = -len(inside) % n
        more = rng.choice(inside, extra, replace=extra > len(inside)) if extra else inside[:0]
        rows = np.concatenate([inside, more]).reshape(-1, n)
        for index in rows if wanted is None else rng.permutation(rows)[: wanted[place]]:
            yield Block(index, low + size / 2)


def _occupied(cells: Cells, steps: np.ndarray, size: float, stride: float) -> list[int]:
    """Of the places of a grid, in order, all that may have a point.

    A stray far away makes a grid of more places than could ever be looked at.
    """
    at = np.unique(np.floor((cells.xy - cells.low) / stride).astype(np.int64), axis=0)
    check_unit(len(at), len(cells.xy), stride, "use larger blocks (--data-options block=METRES)")
    reach = math.ceil(size / stride) + 1
    near = np.arange(-reach, 2)
    steps_of = np.array([steps[1], 1])
    found = [(at + np.array((i, j))).clip(0, steps - 1) @ steps_of for i in near for j in near]
    return np.unique(np.concatenate(found)).tolist()


def scene_of(name: str) -> str:
    """The scene of the block of that name."""
    return name.rpartition("#")[0]


def shares(counts: Sequence[int], total: int) -> list[int]:
    """``total`` blocks shared among scenes by their numbers of points, at least one each."""
    whole = sum(counts)
    return [max(1, round(total * count / whole)) for count in counts]


def to_clouds(
    scene: Scene, blocks: Sequence[Block], labels: tuple[str, ...], features: tuple[str, ...]
) -> Clouds:
    """The blocks as clouds: metres from the middle of each block, the height as in the scene."""
    index = np.stack([block.index for block in blocks])
    points = scene.points[index]
    points[..., :2] -= np.stack([block.center for block in blocks])[:, None]
    return Clouds(
        points.astype(np.float32),
        np.zeros(len(blocks), np.int64),
        (SCENE,),
        tuple(f"{scene.name}#{k}" for k in range(len(blocks))),
        scene.labels[index].astype(np.int64),
        labels,
        scene.features(index).astype(np.float32) if features else None,
        features,
    )


def join(parts: Sequence[Clouds]) -> Clouds:
    """Clouds of several scenes, one after another."""
    first = parts[0]
    every = [part.features for part in parts]
    return Clouds(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.labels for part in parts]),
        first.classes,
        tuple(name for part in parts for name in part.ids),
        np.concatenate([part.parts for part in parts if part.parts is not None]),
        first.part_names,
        np.concatenate([x for x in every if x is not None]) if first.features is not None else None,
        first.feature_names,
    )
