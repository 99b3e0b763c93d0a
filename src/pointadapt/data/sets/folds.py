"""Cross-validation folds of a data set, written down as JSON so that anyone can use the same ones.

``folds.json`` lists every cloud once, with the fold that holds it out.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ...core.errors import ConfigError, DataLayoutError, FileFormatError
from ...core.files import read_json, write_json
from ..base import DATASETS, HELD_OUT, SCENE, Clouds, Dataset, load_indexed, load_split
from ..copies import with_copies
from ..grouping import group_folds
from ..reading.benchmark import SPLITS, check_choice
from ..reading.blocks import scene_of
from ..reading.files import existing

FORMAT = "pointadapt-folds/1"
NAME = "folds.json"
NONE = -1  # the fold of a run that holds nothing out
Pool = Literal["all", "train"]


@dataclass(frozen=True)
class Place:
    """One cloud: where it is in its data set, what it is, and which fold holds it out."""

    split: str
    index: int
    id: str
    label: str
    fold: int


@dataclass(frozen=True)
class FoldIndex:
    """Stratified folds of a data set.

    Attributes:
        data: name of the data set.
        options: its options, without its folder.
        pool: "all" takes the clouds of both splits, "train" leaves "test" alone.
        seed: what the folds were drawn from.
        folds: how many.
        clouds: all of them, those of "train" first.
    """

    data: str
    options: Mapping[str, Any]
    pool: Pool
    seed: int
    folds: int
    clouds: tuple[Place, ...]

    def write(self, path: Path | str) -> None:
        """Write the file, atomically."""
        write_json(path, {"format": FORMAT, **asdict(self)})

    def fold_of(self) -> np.ndarray:
        """(n,) int64 fold of each cloud."""
        return np.array([place.fold for place in self.clouds], np.int64)


def draw_folds(
    source: Dataset, options: Mapping[str, Any], pool: Pool, folds: int, seed: int
) -> tuple[FoldIndex, Clouds]:
    """Folds of a data set, and its clouds in the same order.

    Every fold has as many clouds of each class as any other, give or take one. A class's draw
    depends on the seed, its name and its number of clouds alone. Blocks of one scene stay together,
    and so do copies of a cloud and clouds of one group; then the shares of the classes are as even
    as can be.

    Args:
        source: the data set.
        options: its options as they are written down.
        pool: whose clouds.
        folds: how many, 2 or more.
        seed: fixes the draw.

    Raises:
        DataLayoutError: a class has a single cloud.
        ConfigError: there are fewer clouds, or scenes, than folds.
    """
    clouds, splits, indices = _whole(source, pool)
    fold_of = _by_scene if clouds.classes == (SCENE,) else _by_class
    if clouds.groups:
        fold_of = _by_group
    ids = clouds.ids or ("",) * len(clouds)
    names = [clouds.classes[k] for k in clouds.labels]
    rows = zip(splits, indices, ids, names, fold_of(clouds, folds, seed).tolist(), strict=True)
    places = tuple(Place(*row) for row in rows)
    known = {**options, **source.settled()}
    return FoldIndex(source.name, known, pool, seed, folds, places), clouds


def _by_scene(clouds: Clouds, folds: int, seed: int) -> np.ndarray:
    """(n,) fold of each block: overlapping ones of a scene in two folds would be known already."""
    names, scene = np.unique([scene_of(name) for name in clouds.ids], return_inverse=True)
    if folds < 2 or folds > len(names):
        raise ConfigError(f"{len(names)} scenes cannot be split into {folds} folds")
    order = np.random.default_rng([seed, zlib.crc32(SCENE.encode())]).permutation(len(names))
    return (order % folds)[scene]


def _by_group(clouds: Clouds, folds: int, seed: int) -> np.ndarray:
    """(n,) fold of each cloud: those of a group in one."""
    there = len(set(clouds.together))
    if folds < 2 or folds > there:
        raise ConfigError(f"{there} groups cannot be split into {folds} folds")
    return group_folds(clouds.labels, clouds.together, folds, seed)


def _by_class(clouds: Clouds, folds: int, seed: int) -> np.ndarray:
    """(n,) fold of each cloud, as many of each class in one as in another, copies with theirs."""
    return with_copies(clouds.first, lambda own: _evenly(clouds.subset(own), folds, seed))


def _evenly(clouds: Clouds, folds: int, seed: int) -> np.ndarray:
    if folds < 2 or folds > len(clouds):
        raise ConfigError(f"{len(clouds)} clouds cannot be split into {folds} folds")
    fold_of, start = np.zeros(len(clouds), np.int64), 0
    for k, name in enumerate(clouds.classes):
        members = np.flatnonzero(clouds.labels == k)
        if len(members) == 1:
            one = clouds.ids[members[0]] if clouds.ids else f"number {members[0]}"
            raise DataLayoutError(
                f"{one} is the only cloud of class {name!r}: cross-validation needs two"
            )
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        fold_of[rng.permutation(members)] = (start + np.arange(len(members))) % folds
        start += len(members)  # go on where this class ended, so that folds are of one size
    return fold_of


def read_folds(path: Path | str) -> FoldIndex:
    """The folds in a file.

    Raises:
        DataLayoutError: there is no such file.
        FileFormatError: it is something else, or damaged.
    """
    path = existing(Path(path), 'folds are written by "pointadapt cross-validate"')
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise FileFormatError(f"{path}: is no {FORMAT} file")
    try:
        places = tuple(Place(**row) for row in values["clouds"])
        known = {f.name: values[f.name] for f in fields(FoldIndex)}
        index = FoldIndex(**{**known, "clouds": places})
        wrong = [p for p in places if p.split not in SPLITS or not 0 <= p.fold < index.folds]
        if wrong or len({p.fold for p in places}) != index.folds or index.folds < 2:
            raise ValueError(f"{wrong[0]}" if wrong else f"not every one of {index.folds} folds")
    except (KeyError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise FileFormatError(f"{path}: damaged: {type(error).__name__} {said}") from error
    return index


def joined(first: Clouds, second: Clouds) -> Clouds:
    """The clouds of two splits of one data set, one after the other.

    Raises:
        DataLayoutError: they name different classes or parts.
    """
    changes: dict[str, Any] = {}
    for each in fields(Clouds):
        a, b = getattr(first, each.name), getattr(second, each.name)
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            changes[each.name] = np.concatenate([a, b])
        elif isinstance(a, Mapping) and isinstance(b, Mapping):
            changes[each.name] = {k: np.concatenate([a[k], b[k]]) for k in a if k in b}
        elif each.name in ("ids", "groups"):
            changes[each.name] = (*a, *b)
        elif a is not None and b is not None and a != b:
            raise DataLayoutError(f"train and test name different {each.name.replace('_', ' ')}")
    return replace(first, **changes)


def _whole(source: Dataset, pool: Pool) -> tuple[Clouds, list[str], list[int]]:
    """The clouds of a pool, and the split and the index in it of each."""
    parts = {s: load_split(source, s) for s in (SPLITS if pool == "all" else ("train",))}
    splits = [split for split, clouds in parts.items() for _ in range(len(clouds))]
    indices = [i for clouds in parts.values() for i in range(len(clouds))]
    first, *rest = parts.values()
    return joined(first, rest[0]) if rest else first, splits, indices


@DATASETS.register("folds")
@dataclass
class Folds(Dataset):
    """One round of the cross-validation of another data set, as an index file describes it.

    Attributes:
        root: the folder with ``folds.json``.
        fold: which one is held out as "test"; -1 holds none out: "train" is then all clouds, and
            "test" the data set's own if the folds leave that alone, otherwise all clouds, too.
        source_root: the folder of the data set that they index.
    """

    licence: ClassVar[str] = "that of the data set that is cross-validated"
    citation: ClassVar[str] = (
        "Kohavi, A Study of Cross-Validation and Bootstrap for Accuracy Estimation and Model "
        "Selection, IJCAI 1995"
    )
    url: ClassVar[str] = "https://www.ijcai.org/Proceedings/95-2/Papers/016.pdf"
    where: ClassVar[str] = 'The index file is written by "pointadapt cross-validate".'

    fold: int = 0
    source_root: Path | None = None
    _told: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def origin(self) -> Dataset:
        """The data set that the folds index."""
        path = Path(self.root or ".") / NAME
        return self._source(path, read_folds(path)).origin()

    def title(self) -> str:
        """That of the data set that the folds index."""
        return self.origin().title()

    def told(self) -> dict[str, Any]:
        """What that data set tells of its files, and which of them this fold holds out."""
        return self._told

    def _source(self, path: Path, index: FoldIndex) -> Dataset:
        formerly = DATASETS[index.data].formerly if index.data in DATASETS else {}
        options = {"points": self.points, **formerly, **index.options}
        return load_indexed(path, index.data, self.source_root, options)

    def load(self, split: str) -> Clouds:
        """The clouds that the fold trains on ("train") or holds out ("test").

        Raises:
            DataLayoutError, FileFormatError: no index file, a damaged one, or one whose clouds are
                not those of the data set at hand.
            ConfigError: there is no such fold.
        """
        check_choice("split", split, SPLITS)
        if self.points < 1:
            raise ConfigError(f"points={self.points}: use points >= 1")
        path = self.found_root() / NAME
        index = read_folds(path)
        if not NONE <= self.fold < index.folds:
            raise ConfigError(f"{path}: has folds 0 to {index.folds - 1}, not {self.fold}")
        source = self._source(path, index)
        if self.fold == NONE and split == "test" and index.pool == "train":
            return load_split(source, "test")
        clouds = _whole(source, index.pool)[0]
        check_same(path, index, clouds)
        held = index.fold_of() == self.fold
        self._told |= {k: v for k, v in source.told().items() if k != HELD_OUT}
        if self.fold == NONE:
            return clouds
        if source.own_files:
            self._told[HELD_OUT] = [clouds.ids[k] for k in np.flatnonzero(held)]
        return clouds.subset(np.flatnonzero(held if split == "test" else ~held))


def check_same(path: Path | str, index: FoldIndex, clouds: Clouds) -> None:
    """Check that ``clouds`` are those that ``index`` lists.

    Raises:
        FileFormatError: they are others.
    """
    if len(clouds) != len(index.clouds):
        raise FileFormatError(
            f"{path}: lists {len(index.clouds)} clouds, but the data at hand has {len(clouds)}: "
            "these folds belong to another version of it"
        )
    for i, place in enumerate(index.clouds):
        there = (clouds.ids[i] if clouds.ids else "", clouds.classes[clouds.labels[i]])
        if there != (place.id, place.label):
            raise FileFormatError(
                f"{path}: cloud {i} is {place.id!r} of class {place.label!r} there, but "
                f"{there[0]!r} of class {there[1]!r} in the data at hand: these folds belong to "
                "another version of it"
            )
