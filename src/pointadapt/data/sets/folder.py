"""Your own files: a folder for each class, in any format that :mod:`pointadapt.io` reads."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from ...core import console
from ...core.errors import ConfigError, DataLayoutError, UnknownNameError
from ...core.notes import note
from ...io import NON_FINITE, SAMPLINGS, Cloud, NonFinite, Sampling, read_both, read_cloud
from ..base import DATASETS, Clouds, Dataset, traits_of
from ..reading.point_cache import cached_points
from ..reading.sample import SPLITS, Sample
from ..reading.tree import find_samples, split_samples

T = TypeVar("T")
# What a file's points depend on.
_READING = ("points", "seed", "sampling", "min_points", "nan", "up")
Axis = Literal["x", "y", "z"]
Measured = tuple[Cloud, np.ndarray]  # a cloud, and the traits of the whole file

# Which columns become x, y, z, and their signs: rotations, so that nothing is mirrored.
Feature = Literal["color", "normal"]
FEATURES: dict[str, tuple[str, tuple[str, ...]]] = {  # field of a cloud, names of its channels
    "color": ("colors", ("red", "green", "blue")),
    "normal": ("normals", ("nx", "ny", "nz")),
}

UPRIGHT = {"x": ((2, 1, 0), (-1, 1, 1)), "y": ((0, 2, 1), (1, -1, 1)), "z": ((0, 1, 2), (1, 1, 1))}


@DATASETS.register("folder")
@dataclass
class Folder(Dataset):
    """Clouds and meshes of your own, in one of four layouts.

    ::

        ROOT/chair/a.ply             split here: the same at every run, within each class
        ROOT/train/chair/a.ply       ROOT/test/chair/b.ply
        ROOT/chair/train/a.off       ROOT/chair/test/b.off       (ModelNet40 as published)
        ROOT/manifest.csv            columns path,label[,split]; used instead where present, or
                                     another CSV with manifest=labels.csv. Other columns of numbers
                                     are kept for tasks that predict them (``Clouds.extras``).

    Classes are the sorted names of train. Hidden files and other endings are ignored.

    Attributes:
        root: the folder.
        points: number of points N of each cloud: chosen, repeated if a file has fewer, or drawn
            on the surface of a mesh.
        seed: fixes the split and the choice of points.
        test_fraction: share of each class that becomes test where no split is given; at least
            one file, and never all.
        sampling: how points are chosen: "random", or "fps" (evenly spread, slower).
        up: the files' axis that points up. It becomes z.
        min_points: a cloud of fewer points is an error.
        cache: where the points are kept, so that the next start need not read the files: a
            folder, "no", or "auto", which keeps what took more than five seconds in the user's
            cache folder.
        manifest: a CSV with the columns path, label and, if wanted, split; in ROOT, or elsewhere.
            Its paths are relative to itself, or else to ROOT. ROOT may be left out.
        nan: "error", or "drop" to leave out points with NaN or infinite coordinates, which some
            scanners write where they saw nothing.
        features: what else of each point a task is given that takes it: "color" (0 to 1) and
            "normal". Backbones see coordinates alone.
        group: what belongs together and must not be on both sides of a split that is drawn, as a
            regular expression: what it finds in a file's path under ROOT (in its first brackets, if
            it has any) is the file's group, such as ``person[0-9]+``. A manifest's column "group"
            says so without.

    """

    licence: ClassVar[str] = "yours"
    citation: ClassVar[str] = ""
    url: ClassVar[str] = ""
    own_files: ClassVar[bool] = True
    where: ClassVar[str] = "Put the files of each class into a folder of its name: ROOT/CLASS/FILE."

    test_fraction: float = 0.2
    sampling: Sampling = "random"
    up: Axis = "z"
    min_points: int = 16
    cache: str = "auto"
    manifest: Path | None = None
    nan: NonFinite = "error"
    features: tuple[Feature, ...] = ()
    group: str = ""

    def load(self, split: str) -> Clouds:
        """Read the clouds of ``split``, coordinates as :func:`pointadapt.io.read_points` gives.

        Raises:
            DataLayoutError: no folder, no readable file in a class, a class with a single file,
                or one in test that is not in train.
            FileFormatError, PointCloudError: a bad file, named.
            ConfigError, UnknownNameError: an option or split that does not exist.

        """
        root, samples = self._samples(split)
        classes = sorted({sample.label for sample in samples if sample.split == "train"})
        wanted = [sample for sample in samples if sample.split == split]

        def read() -> list[Measured]:
            clouds = [self.read_measured(sample.path) for sample in _watched(wanted)]
            if split == "train":
                _tell_unused([cloud for cloud, _ in clouds], self.features)
            return clouds

        clouds: list[Measured] = read() if self.features else []  # the cache has no features
        rows = cached_points(
            "no" if clouds else self.cache, f"folder {root.resolve()} {split}",
            [sample.path for sample in wanted],
            {k: str(getattr(self, k)) for k in _READING},
            lambda: np.stack([_row(*measured) for measured in clouds or read()]),
        )  # fmt: skip
        own = 3 * self.points
        return Clouds(
            points=rows[:, :own].reshape(-1, self.points, 3),
            traits=rows[:, own:],
            labels=np.array([classes.index(s.label) for s in wanted], dtype=np.int64),
            classes=tuple(classes),
            ids=tuple(_name(s.path, root) for s in wanted),
            extras=_numbers(wanted),
            groups=tuple(s.group for s in wanted) if all(s.group for s in wanted) else (),
            **self._features(wanted, [cloud for cloud, _ in clouds]),
        )

    def read(self, path: Path | str) -> Cloud:
        """Read one file as all of this data set are: ``points`` points, z up, what they carry.

        Raises:
            FileFormatError, PointCloudError: a bad file, named.

        """
        return self.read_measured(path)[0]

    def read_measured(self, path: Path | str) -> Measured:
        """Read one file as :meth:`read` does, and (T,) the traits of all of its points.

        Raises:
            FileFormatError, PointCloudError: a bad file, named.

        """
        whole, cloud = read_both(
            path,
            n=self.points,
            seed=self.seed,
            sampling=self.sampling,
            minimum=self.min_points,
            nan=self.nan,
        )
        traits = traits_of(upright(whole.points, self.up)[None])[0]
        normals = None if cloud.normals is None else upright(cloud.normals, self.up)
        return replace(cloud, points=upright(cloud.points, self.up), normals=normals), traits

    def _features(self, samples: Sequence[Sample], clouds: Sequence[Cloud]) -> dict[str, Any]:
        """Stack the features that are asked for, as arguments of Clouds."""
        if not self.features:
            return {}
        rows = []
        for sample, cloud in zip(samples, clouds, strict=True):
            found = [getattr(cloud, FEATURES[name][0]) for name in self.features]
            for name, values in zip(self.features, found, strict=True):
                if values is None or not np.isfinite(values).all():
                    raise DataLayoutError(
                        f"{sample.path}: has no {FEATURES[name][0]} for each of its points, which "
                        f"features={','.join(self.features)} needs"
                    )
            rows.append(np.concatenate(found, axis=1))
        names = tuple(channel for name in self.features for channel in FEATURES[name][1])
        return {"features": np.stack(rows).astype(np.float32), "feature_names": names}

    def _places(self) -> tuple[Path, Path | None]:
        """The folder, and the manifest where one is named."""
        if self.manifest is None:
            return self.found_root(), None
        given = Path(self.manifest)
        if self.root is None:
            return given.parent, given
        inside = self.found_root() / given
        return self.found_root(), inside if inside.is_file() else given

    def point_counts(self, split: str) -> np.ndarray:
        """(n,) points of each file; of a mesh, its vertices."""
        wanted = [sample.path for sample in self._samples(split)[1] if sample.split == split]
        return np.array([len(read_cloud(path, nan=self.nan)) for path in wanted])

    def _samples(self, split: str) -> tuple[Path, list[Sample]]:
        """The root, and all labelled files under it with their splits."""
        self._check(split)
        root, manifest = self._places()
        samples = [self._grouped(sample, root) for sample in find_samples(root, manifest)]
        return root, split_samples(samples, self.test_fraction, self.seed)

    def _grouped(self, sample: Sample, root: Path) -> Sample:
        """The sample with the group that ``group`` finds in its path."""
        if not self.group:
            return sample
        found = re.search(self.group, _name(sample.path, root))
        if found is None:
            raise DataLayoutError(f"{sample.path}: group={self.group} finds nothing in its path")
        return replace(sample, group=found[1] if found.re.groups else found[0])

    def _check(self, split: str) -> None:
        try:
            re.compile(self.group)
        except re.error as error:
            raise ConfigError(f"group={self.group}: no regular expression: {error}") from error
        choices = (("split", split, SPLITS), ("sampling", self.sampling, SAMPLINGS),
                   ("value of nan", self.nan, NON_FINITE),
                   *(("feature", name, FEATURES) for name in self.features))  # fmt: skip
        for kind, value, known in (*choices, ("up axis", self.up, tuple(UPRIGHT))):
            if value not in known:
                raise UnknownNameError(kind, value, known)
        if self.points < 1 or self.seed < 0 or not 0 < self.test_fraction < 1:
            raise ConfigError(
                f"points={self.points}, seed={self.seed}, test_fraction={self.test_fraction}: "
                "use points >= 1, seed >= 0 and a test_fraction between 0 and 1"
            )


def _numbers(samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """(n,) float32 of each number that is known of all samples, by name."""
    known = samples[0].numbers if samples else {}
    return {name: np.array([s.numbers[name] for s in samples], np.float32) for name in known}


def _row(cloud: Cloud, traits: np.ndarray) -> np.ndarray:
    """(3 N + T,) the coordinates and the traits of a cloud, as the cache keeps them."""
    return np.concatenate([cloud.points.reshape(-1), traits])


def upright(points: np.ndarray, up: Axis) -> np.ndarray:
    """Rotate points (..., 3) by a quarter turn so that the axis ``up`` becomes z."""
    columns, signs = UPRIGHT[up]
    return points[..., columns] * np.array(signs, dtype=points.dtype)


def _tell_unused(clouds: Sequence[Cloud], used: Sequence[str]) -> None:
    """Say in a note what the files hold that nobody asked for."""
    counts = {
        field: sum(getattr(cloud, field) is not None for cloud in clouds)
        for name, (field, _) in FEATURES.items()
        if name not in used
    }
    found = [f"{field} of {count} files" for field, count in counts.items() if count]
    if found:
        note(
            f"{' and '.join(found)} of the training set are not used: the backbone takes "
            "coordinates alone"
        )


def _watched(paths: Sequence[T]) -> Iterable[T]:
    if not sys.stderr.isatty():
        return paths
    from rich.progress import track

    return track(paths, "reading", console=console.output(stderr=True), transient=True)


def _name(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
