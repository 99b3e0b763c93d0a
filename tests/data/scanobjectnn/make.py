"""Write a tiny look-alike of ScanObjectNN's h5_files: python make.py FOLDER.

Every class has one cloud of 80 points in each split of each variant.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np

POINTS = 80
CLASS_COUNT = 15
FILES = {
    "obj_bg": "main_split/{}_objectdataset.h5",
    "obj_only": "main_split_nobg/{}_objectdataset.h5",
    "pb_t50_rs": "main_split/{}_objectdataset_augmentedrot_scale75.h5",
}
STEMS = {"train": "training", "test": "test"}


def labels_of(split: str) -> np.ndarray:
    """(15,) int32: all classes, in an order of the split's own."""
    return np.roll(np.arange(CLASS_COUNT, dtype=np.int32), len(split))


def points_of(variant: str, split: str) -> np.ndarray:
    """(15, POINTS, 3) float32."""
    rng = np.random.default_rng((list(FILES).index(variant), len(split)))
    return rng.uniform(-1, 1, (CLASS_COUNT, POINTS, 3)).astype(np.float32)


def write_h5_files(root: Path) -> Path:
    folder = root / "h5_files"
    for variant, name in FILES.items():
        for split, stem in STEMS.items():
            path = folder / name.format(stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file["data"] = points_of(variant, split)
                file["label"] = labels_of(split)
                file["mask"] = np.zeros((CLASS_COUNT, POINTS), np.int32)
    return folder


def make(root: Path) -> dict[str, object]:
    """Write all variants under ``root``, and return the options with which to load one."""
    return {"root": write_h5_files(root), "points": POINTS}


if __name__ == "__main__":
    print(write_h5_files(Path(sys.argv[1])))
