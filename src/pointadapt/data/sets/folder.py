"""Your own files: a folder for each class, in any format that :mod:`pointadapt.io` reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ...core import console
from ...core.errors import ConfigError, DataLayoutError, UnknownNameError
from ...core.notes import note
from ...io import NON_FINITE, SAMPLINGS, Cloud, NonFinite, Sampling, read_both, read_cloud
from ...io.columns import check_called
from ..base import DATASETS, HELD_OUT, SKIPPED, Clouds, Dataset, titled, traits_of
from ..checking.repeats import tell_copies
from ..copies import digest_of, first_of
from ..reading.bad_files import SKIPS, Skip, name_under
from ..reading.file_rows import FileRows, Measured, Reading
from ..reading.sample import SPLITS, Sample
from ..reading.tree import draw_split, find_samples

# What a file's points depend on.
_READING = ("points", "seed", "sampling", "min_points", "nan", "up", "columns", "skip")
FOLDERS = "folder"  # as ``group``: each folder in that of a class
Axis = Literal["x", "y", "z"]

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
        group: what belongs together and must not be on both sides of a split that is drawn:
            "folder", where the files of a class lie in a folder for each group
            (ROOT/CLASS/GROUP/FILE), or a regular expression: what it finds in a file's path under
            ROOT (in its first brackets, if it has any) is the file's group, such as
            ``person[0-9]+``. A manifest's column "group" says so without.
        columns: what x, y and z are called where columns have names, such as
            ``columns=easting,northing,height``.
        skip: "bad" goes on without the files that cannot be read; "none" makes them an error.

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
    columns: tuple[str, ...] = ()
    skip: Skip = "none"
    _kept: FileRows | None = field(default=None, init=False, repr=False, compare=False)
    _told: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def load(self, split: str) -> Clouds:
        """Read the clouds of ``split``, coordinates as :func:`pointadapt.io.read_points` gives.

        Raises:
            DataLayoutError: no folder, no readable file in a class, a class with a single file,
                or one in test that is not in train.
            FileFormatError, PointCloudError: bad files, named.
            ConfigError, UnknownNameError: an option or split that does not exist.

        """
        self._check(split)
        root, samples, rows = self._loaded(split)
        classes = sorted({sample.label for sample in samples if sample.split == "train"})
        at = np.flatnonzero([sample.split == split for sample in rows.samples])
        wanted = [rows.samples[k] for k in at]
        clouds = [rows.clouds[k] for k in at] if rows.clouds else []
        if split == "train":
            _tell_unused(clouds, self.features)
        return Clouds(
            points=rows.points[at],
            traits=rows.traits[at],
            digests=rows.digests[at],
            labels=np.array([classes.index(s.label) for s in wanted], dtype=np.int64),
            classes=tuple(classes),
            ids=tuple(name_under(s.path, root) for s in wanted),
            extras=_numbers(wanted),
            groups=tuple(s.group for s in wanted) if all(s.group for s in wanted) else (),
            **self._features(clouds),
        )

    def title(self) -> str:
        """The name of the folder."""
        return titled(self, self.manifest)

    def told(self) -> dict[str, Any]:
        """The files that a drawn split holds out, and those that are left out."""
        return {name: values for name, values in self._told.items() if values}

    def read(self, path: Path | str) -> Cloud:
        """Read one file as all of this data set are: ``points`` points, z up, what they carry.

        Raises:
            FileFormatError, PointCloudError: a bad file, named.

        """
        return self.measured(path).cloud

    def measured(self, path: Path | str) -> Measured:
        """Read one file as :meth:`read` does, with traits and digest of all of its points.

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
            columns=self.columns,
        )
        traits = traits_of(upright(whole.points, self.up)[None])[0]
        normals = None if cloud.normals is None else upright(cloud.normals, self.up)
        cloud = replace(cloud, points=upright(cloud.points, self.up), normals=normals)
        self._check_features(path, cloud)
        return Measured(cloud, traits, digest_of(whole.points))

    def _check_features(self, path: Path | str, cloud: Cloud) -> None:
        for name in self.features:
            values = getattr(cloud, FEATURES[name][0])
            if values is None or not np.isfinite(values).all():
                raise DataLayoutError(
                    f"{path}: has no {FEATURES[name][0]} for each of its points, which "
                    f"features={','.join(self.features)} needs"
                )

    def _features(self, clouds: Sequence[Cloud]) -> dict[str, Any]:
        """Stack the features that are asked for, as arguments of Clouds."""
        if not self.features:
            return {}
        names = tuple(channel for name in self.features for channel in FEATURES[name][1])
        rows = [
            np.concatenate([getattr(cloud, FEATURES[name][0]) for name in self.features], axis=1)
            for cloud in clouds
        ]
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
        self._check(split)
        paths = [s.path for s in self._loaded(split)[2].samples if s.split == split]
        whole = (read_cloud(path, nan=self.nan, columns=self.columns) for path in paths)
        return np.array([len(cloud) for cloud in whole])

    def _loaded(self, split: str) -> tuple[Path, Sequence[Sample], FileRows]:
        """The root, all files with their splits, and what was read: of ``split`` at least.

        Where the split is drawn all files are read first: copies must be on one side.
        """
        root, samples = self._found()
        reading = self._reading(root)
        if samples[0].split is None:
            draw_split(samples, self.test_fraction, self.seed)  # says what is wrong before it reads
            rows = self._kept if self._kept is not None else reading.rows("all", samples)
            self._kept = rows
            drawn = self._drawn(root, rows)
            rows = replace(rows, samples=tuple(drawn))
            held = [name_under(s.path, root) for s in drawn if s.split == "test"]
            self._told |= {HELD_OUT: held}
            samples = drawn
        else:
            others = [sample for sample in samples if sample.split != split]
            wanted = [sample for sample in samples if sample.split == split]
            rows = reading.rows(split, wanted, others)
            _check_left(wanted, rows, root)
            _tell_parted(samples, root)
        self._told[SKIPPED] = {**self._told.get(SKIPPED, {}), **rows.wrong}
        return root, samples, rows

    def _drawn(self, root: Path, rows: FileRows) -> list[Sample]:
        """The files with a drawn split; what kept some of them together is told."""
        first = first_of(rows.digests)
        drawn = draw_split(rows.samples, self.test_fraction, self.seed, first)
        names, labels = [name_under(s.path, root) for s in drawn], [s.label for s in drawn]
        tell_copies(names, labels, first, root)
        _tell_groups(drawn, root)
        return drawn

    def _reading(self, root: Path) -> Reading:
        return Reading(
            root, self.measured, self.points, self.skip,
            "no" if self.features else self.cache,  # the cache has no features
            {k: str(getattr(self, k)) for k in _READING}, _watched,
        )  # fmt: skip

    def _found(self) -> tuple[Path, list[Sample]]:
        """The root, and all labelled files under it."""
        root, manifest = self._places()
        samples = find_samples(root, manifest, group_folders=self.group == FOLDERS)
        samples = [self._grouped(sample, root) for sample in samples]
        if any(sample.group for sample in samples):  # then each that has none is alone
            samples = [replace(s, group=s.group or name_under(s.path, root)) for s in samples]
        return root, samples

    def _grouped(self, sample: Sample, root: Path) -> Sample:
        """The sample with the group that ``group`` finds in its path."""
        if not self.group or self.group == FOLDERS:
            return sample
        found = re.search(self.group, name_under(sample.path, root))
        if found is None:
            raise DataLayoutError(f"{sample.path}: group={self.group} finds nothing in its path")
        return replace(sample, group=found[1] if found.re.groups else found[0])

    def _check(self, split: str) -> None:
        try:
            re.compile(self.group)
        except re.error as error:
            raise ConfigError(f"group={self.group}: no regular expression: {error}") from error
        check_called(self.columns)
        choices = (("split", split, SPLITS), ("sampling", self.sampling, SAMPLINGS),
                   ("value of nan", self.nan, NON_FINITE), ("value of skip", self.skip, SKIPS),
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


def _watched(paths: Sequence[Path]) -> Iterator[Path]:
    with console.progress("reading", len(paths), unit="files") as tell:
        for done, path in enumerate(paths):
            tell(done)
            yield path


def _check_left(wanted: Sequence[Sample], rows: FileRows, root: Path) -> None:
    """Refuse to go on without any file of a class.

    Raises:
        DataLayoutError: none can be read.
    """
    left = {sample.label for sample in rows.samples}
    lost = sorted({sample.label for sample in wanted if sample.split == "train"} - left)
    if lost:
        raise DataLayoutError(
            f"{root}: no training file of class {lost[0]!r} can be read: mend them, or take the "
            "class away"
        )


def _tell_groups(drawn: Sequence[Sample], root: Path) -> None:
    """Say in a note how many groups a drawn split holds out, if there are groups."""
    sides = {split: {s.group for s in drawn if s.split == split} for split in SPLITS}
    if drawn[0].group:
        names = ", ".join(sorted(sides["test"])[:5])
        more = f" and {len(sides['test']) - 5:,} more" if len(sides["test"]) > 5 else ""
        note(
            f"{root}: {len(sides['train'] | sides['test']):,} groups of files are kept together; "
            f"held out are {names}{more}"
        )


def _tell_parted(samples: Sequence[Sample], root: Path) -> None:
    """Say in a note that given folders part groups, if they do."""
    sides = [{s.group for s in samples if s.group and s.split == split} for split in SPLITS]
    both = sorted(sides[0] & sides[1])
    if both:
        note(
            f"{root}: {len(both):,} groups are in both train and test, such as {both[0]}: the "
            "score may be too good"
        )
