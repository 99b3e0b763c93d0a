"""What a data set is: a dataclass of options whose ``load(split)`` returns :class:`Clouds`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.errors import DataLayoutError, PointCloudError
from ..core.fields import build, seeds
from ..core.registry import Registry
from ..io.place import check_spread
from .copies import digest_of, first_of, merged_groups

SCENE = "scene"  # the one class of blocks as clouds; their ids are "NAME OF THE SCENE#number"
HELD_OUT, SKIPPED = "held_out_files", "skipped_files"  # keys of :meth:`Dataset.told`
PROBES = 8  # points by which a cloud of one point is suspected


@dataclass(frozen=True)
class Clouds:
    """Labelled point clouds of one size, held in memory, every array in C order.

    (Sums over an array in another order round otherwise: the same points, read from files or from
    the cache, would train another adapter.)

    Attributes:
        points: (n, N, 3) float32, finite, as stored. No cloud is a single point, but for blocks at
            the edge of a scene.
        labels: (n,) int64 class of each cloud, an index into ``classes``.
        classes: names of the classes.
        ids: (n,) a name for each cloud (file or identifier), for reports.
        parts: (n, N) int64 part of each point, an index into ``part_names``, or -1 where that is
            not known; None if no point is labelled.
        part_names: names of the parts over all classes.
        features: (n, N, C) float32, what is known of each point besides its coordinates, such as
            colours; None if nothing is. They travel with their points; augmentation leaves their
            values as they are.
        feature_names: (C,) names of the channels.
        normalise: each cloud is centred and scaled before the network, see :class:`Dataset`.
        extras: (n, …) what else is known of each cloud, by name, for tasks that ask for it: a
            number to be predicted, several labels at once.
        traits: (n, T) float32 traits of each whole cloud in its own unit, before any point was
            chosen, see :mod:`pointadapt.ops.traits`; None where ``points`` are all there is.
        groups: (n,) what each cloud belongs with, such as an object, a person or a drive: clouds of
            one group are never on both sides of a split that is drawn; empty if that is not known.
        digests: (n,) uint64, the same for clouds of the same points, see
            :mod:`pointadapt.data.copies`: such clouds are never on both sides of a drawn split
            either; None where copies are left as they are, as in benchmarks.
    """

    points: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    ids: tuple[str, ...] = ()
    parts: np.ndarray | None = None
    part_names: tuple[str, ...] = ()
    features: np.ndarray | None = None
    feature_names: tuple[str, ...] = ()
    normalise: bool = True
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    traits: np.ndarray | None = None
    groups: tuple[str, ...] = ()
    digests: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("points", "labels", "parts", "features", "traits", "digests"):
            if (array := getattr(self, name)) is not None:
                object.__setattr__(self, name, np.ascontiguousarray(array))
        if self.points.ndim != 3 or self.points.shape[2] != 3:
            raise PointCloudError(f"points must have shape (n, N, 3), not {self.points.shape}")
        if len(self.labels) != len(self.points):
            raise PointCloudError(f"{len(self.points)} clouds but {len(self.labels)} labels")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(
            self.classes
        ):
            raise PointCloudError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, "
                f"but there are {len(self.classes)} classes"
            )
        if self.parts is not None:
            self._check_parts(self.parts)
        self._check_features()
        for name, values in self.extras.items():
            if len(values) != len(self.points):
                raise PointCloudError(f"{len(self.points)} clouds but {len(values)} of {name!r}")
        if self.groups and len(self.groups) != len(self.points):
            raise PointCloudError(f"{len(self.points)} clouds but {len(self.groups)} groups")
        if self.traits is not None and len(self.traits) != len(self.points):
            raise PointCloudError(f"{len(self.points)} clouds, but traits of {len(self.traits)}")
        if self.digests is not None and len(self.digests) != len(self.points):
            raise PointCloudError(f"{len(self.points)} clouds, but digests of {len(self.digests)}")
        if self.classes != (SCENE,):
            self._check_spread()

    def _check_spread(self) -> None:
        n = self.points.shape[1]
        if n < 2 or not len(self):
            return
        some = self.points[:, np.linspace(0, n - 1, PROBES).astype(int)]
        for k in np.flatnonzero((some == some[:, :1]).all(axis=(1, 2))):
            try:
                check_spread(self.points[k])
            except PointCloudError as error:
                name = self.ids[k] if self.ids else f"cloud {k} (counted from 0)"
                raise PointCloudError(f"{name}: {error}") from None

    def _check_parts(self, parts: np.ndarray) -> None:
        if parts.shape != self.points.shape[:2]:
            raise PointCloudError(
                f"part labels must have shape {self.points.shape[:2]}, one for each point, "
                f"not {parts.shape}"
            )
        if parts.size and not -1 <= int(parts.min()) <= int(parts.max()) < len(self.part_names):
            raise PointCloudError(
                f"part labels run from {parts.min()} to {parts.max()}, "
                f"but there are {len(self.part_names)} parts"
            )

    def _check_features(self) -> None:
        want = (*self.points.shape[:2], len(self.feature_names))
        have = (*want[:2], 0) if self.features is None else self.features.shape
        if have != want:
            raise PointCloudError(
                f"features must have shape {want}, a channel for each of their names, not {have}"
            )

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def known_traits(self) -> np.ndarray:
        """(n, T) ``traits``, or where there are none those of ``points``."""
        return traits_of(self.points) if self.traits is None else self.traits

    @cached_property
    def known_digests(self) -> np.ndarray:
        """(n,) uint64 ``digests``, or where there are none those of ``points``."""
        if self.digests is not None:
            return self.digests
        return np.array([digest_of(cloud) for cloud in self.points], np.uint64)

    @cached_property
    def first(self) -> np.ndarray:
        """(n,) for each cloud the index of the first with the same points, where that matters."""
        return np.arange(len(self)) if self.digests is None else first_of(self.digests)

    @cached_property
    def together(self) -> tuple[str, ...]:
        """(n,) what must not be parted: copies, and ``groups``; empty if there are neither."""
        if self.groups:
            return merged_groups(self.groups, self.first)
        alone = (self.first == np.arange(len(self))).all()
        return () if alone else tuple(str(k) for k in self.first)

    def subset(self, index: np.ndarray | Sequence[int]) -> Clouds:
        """The clouds at ``index``, in that order."""
        index = np.asarray(index, dtype=np.int64)
        return Clouds(
            points=self.points[index],
            labels=self.labels[index],
            classes=self.classes,
            ids=tuple(self.ids[i] for i in index) if self.ids else (),
            parts=None if self.parts is None else self.parts[index],
            part_names=self.part_names,
            features=None if self.features is None else self.features[index],
            feature_names=self.feature_names,
            normalise=self.normalise,
            extras={name: values[index] for name, values in self.extras.items()},
            traits=None if self.traits is None else self.traits[index],
            groups=tuple(self.groups[i] for i in index) if self.groups else (),
            digests=None if self.digests is None else self.digests[index],
        )

    def extra(self, name: str) -> np.ndarray:
        """What ``extras`` holds under ``name``.

        Raises:
            DataLayoutError: nothing.
        """
        if name not in self.extras:
            known = ", ".join(self.extras) or "nothing"
            raise DataLayoutError(
                f"these data do not tell {name!r} of their clouds (they tell {known}): in a folder "
                "of your own, add a column of that name to its manifest.csv"
            )
        return self.extras[name]


def traits_of(points: np.ndarray, batch: int = 256) -> np.ndarray:
    """(n, T) traits of clouds (n, N, 3) in their own unit, a batch at a time."""
    import torch

    from ..ops.traits import NAMES, cloud_traits

    parts = [
        cloud_traits(torch.from_numpy(np.ascontiguousarray(points[k : k + batch])).float()).numpy()
        for k in range(0, len(points), batch)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, len(NAMES)), np.float32)


@dataclass
class Dataset:
    """Base of all data sets: options are fields, facts are class attributes.

    Attributes:
        root: folder (or file) of the data on disk; None for data sets that need none.
        points: number of points N of each cloud that ``load`` returns.
        seed: fixes every random choice that loading makes.

    Class attributes:
        licence, citation, url: of the data; empty where there is none.
        where: one sentence: how a person gets the data.
        needs_root: whether there are files; otherwise the clouds are made up.
        splits: what there is to load.
        normalise: each cloud is centred on its mean and scaled into the unit ball before the
            network, as nearly all released code does. False: coordinates enter as they are stored,
            as the released code of ScanObjectNN has it. An adapter keeps what it was trained with.
    """

    name: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    url: ClassVar[str] = ""
    where: ClassVar[str] = ""
    needs_root: ClassVar[bool] = True
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    normalise: ClassVar[bool] = True
    own_files: ClassVar[bool] = False  # a user's files, of which ``read`` reads any other one, too
    own_scenes: ClassVar[bool] = False  # a user's labelled scenes
    own_episodes: ClassVar[bool] = False  # its options are the way, shot and fold of an episode
    streams: ClassVar[bool] = False  # pre-training may draw clouds of its kind without end
    formerly: ClassVar[Mapping[str, Any]] = {}  # defaults that adapters of old were trained with

    root: Path | None = None
    points: int = 1024
    seed: int = 0

    def load(self, split: str) -> Clouds:
        """Clouds of ``split``, one of :attr:`splits`.

        Raises:
            DataLayoutError: something needed is missing under ``root``.
            FileFormatError: a file is damaged or of the wrong kind.
        """
        raise NotImplementedError

    def verify(self) -> list[str]:
        """What differs from the official release, a line each; empty where nothing is known.

        :func:`pointadapt.data.check` looks at this and at everything else.
        """
        return []

    def origin(self) -> Dataset:
        """The data set whose clouds these are: this one, unless it is an index of another."""
        return self

    def variants(self) -> Iterator[tuple[str, Dataset]]:
        """What there is to check, each with a name: this alone, unless a release is many sets."""
        yield "", self

    def title(self) -> str:
        """What results, tables and pictures call it: its name, or that of a user's folder."""
        return self.name

    def told(self) -> dict[str, Any]:
        """What a run's results say of the files that were loaded, of a user's own.

        ``HELD_OUT``: the files of a drawn split's test; ``SKIPPED``: what was left out, and why.
        """
        return {}

    def settled(self) -> dict[str, str]:
        """Options that were chosen from the data, once they are loaded, to be kept with an adapter.

        Nothing where an option is as it was given.
        """
        return {}

    def point_counts(self, split: str) -> np.ndarray | None:
        """(n,) points of each cloud as stored, before any is chosen; None where that is not known.

        Raises:
            PointAdaptError: as :meth:`load`.
        """
        return None

    def found_root(self) -> Path:
        """``root``, if it exists; otherwise an error that says where to get the data."""
        if self.root is None:
            raise DataLayoutError(
                f"data set {self.name!r} needs a folder: pass --root DIR. {self.where}"
            )
        root = Path(self.root)
        if not root.exists():
            raise DataLayoutError(f"{root} does not exist. {self.where}".rstrip())
        return root


