"""ModelNet40: 12,311 CAD shapes of 40 classes (Wu et al., CVPR 2015), in the forms it comes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ...core.errors import DataLayoutError, FileFormatError
from ..base import DATASETS
from ..reading.benchmark import SPLITS, Benchmark, check_choice
from ..reading.files import (
    RawClouds,
    as_labels,
    existing,
    numbered,
    points_and_labels,
    read_h5,
    read_lines,
    read_npz,
    read_table,
)
from ..reading.pickles import load_pickle

NAMES = (
    "airplane bathtub bed bench bookshelf bottle bowl car chair cone cup curtain desk door dresser "
    "flower_pot glass_box guitar keyboard lamp laptop mantel monitor night_stand person piano "
    "plant radio range_hood sink sofa stairs stool table tent toilet tv_stand vase wardrobe "
    "xbox"
)
CLASSES = tuple(NAMES.split())


@DATASETS.register("modelnet40")
@dataclass
class ModelNet40(Benchmark):
    """ModelNet40 in its official split (9,843 train, 2,468 test), coordinates as stored.

    Papers keep the 8,192 points of a shape that farthest point sampling picked from its 10,000,
    and draw 1,024 of 1,200 of them anew in every epoch. That draw belongs to training: ``load``
    returns the same points each time. Where the files have 1,024 points a shape (form ``npz``),
    the draw is a mere permutation of them, which should be said beside every score.

    The axes are kept: z is up in our ``npz`` files, y in the other, published ones.

    Attributes:
        root: the folder with the files, or the one that holds it.
        form: which of the forms to read; ``auto`` takes the first that is there, in this order.

            - ``npz``: ``train.npz``, ``test.npz`` with points (n, N, 3), label (n,) and, if they
              are there, id (n,) and class_names (40,).
            - ``hdf5``: ``modelnet40_ply_hdf5_2048``, 2,048 points; stored in random order, so
              ``sampling="auto"`` takes the first, as is usual.
            - ``dat``: ``modelnet40_{train,test}_8192pts_fps.dat``, as Point-BERT and Point-MAE
              share them: pickles, of which numpy arrays alone are read. Stored in the order of
              farthest point sampling, so ``auto`` takes the first.
            - ``txt``: ``modelnet40_normal_resampled``, 10,000 points in text files (slow to
              read, see ``cache``); ``auto`` samples farthest points.
    """

    licence: ClassVar[str] = "academic research only; the shapes belong to their authors"
    citation: ClassVar[str] = (
        "Wu et al., 3D ShapeNets: A Deep Representation for Volumetric Shapes, CVPR 2015"
    )
    url: ClassVar[str] = "https://modelnet.cs.princeton.edu/"
    where: ClassVar[str] = (
        "Get modelnet40_normal_resampled or modelnet40_ply_hdf5_2048, to which the pages of "
        "PointNet++ and PointNet link, and pass the unpacked folder."
    )
    CLASSES: ClassVar[tuple[str, ...]] = CLASSES

    form: Literal["auto", "npz", "hdf5", "dat", "txt"] = "auto"

    def official_counts(self) -> dict[str, int]:
        """Number of clouds of each split in the official release."""
        return {"train": 9843, "test": 2468}

    def raw(self, split: str) -> RawClouds:
        """The clouds of ``split`` as stored."""
        check_choice("form", self.form, ("auto", *FORMS))
        root = self.found_root()
        wanted = FORMS if self.form == "auto" else {self.form: FORMS[self.form]}
        for form in wanted.values():
            for folder in (root, root / form.folder):
                if form.lies_in(folder):
                    return form.read(folder, split)
        listed = " or ".join(f"{f.folder}/{f.files.format(split)}" for f in wanted.values())
        raise DataLayoutError(f"{root}: no {listed} is there. {self.where}")


def _read_npz(folder: Path, split: str) -> RawClouds:
    path = folder / f"{split}.npz"
    arrays = read_npz(path)
    points, labels = points_and_labels(path, arrays, "points")
    classes = tuple(map(str, arrays.get("class_names", CLASSES)))
    ids = tuple(map(str, arrays.get("id", numbered(split, len(labels)))))
    if len(ids) != len(labels):
        raise FileFormatError(f"{path}: {len(ids)} of 'id' for {len(labels)} clouds")
    return RawClouds(path, labels, classes, ids, points.__getitem__, "fps")


def _read_hdf5(folder: Path, split: str) -> RawClouds:
    paths = _hdf5_files(folder, split)
    points, labels = zip(*map(read_h5, paths), strict=True)
    if len({part.shape[1] for part in points}) > 1:
        raise FileFormatError(f"{folder}: the {split} files differ in their number of points")
    classes = _class_names(folder / "shape_names.txt")
    parts = zip(paths, labels, strict=True)
    ids = tuple(name for path, part in parts for name in numbered(path.stem, len(part)))
    joined = np.concatenate(points)
    return RawClouds(folder, np.concatenate(labels), classes, ids, joined.__getitem__, "first")


def _hdf5_files(folder: Path, split: str) -> list[Path]:
    """The files that the list names, by base name, or else all that are there."""
    listing = folder / f"{split}_files.txt"
    if listing.exists():
        paths = [
            existing(folder / Path(line).name, f"{listing.name} lists it")
            for line in read_lines(listing)
        ]
    else:
        paths = sorted(folder.glob(f"ply_data_{split}*.h5"))
    if not paths:
        raise DataLayoutError(f"{folder}: no ply_data_{split}*.h5 is there")
    return paths


def _read_dat(folder: Path, split: str) -> RawClouds:
    name = f"modelnet40_{split}_*pts_fps.dat"
    # Of several, the one with most points: its name is the longest, or the last.
    path = max(folder.glob(name), key=lambda path: (len(path.name), path.name), default=None)
    if path is None:
        raise DataLayoutError(f"{folder}: no {name} is there")
    clouds, labels = _dat_contents(path)
    classes = _class_names(folder / "modelnet40_shape_names.txt")
    ids = numbered(split, len(clouds))
    if (folder / f"modelnet40_{split}.txt").exists():
        listed, expected = _txt_listed(folder, split, classes)
        ids = listed if np.array_equal(expected, labels) else ids
    return RawClouds(path, labels, classes, ids, clouds.__getitem__, "first")


def _dat_contents(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """The arrays in the file, and the labels (n,)."""
    match load_pickle(path):
        case [[*clouds], [*labels]] if all(isinstance(cloud, np.ndarray) for cloud in clouds):
            return clouds, as_labels(path, labels, len(clouds))
    raise FileFormatError(f"{path}: must be a list of arrays and a list of labels")


def _read_txt(folder: Path, split: str) -> RawClouds:
    classes = _class_names(folder / "modelnet40_shape_names.txt")
    ids, labels = _txt_listed(folder, split, classes)
    paths = [
        existing(folder / classes[label] / f"{name}.txt", f"modelnet40_{split}.txt lists it")
        for name, label in zip(ids, labels, strict=True)
    ]

    def read(i: int) -> np.ndarray:
        return read_table(paths[i])

    return RawClouds(folder, labels, classes, ids, read, "fps", slow=tuple(paths))


def _class_names(path: Path) -> tuple[str, ...]:
    return read_lines(path) if path.exists() else CLASSES


def _txt_listed(
    folder: Path, split: str, classes: tuple[str, ...]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the shapes of ``split``, and the labels (n,) that they imply."""
    path = folder / f"modelnet40_{split}.txt"
    ids = read_lines(path)
    index = {name: i for i, name in enumerate(classes)}
    labels = [index.get(name.rpartition("_")[0], -1) for name in ids]  # night_stand_0001
    if -1 in labels:
        bad = ids[labels.index(-1)]
        raise FileFormatError(f"{path}: {bad!r} is not a class, an underscore and a number")
    return ids, np.array(labels, dtype=np.int64)


@dataclass(frozen=True)
class _Form:
    """A form of the data: its folder, files of a split ("{}"), and what reads a split."""

    folder: str
    files: str
    read: Callable[[Path, str], RawClouds]

    def lies_in(self, folder: Path) -> bool:
        # Any split will do: a form that lacks one is an error, and not to be mixed with another.
        return any(any(folder.glob(self.files.format(split))) for split in SPLITS)


FORMS = {
    "npz": _Form("modelnet40", "{}.npz", _read_npz),
    "hdf5": _Form("modelnet40_ply_hdf5_2048", "ply_data_{}*.h5", _read_hdf5),
    "dat": _Form("modelnet40_normal_resampled", "modelnet40_{}_*pts_fps.dat", _read_dat),
    "txt": _Form("modelnet40_normal_resampled", "modelnet40_{}.txt", _read_txt),
}
