"""Where the clouds of pre-training come from: an endless stream, data sets, or a mixture of them.

All is a function of (seed, step): cloud i of a source is the same whoever asks for it, in whatever
process, so runs resume exactly and see the same clouds with any number of processes and workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from ..core.config import PretrainConfig, key_values
from ..core.errors import ConfigError
from ..data.base import DATASETS, Clouds, load_dataset
from ..data.reading.benchmark import Benchmark
from ..data.sets.shapes import ATTRIBUTES, CLASSES, Described, ShapeStream

CYCLE = 1000  # clouds after which a mixture has given each source its exact share


class Source(Protocol):
    """Numbered clouds without end.

    Attributes:
        classes: how many classes the labels are of.
        attributes: of how many attributes it is known which clouds have them.
    """

    classes: int
    attributes: int

    def described(self, start: int, count: int) -> Described:
        """Clouds ``start`` to ``start + count - 1``; labels are -1 where there is no class."""
        ...


class Made(ShapeStream):
    """The procedural stream as a source."""

    classes = len(CLASSES)
    attributes = len(ATTRIBUTES)


class Shuffled:
    """The clouds of a data set over and over, each time in another order.

    Args:
        clouds: n clouds of ``points`` points or more.
        seed: fixes the orders, and which points are taken.
        points: of a cloud with more points, so many are drawn anew each time it comes.
    """

    attributes = 0

    def __init__(self, clouds: Clouds, seed: int, points: int) -> None:
        self.clouds, self.seed, self.points = clouds, seed, points
        self.classes = len(clouds.classes)

    def described(self, start: int, count: int) -> Described:
        """Clouds ``start`` to ``start + count - 1``; cloud i belongs to pass i // n."""
        n, numbers = len(self.clouds), range(start, start + count)
        index = [int(_order(self.seed, i // n, n)[i % n]) for i in numbers]
        points = self.clouds.points[index]
        if points.shape[1] > self.points:
            points = np.stack([self._some(*pair) for pair in zip(points, numbers, strict=True)])
        nothing = np.empty((count, 0), dtype=bool)
        return Described(points, self.clouds.labels[index], nothing, nothing)

    def _some(self, cloud: np.ndarray, number: int) -> np.ndarray:
        # The third number keeps these draws apart from those of the orders.
        luck = np.random.default_rng((self.seed, number, 1)).random(len(cloud))
        return cloud[np.argpartition(luck, self.points - 1)[: self.points]]


class Mixture:
    """Several sources in fixed shares: exact over every ``CYCLE`` clouds, in random order.

    A class is known of the procedural stream alone: the label spaces of data sets have nothing to
    do with each other, so their clouds count as unlabelled here.

    Args:
        sources: name to source.
        weights: name to share, in any unit.
        seed: fixes the order.

    Raises:
        ConfigError: a share so small that it would never come.
    """

    def __init__(self, sources: dict[str, Source], weights: dict[str, float], seed: int) -> None:
        self.sources, self.seed = list(sources.values()), seed
        self.labelled = [isinstance(source, Made) for source in self.sources]
        self.classes = max(s.classes * k for s, k in zip(self.sources, self.labelled, strict=True))
        self.attributes = max(s.attributes for s in self.sources)
        self.quotas = quotas([weights[name] for name in sources])
        for name, quota in zip(sources, self.quotas, strict=True):
            if quota == 0:
                raise ConfigError(
                    f"the weight of {name!r} is less than a {2 * CYCLE}th of all: raise it, "
                    "or leave the data set out"
                )

    def described(self, start: int, count: int) -> Described:
        """Clouds ``start`` to ``start + count - 1`` of the mixture."""
        which = self._which(start, count)
        out = Described(
            points=np.empty(0), labels=np.full(count, -1, dtype=np.int64),
            has=np.zeros((count, self.attributes), dtype=bool),
            known=np.zeros((count, self.attributes), dtype=bool),
        )  # fmt: skip
        parts = []
        for k, source in enumerate(self.sources):
            rows = np.flatnonzero(which == k)
            if not len(rows):
                continue
            # The clouds of one source come in its own order, so those of a batch are neighbours.
            part = source.described(self._before(start, k), len(rows))
            parts.append((rows, part.points))
            if self.labelled[k]:
                out.labels[rows], out.has[rows], out.known[rows] = part.labels, part.has, part.known
        out.points = np.empty((count, *parts[0][1].shape[1:]), dtype=np.float32)
        for rows, points in parts:
            out.points[rows] = points
        return out

    def _which(self, start: int, count: int) -> np.ndarray:
        """(count,) the source of each cloud."""
        first, last = start // CYCLE, (start + count - 1) // CYCLE
        cycles = [_cycle(self.seed, c, self.quotas) for c in range(first, last + 1)]
        return np.concatenate(cycles)[start - first * CYCLE :][:count]

    def _before(self, start: int, k: int) -> int:
        """How many clouds of source ``k`` come before cloud ``start`` of the mixture."""
        cycle, rest = divmod(start, CYCLE)
        inside = _cycle(self.seed, cycle, self.quotas)[:rest]
        return cycle * self.quotas[k] + int((inside == k).sum())


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(n)


@lru_cache(maxsize=8)
def _cycle(seed: int, cycle: int, counts: tuple[int, ...]) -> np.ndarray:
    """(CYCLE,) which source each cloud of a cycle comes from."""
    return np.random.default_rng((seed, cycle, 2)).permutation(
        np.repeat(np.arange(len(counts)), counts)
    )


def quotas(weights: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers in the ratio of ``weights`` that add up to ``CYCLE`` (largest remainders)."""
    exact = CYCLE * np.asarray(weights, dtype=np.float64) / sum(weights)
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: CYCLE - whole.sum()]] += 1
    return tuple(whole.tolist())


def make_source(config: PretrainConfig) -> Source:
    """What ``config.data`` names; several names make a :class:`Mixture`.

    Raises:
        UnknownNameError: no such data set.
        DataLayoutError, FileFormatError: its files are missing or damaged.
        ConfigError: roots or weights of data sets that are not asked for, or not of all; a loss on
            what is not known of any of them.
    """
    _check_losses(config)
    roots = key_values(config.roots)
    _known(roots, config.data, "--roots")
    sources: dict[str, Source] = {}
    for name in config.data:
        if DATASETS[name].streams:
            sources[name] = Made(config.seed, config.points, config.assembly_fraction)
        else:
            clouds = _load(config, name, Path(roots[name]) if name in roots else config.root)
            sources[name] = Shuffled(clouds, config.seed, config.points)
    if len(sources) == 1:
        return sources[config.data[0]]
    return Mixture(sources, _weights(config, sources), config.seed)


def _check_losses(config: PretrainConfig) -> None:
    """Refuse losses on labels or attributes where no data set tells them."""
    if any(DATASETS[name].streams for name in config.data):
        return
    made = ", ".join(name for name in DATASETS if DATASETS[name].streams)
    names = " ".join(config.data)
    if config.attribute_weight:
        raise ConfigError(f"attributes are known of {made} only, not of {names}")
    if config.label_weight and len(config.data) > 1:
        raise ConfigError(f"a mixture keeps the labels of {made} only: {names} has none")


def _load(config: PretrainConfig, name: str, root: Path | None) -> Clouds:
    """The training clouds with as many points as there are, up to ``config.available``."""
    data = load_dataset(name, root=root, points=config.points)
    if config.available > config.points:
        stored = data.stored_points("train") if isinstance(data, Benchmark) else config.available
        data.points = max(config.points, min(config.available, stored))
    return data.load("train")


def _weights(config: PretrainConfig, sources: dict[str, Source]) -> dict[str, float]:
    """Shares as given; by default each data set counts by its clouds, the stream as all others."""
    given = key_values(config.weights)
    if not given:
        sizes = {k: len(s.clouds) for k, s in sources.items() if isinstance(s, Shuffled)}
        return {name: float(sizes.get(name, sum(sizes.values()))) for name in sources}
    _known(given, config.data, "--weights")
    missing = [name for name in sources if name not in given]
    if missing:
        raise ConfigError(f"--weights lacks {', '.join(missing)}: give all weights, or none")
    return {name: _positive(name, value) for name, value in given.items()}


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"the weight of {name!r} must be a positive number, not {text!r}")
    return value


def _known(given: dict[str, str], data: Sequence[str], flag: str) -> None:
    for name in given:
        if name not in data:
            raise ConfigError(f"{flag} names {name!r}, which is not among --data {' '.join(data)}")
