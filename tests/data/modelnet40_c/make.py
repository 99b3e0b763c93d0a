"""Write a tiny look-alike of ModelNet40-C: python make.py FOLDER.

Eight clouds of 4 of the 40 classes in every file, of as many points as a cloud of 96 would have.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

POINTS, COUNT = 96, 8
LABELS = np.array([0, 2, 8, 39, 39, 8, 2, 0], np.uint8)[:, None]
CORRUPTIONS = [
    "occlusion",
    "lidar",
    "density_inc",
    "density",
    "cutout",
    "uniform",
    "gaussian",
    "impulse",
    "upsampling",
    "background",
    "rotation",
    "shear",
    "distortion",
    "distortion_rbf",
    "distortion_rbf_inv",
]


def size(name: str, severity: int) -> int:
    """Points of a cloud in a file: fewer and fewer, more and more, or POINTS."""
    if name == "lidar":
        return POINTS * 3 // 4
    change = {"density": -6, "cutout": -4, "upsampling": 12, "background": 1}.get(name, 0)
    return POINTS + change * severity


def points_of(name: str, severity: int) -> np.ndarray:
    """(COUNT, N, 3) float32; those of "original" are of severity 0."""
    rng = np.random.default_rng(([*CORRUPTIONS, "original"].index(name), severity))
    points = rng.normal(size=(COUNT, size(name, severity), 3)) * rng.uniform(0.2, 1, (COUNT, 1, 3))
    return (points / np.abs(points).max(axis=(1, 2), keepdims=True)).astype(np.float32)


def write(root: Path) -> Path:
    folder = root / "modelnet40_c"
    folder.mkdir(parents=True, exist_ok=True)
    for name in CORRUPTIONS:
        for severity in range(1, 6):
            np.save(folder / f"data_{name}_{severity}.npy", points_of(name, severity))
    np.save(folder / "data_original.npy", points_of("original", 0))
    np.save(folder / "label.npy", LABELS)
    return folder


def make(root: Path) -> dict[str, object]:
    """Write it under ``root``, and return the options with which to load it."""
    return {"root": write(root), "corruption": "cutout", "severity": 2}


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
