"""Write a tiny look-alike of ModelNet-C: python make.py FOLDER.

Eight clouds of 4 of the 40 classes in every file, of as many points as a cloud of 96 would have.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np

POINTS, COUNT = 96, 8
LABELS = np.array([0, 2, 8, 39, 39, 8, 2, 0])[:, None]
CHANGES = {  # corruption -> points more at each level
    "scale": 0, "jitter": 0, "rotate": 0, "dropout_global": -12, "dropout_local": -9,
    "add_global": 1, "add_local": 9,
}  # fmt: skip


def points_of(name: str, level: int) -> np.ndarray:
    """(COUNT, N, 3) float32; those of "clean" are of level -1."""
    rng = np.random.default_rng(([*CHANGES, "clean"].index(name), level + 1))
    n = POINTS + CHANGES.get(name, 0) * (level + 1)
    points = rng.normal(size=(COUNT, n, 3)) * rng.uniform(0.2, 1, (COUNT, 1, 3))
    return (points / np.linalg.norm(points, axis=2).max(axis=1)[:, None, None]).astype(np.float32)


def write(root: Path) -> Path:
    folder = root / "modelnet_c"
    folder.mkdir(parents=True, exist_ok=True)
    for name in CHANGES:
        for level in range(5):
            _write(folder / f"{name}_{level}.h5", points_of(name, level))
    _write(folder / "clean.h5", points_of("clean", -1))
    return folder


def _write(path: Path, points: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = points
        file["label"] = LABELS


def make(root: Path) -> dict[str, object]:
    """Write it under ``root``, and return the options with which to load it."""
    return {"root": write(root), "corruption": "add_local", "severity": 3}


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