def titled(data: Dataset, otherwise: Path | None = None) -> str:
    """What a user's folder is called: its name, or that of the file that stands for it."""
    place = data.root if data.root is not None else otherwise
    return data.name if place is None else Path(place).resolve().name or data.name


DATASETS: Registry[Dataset] = Registry("data set", "pointadapt.data", "pointadapt.data.sets")


def load_dataset(name: str, **options: Any) -> Dataset:
    """The data set called ``name`` with its options set.

    Raises:
        UnknownNameError: no such data set, or no such option of it.
        ConfigError: the options do not fit.
    """
    made = build(DATASETS[name], options, f"data set {name!r}")
    seeds(made, "seed")
    return made


def load_split(dataset: Dataset, split: str) -> Clouds:
    """The clouds of ``split``, with what the data set declares of them (``normalise``)."""
    clouds = dataset.load(split)
    return clouds if dataset.normalise else replace(clouds, normalise=False)


def load_indexed(index: Path, name: str, root: Path | None, options: Mapping[str, Any]) -> Dataset:
    """The data set ``name`` whose clouds the file ``index`` lists (folds, episodes).

    Args:
        index: for messages.
        name: as the file has it.
        root: folder of the data set; None where it needs none.
        options: its others.

    Raises:
        DataLayoutError: it needs a folder.
        UnknownNameError, ConfigError: as :func:`load_dataset`.
    """
    if root is None and DATASETS[name].needs_root:
        raise DataLayoutError(
            f"{index} lists clouds of the data set {name!r} and not their points: say where that "
            f"is with the option source_root=DIR. {DATASETS[name].where}".rstrip()
        )
    return load_dataset(name, **{**options, **({} if root is None else {"root": root})})
