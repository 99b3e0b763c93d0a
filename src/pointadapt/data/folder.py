"""Your own files: a folder for each class, in any format that :mod:`pointadapt.io` reads."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ..errors import ConfigError, DataLayoutError, UnknownNameError
from ..io import SAMPLINGS, Sampling, read_points
from ._base import DATASETS, Clouds, Dataset
from ._cache import cached_points
from ._layouts import SPLITS, find_samples, split_samples

Axis = Literal["x", "y", "z"]

# Which columns become x, y, z, and their signs: rotations, so that nothing is mirrored.
UPRIGHT = {"x": ((2, 1, 0), (-1, 1, 1)), "y": ((0, 2, 1), (1, -1, 1)), "z": ((0, 1, 2), (1, 1, 1))}


@DATASETS.register("folder")
@dataclass
class Folder(Dataset):
    """Clouds and meshes of your own, in one of four layouts.

    ::

        ROOT/chair/a.ply             split here: the same at every run, within each class
        ROOT/train/chair/a.ply       ROOT/test/chair/b.ply
        ROOT/chair/train/a.off       ROOT/chair/test/b.off       (ModelNet40 as published)
        ROOT/manifest.csv            columns path,label[,split]; used instead where present

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

    """

    licence: ClassVar[str] = "yours"
    citation: ClassVar[str] = ""
    url: ClassVar[str] = ""
    where: ClassVar[str] = "Put the files of each class into a folder of its name: ROOT/CLASS/FILE."

    test_fraction: float = 0.2
    sampling: Sampling = "random"
    up: Axis = "z"
    min_points: int = 16
    cache: str = "auto"

    def load(self, split: str) -> Clouds:
        """Read the clouds of ``split``, coordinates as :func:`pointadapt.io.read_points` gives.

        Raises:
            DataLayoutError: no folder, no readable file in a class, a class with a single file,
                or one in test that is not in train.
            FileFormatError, PointCloudError: a bad file, named.
            ConfigError, UnknownNameError: an option or split that does not exist.

        """
        self._check(split)
        root = self.found_root()
        samples = split_samples(find_samples(root), self.test_fraction, self.seed)
        classes = sorted({sample.label for sample in samples if sample.split == "train"})
        wanted = [sample for sample in samples if sample.split == split]
        paths = [sample.path for sample in wanted]
        options = (self.points, self.seed, self.sampling, self.min_points)
        n, seed = self.points, self.seed
        points = cached_points(
            self.cache, f"folder {root.resolve()} {split}", paths, {"options": options},
            lambda: read_folder(
                paths, n, seed, sampling=self.sampling, minimum=self.min_points
            ),
        )  # fmt: skip
        return Clouds(
            points=upright(points, self.up),
            labels=np.array([classes.index(s.label) for s in wanted], dtype=np.int64),
            classes=tuple(classes),
            ids=tuple(_name(s.path, root) for s in wanted),
        )

    def _check(self, split: str) -> None:
        choices = (("split", split, SPLITS), ("sampling", self.sampling, SAMPLINGS))
        for kind, value, known in (*choices, ("up axis", self.up, tuple(UPRIGHT))):
            if value not in known:
                raise UnknownNameError(kind, value, known)
        if self.points < 1 or self.seed < 0 or not 0 < self.test_fraction < 1:
            raise ConfigError(
                f"points={self.points}, seed={self.seed}, test_fraction={self.test_fraction}: "
                "use points >= 1, seed >= 0 and a test_fraction between 0 and 1"
            )


def read_folder(
    paths: Sequence[Path | str],
    n: int = 1024,
    seed: int = 0,
    *,
    sampling: Sampling = "random",
    minimum: int = 1,
) -> np.ndarray:
    """Read many files, ``n`` points of each, with a progress bar where someone watches.

    A file's points depend on the file and ``seed`` alone, not on the files around it.

    Args:
        paths: the files.
        n: number of points of each.
        seed: fixes the choice of points.
        sampling: as in :func:`pointadapt.io.read_points`.
        minimum: as in :func:`pointadapt.io.read_points`.

    Returns:
        (n_files, n, 3) float32.

    Raises:
        DataLayoutError: no path is given.
        FileFormatError, PointCloudError: a bad file, named.
        ConfigError, UnknownNameError: n below 1, or no such sampling.

    """
    if not paths:
        raise DataLayoutError("there is no file to read")
    return np.stack(
        [
            read_points(path, n=n, seed=seed, sampling=sampling, minimum=minimum)
            for path in _watched(paths)
        ]
    )


def upright(points: np.ndarray, up: Axis) -> np.ndarray:
    """Rotate points (..., 3) by a quarter turn so that the axis ``up`` becomes z."""
    columns, signs = UPRIGHT[up]
    return points[..., columns] * np.array(signs, dtype=points.dtype)


def _watched(paths: Sequence[Path | str]) -> Iterable[Path | str]:
    if not sys.stderr.isatty():
        return paths
    from rich.console import Console
    from rich.progress import track

    return track(paths, "reading", console=Console(stderr=True), transient=True)


def _name(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
