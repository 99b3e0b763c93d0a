"""The data set of made-up objects, and the endless stream of forms for pre-training."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...core.errors import ConfigError
from ..base import DATASETS, Clouds, Dataset
from ..procedural.assembly import random_assembly
from ..procedural.attributes import ATTRIBUTES, CLASSES, PARTS, attributes
from ..procedural.draw import draw, unit_sphere
from ..procedural.primitives import Piece, turned
from ..procedural.sketch import RECIPES

CHUNK = 32  # clouds drawn at once: more are no faster, and fall out of the processor's cache
POOL = 4  # points drawn for each that is kept, where a scan is imitated
SPLITS = ("train", "test")
OPTIONAL = {  # the part that tells two variants of an object apart
    "bathtub": "foot", "bed": "pillow", "bench": "back", "boat": "sail", "bookshelf": "content",
    "bottle": "cap", "cabinet": "leg", "chair": "arm", "cup": "saucer", "lamp": "bulb",
    "monitor": "base", "plant": "stem", "sofa": "leg", "stairs": "rail", "table": "shelf",
}  # fmt: skip
VARIANTS = tuple(
    f"{name} {kind} {part}" for name, part in OPTIONAL.items() for kind in ("without", "with")
)


def _object(rng: random.Random, name: str) -> tuple[list[Piece], np.ndarray]:
    """A random object of a class and the (3, 3) map that stretches it, at times mirrored."""
    pieces = RECIPES[name].pieces(rng)
    x, y, z = (math.exp(rng.uniform(-0.2, 0.2)) for _ in range(3))
    return pieces, np.diag([x if rng.random() < 0.5 else -x, y, z])


@dataclass
class Described:
    """Clouds of a stream with what is known of them, which is more than a scan would tell.

    Attributes:
        points: (n, N, 3) float32, mean 0, the farthest point of each cloud at distance 1.
        labels: (n,) int64 indices into ``CLASSES``, -1 for assemblies.
        has: (n, attributes) bool, which of ``ATTRIBUTES`` each has.
        known: (n, attributes) bool, of which of them that is known.
    """

    points: np.ndarray
    labels: np.ndarray
    has: np.ndarray
    known: np.ndarray


class ShapeStream:
    """An endless, numbered stream of clouds: objects of all classes and random assemblies.

    Half of them stand as they were made; the others are turned about the vertical axis, some of the
    assemblies about any. A quarter has a little noise.

    Args:
        seed: cloud i depends on (seed, i) only; at least 0.
        points: N, points of each cloud.
        assembly_fraction: share of random assemblies, 0 to 1; the others are objects.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(self, seed: int, points: int = 1024, assembly_fraction: float = 0.6) -> None:
        _check("seed", seed >= 0, "at least 0", seed)
        _check("points", points >= 8, "at least 8", points)
        _check("assembly_fraction", 0 <= assembly_fraction <= 1, "0 to 1", assembly_fraction)
        self.seed, self.points, self.assembly_fraction = seed, points, assembly_fraction

    def batch(self, start: int, count: int) -> np.ndarray:
        """Clouds ``start`` to ``start + count - 1``.

        Returns:
            (count, N, 3) float32, mean 0, the farthest point of each cloud at distance 1.
        """
        return self.described(start, count).points

    def described(self, start: int, count: int) -> Described:
        """As :meth:`batch`, with what is known of each cloud."""
        d = Described(
            points=np.empty((count, self.points, 3), dtype=np.float32),
            labels=np.empty(count, dtype=np.int64),
            has=np.empty((count, len(ATTRIBUTES)), dtype=bool),
            known=np.empty((count, len(ATTRIBUTES)), dtype=bool),
        )
        for low in range(0, count, CHUNK):
            high = min(low + CHUNK, count)
            some = self._some(range(start + low, start + high))
            d.points[low:high], d.labels[low:high], d.has[low:high], d.known[low:high] = some
        return d

    def _some(self, numbers: Sequence[int]) -> tuple[Any, ...]:
        objects, generators, noise, labels, known = [], [], [], [], []
        maps = np.empty((len(numbers), 3, 3), dtype=np.float32)
        for row, number in enumerate(numbers):
            generator = np.random.default_rng((self.seed, number))
            rng = random.Random(int(generator.integers(2**63)))
            free = rng.random() < self.assembly_fraction
            turn = [0.0, 0.0, rng.uniform(0, 2 * math.pi) if rng.random() < 0.5 else 0.0]
            if free:
                label, pieces, maps[row] = -1, random_assembly(rng), np.eye(3)
                if rng.random() < 0.25:
                    turn[:2] = rng.uniform(0, 2 * math.pi), rng.uniform(0, 2 * math.pi)
            else:
                label = rng.randrange(len(CLASSES))
                pieces, maps[row] = _object(rng, CLASSES[label])
            labels.append(label)
            known.append(attributes(pieces, CLASSES[label] if label >= 0 else None))
            maps[row] = np.array(turned((turn[0], turn[1], turn[2]))) @ maps[row]
            objects.append(pieces)
            generators.append(generator)
            noise.append(rng.uniform(0, 0.01) if rng.random() < 0.25 else 0.0)
        points, _ = draw(objects, generators, self.points)
        points = unit_sphere(points @ maps.transpose(0, 2, 1))
        for row in np.flatnonzero(noise):
            jitter = generators[row].standard_normal(points[row].shape, dtype=np.float32)
            points[row : row + 1] = unit_sphere(
                points[row : row + 1] + np.float32(noise[row]) * jitter
            )
        return points, labels, *map(np.stack, zip(*known, strict=True))


