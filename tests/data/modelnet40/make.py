"""Write tiny look-alikes of the forms that ModelNet40 comes in: python make.py FOLDER.

All forms hold the same few shapes, of 3 of the 40 classes, 96 points each.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import h5py
import numpy as np

from pointadapt.data.sets.modelnet40 import CLASSES

POINTS = 96
SPLITS = {"train": (1, 2, 3), "test": (4, 5)}  # numbers of the shapes of each class
SHOWN = ("airplane", "night_stand", "tv_stand")


def ids_of(split: str) -> list[str]:
    return [f"{name}_{number:04d}" for name in SHOWN for number in SPLITS[split]]


def labels_of(split: str) -> np.ndarray:
    """(n,) int64."""
    return np.array([CLASSES.index(name.rpartition("_")[0]) for name in ids_of(split)])


def points_of(split: str) -> np.ndarray:
    """(n, POINTS, 3) float32, points of an ellipsoid in the unit sphere."""
    rng = np.random.default_rng(len(SPLITS[split]))
    points = rng.normal(size=(len(ids_of(split)), POINTS, 3))
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    return (points * rng.uniform(0.2, 1.0, (len(points), 1, 3))).astype(np.float32)


def with_normals(points: np.ndarray) -> np.ndarray:
    """(n, N, 6) float32: the normals are of unit length, and otherwise arbitrary."""
    return np.concatenate([points, points / np.linalg.norm(points, axis=2, keepdims=True)], axis=2)


def write_npz(root: Path) -> Path:
    folder = root / "modelnet40"
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        np.savez(
            folder / f"{split}.npz",
            points=points_of(split).astype(np.float16),
            label=labels_of(split).astype(np.uint8),
            id=np.array(ids_of(split)),
            class_names=np.array(CLASSES),
        )
    return folder


def write_hdf5(root: Path) -> Path:
    """As published: the lists name the files by another machine's paths."""
    folder = root / "modelnet40_ply_hdf5_2048"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shape_names.txt").write_text("\n".join(CLASSES) + "\n")
    for split in SPLITS:
        names = [f"ply_data_{split}{i}.h5" for i in range(2)]
        halves = np.array_split(np.arange(len(ids_of(split))), 2)
        for name, half in zip(names, halves, strict=True):
            with h5py.File(folder / name, "w") as file:
                file["data"] = points_of(split)[half]
                file["label"] = labels_of(split)[half, None].astype(np.uint8)
        lines = [f"data/{folder.name}/{name}\n" for name in names]
        (folder / f"{split}_files.txt").write_text("".join(lines))
    return folder


def write_lists(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "modelnet40_shape_names.txt").write_text("\n".join(CLASSES) + "\n")
    for split in SPLITS:
        (folder / f"modelnet40_{split}.txt").write_text("\n".join(ids_of(split)) + "\n")


def write_txt(root: Path) -> Path:
    folder = root / "modelnet40_normal_resampled"
    write_lists(folder)
    for split in SPLITS:
        for name, rows in zip(ids_of(split), with_normals(points_of(split)), strict=True):
            path = folder / name.rpartition("_")[0] / f"{name}.txt"
            path.parent.mkdir(exist_ok=True)
            np.savetxt(path, rows, fmt="%.6f", delimiter=",")
    return folder


def write_dat(root: Path, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    folder = root / "modelnet40_normal_resampled"
    write_lists(folder)
    for split in SPLITS:
        clouds = list(with_normals(points_of(split)))
        labels = [np.array([label], np.int32) for label in labels_of(split)]
        content = pickle.dumps([clouds, labels], protocol)
        (folder / f"modelnet40_{split}_8192pts_fps.dat").write_bytes(content)
    return folder


FORMS = {"npz": write_npz, "hdf5": write_hdf5, "dat": write_dat, "txt": write_txt}


def make(root: Path) -> dict[str, object]:
    """Write one form under ``root``, and return the options with which to load it."""
    return {"root": write_hdf5(root), "points": POINTS}


if __name__ == "__main__":
    for write in FORMS.values():
        print(write(Path(sys.argv[1])))