def _direction(generator: np.random.Generator, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """(3,) a random unit vector whose height lies between ``low`` and ``high``."""
    z, angle = generator.uniform(low, high), generator.uniform(0, 2 * math.pi)
    flat = math.sqrt(1 - z * z)
    return np.array([flat * math.cos(angle), flat * math.sin(angle), z])


def seen_from_one_side(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(k,) which of (k, 3) ``points`` a scanner at one side, level or somewhat above, can see."""
    view = _direction(generator, -0.1, 0.7)
    across = np.cross(view, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    up = np.cross(across, view)
    cell = np.floor(points @ np.stack([across, up], axis=1) / 0.06).astype(np.int64)
    cell -= cell.min(axis=0)
    cell = cell[:, 0] * (cell[:, 1].max() + 1) + cell[:, 1]
    near = np.full(cell.max() + 1, -np.inf)
    depth = points @ view
    np.maximum.at(near, cell, depth)
    return depth > near[cell] - 0.15


def cut_off(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(k,) which of (k, 3) ``points`` remain when 10 to 40 % of them are cut off by a plane."""
    along = points @ _direction(generator)
    return along < np.quantile(along, generator.uniform(0.6, 0.9))


def with_holes(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(k,) which of (k, 3) ``points`` remain outside one to four balls about some of them."""
    centres = points[generator.integers(len(points), size=generator.integers(1, 5))]
    radii = generator.uniform(0.15, 0.4, len(centres))
    apart = np.linalg.norm(points[:, None] - centres, axis=2)
    return (apart > radii).all(axis=1)


SCANS: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    seen_from_one_side,
    cut_off,
    with_holes,
)


POSES = ("none", "z", "lying", "so3")
TIPPED = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z becomes y


def _rotation(kind: str, generator: np.random.Generator) -> np.ndarray:
    """(3, 3) a random rotation of ``POSES``; of "so3" all are equally likely."""
    if kind == "none":
        return np.eye(3)
    if kind in ("z", "lying"):
        about_z = np.array(turned((0.0, 0.0, generator.uniform(0, 2 * math.pi))))
        return about_z if kind == "z" else TIPPED @ about_z
    q, r = np.linalg.qr(generator.standard_normal((3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)


def _check(name: str, right: bool, wanted: str, value: object) -> None:
    if not right:
        raise ConfigError(f"shapes: {name} must be {wanted}, not {value!r}")


@DATASETS.register("shapes")
@dataclass
class Shapes(Dataset):
    """Made-up objects of many classes with named parts, as a scanner might see them.

    Cloud i of a split depends on (seed, split, i) and the options only, not on how many are made.
    Objects stand upright (z up) and face -y.

    Attributes:
        size: clouds of the split "train".
        test_size: clouds of the split "test".
        noise: standard deviation of the noise on each coordinate; the cloud has radius 1.
        missing: probability that a region is missing: what a scanner at one side does not see, all
            beyond a plane, or some balls. The rest is sampled to the full number of points.
        density: how uneven the density of points is; it changes across a cloud by a factor of up to
            exp(4 * density). 0 is even.
        rotate: "none", "z" (about the vertical axis), "lying" (tipped over along y and rolled by
            any angle about it, as on a conveyor belt) or "so3" (any rotation).
        labels: "class", or "variant" for a finer task: 15 of the objects, each with and without one
            of its parts (a chair with or without arms), 30 classes in all. The part may be small,
            and a scan may have missed it.
    """

    licence = "Apache-2.0 (generated by this package)"
    where = "It is generated; nothing has to be downloaded."
    needs_root = False
    streams = True

    size: int = 2000
    test_size: int = 500
    noise: float = 0.01
    missing: float = 0.5
    density: float = 0.5
    rotate: Literal["none", "z", "lying", "so3"] = "none"
    labels: Literal["class", "variant"] = "class"

    def __post_init__(self) -> None:
        _check("points", self.points >= 8, "at least 8", self.points)
        _check("seed", self.seed >= 0, "at least 0", self.seed)
        _check("size", self.size >= 1, "at least 1", self.size)
        _check("test_size", self.test_size >= 1, "at least 1", self.test_size)
        _check("noise", 0 <= self.noise < math.inf, "a number of at least 0", self.noise)
        _check("missing", 0 <= self.missing <= 1, "0 to 1", self.missing)
        _check("density", 0 <= self.density < math.inf, "a number of at least 0", self.density)
        _check("rotate", self.rotate in POSES, f"one of {', '.join(POSES)}", self.rotate)
        _check("labels", self.labels in ("class", "variant"), "class or variant", self.labels)

    @property
    def objects(self) -> tuple[str, ...]:
        """The kinds of object that take turns."""
        return CLASSES if self.labels == "class" else tuple(OPTIONAL)

    def load(self, split: str) -> Clouds:
        """Clouds of ``split`` ("train" or "test"); classes take turns, so they are balanced.

        Raises:
            ConfigError: no such split.
        """
        _check("split", split in SPLITS, f"one of {', '.join(SPLITS)}", split)
        count = self.size if split == "train" else self.test_size
        labels = np.empty(count, dtype=np.int64)
        points = np.empty((count, self.points, 3), dtype=np.float32)
        parts = np.empty((count, self.points), dtype=np.int64)
        for low in range(0, count, CHUNK):
            high = min(low + CHUNK, count)
            rows = self._some(split, range(low, high))
            points[low:high], parts[low:high], labels[low:high] = rows
        return Clouds(
            points=points,
            labels=labels,
            classes=CLASSES if self.labels == "class" else VARIANTS,
            ids=tuple(f"{split}-{i:05d}" for i in range(count)),
            parts=parts,
            part_names=PARTS,
        )

    def _some(self, split: str, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray, list[int]]:
        objects, maps, first, labels = [], [], [], []
        generators = [np.random.default_rng((self.seed, SPLITS.index(split), i)) for i in numbers]
        for i, generator in zip(numbers, generators, strict=True):
            kind = i % len(self.objects)
            name = self.objects[kind]
            rng = random.Random(int(generator.integers(2**63)))
            pieces, stretch = _object(rng, name)
            labels.append(kind)
            if self.labels == "variant":
                part = RECIPES[name].parts.index(OPTIONAL[name])
                labels[-1] = 2 * kind + any(piece.part == part for piece in pieces)
            objects.append(pieces)
            maps.append(stretch)
            first.append(PARTS.index(f"{name}/{RECIPES[name].parts[0]}"))
        points, parts = draw(objects, generators, POOL * self.points, spare=1.25)
        points = unit_sphere(points @ np.array(maps, dtype=np.float32).transpose(0, 2, 1))
        kept = np.stack([self._scan(p, g) for p, g in zip(points, generators, strict=True)])
        points = unit_sphere(np.take_along_axis(points, kept[:, :, None], axis=1))
        parts = np.take_along_axis(parts, kept, axis=1) + np.array(first)[:, None]
        for row, generator in enumerate(generators):
            jitter = generator.standard_normal((self.points, 3))
            rotation = _rotation(self.rotate, generator)
            points[row] = (points[row] + self.noise * jitter) @ rotation.T
        return unit_sphere(points), parts, labels

    def _scan(self, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """(N,) which of (k, 3) ``points`` are kept: none of a missing region, more on one side."""
        # All that is random is drawn whatever the options, so that options change nothing else.
        chance, scan = generator.random(), SCANS[generator.integers(len(SCANS))]
        scanner = np.random.default_rng(generator.integers(2**63))
        direction, strength = _direction(generator), generator.random()
        luck = generator.gumbel(size=len(points))
        luck += 2 * self.density * strength * (points @ direction)
        if chance < self.missing:
            seen = scan(points, scanner)
            if seen.sum() >= len(points) // 8:
                luck[~seen] = -np.inf
        # Of points with weights w, those of the N largest log(w) + gumbel are a fair sample.
        best = np.argpartition(-luck, self.points - 1)[: self.points]
        best = generator.permutation(best)
        good = np.flatnonzero(np.isfinite(luck[best]))
        # Where fewer are left than asked for, some are used again.
        return best[good[np.arange(self.points) % len(good)]]
