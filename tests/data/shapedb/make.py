"""Write a tiny look-alike of shapedb_2048.npz: python make.py FOLDER.

Forty clouds of 96 points, of 3 of the 69 classes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

POINTS, COUNT = 96, 40
CLASSES = ("Bed", "Mug", "Tree")


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    points = rng.normal(size=(COUNT, POINTS, 3))
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    points *= rng.uniform(0.3, 1.0, (COUNT, 1, 3))
    return {
        "points": points.astype(np.float16),
        "label": (np.arange(COUNT) * len(CLASSES) // COUNT).astype(np.uint8),
        "model_id": np.array([f"m{7 * i}" for i in range(COUNT)]),
        "class_names": np.array(CLASSES),
    }


def write(root: Path, **changes: np.ndarray | None) -> Path:
    """The file in ``root``/shapedb with some arrays changed, or left out where None."""
    folder = root / "shapedb"
    folder.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in {**arrays(), **changes}.items() if v is not None}
    np.savez(folder / "shapedb_2048.npz", **kept)
    return folder


def make(root: Path) -> dict[str, object]:
    """Write it under ``root``, and return the options with which to load it."""
    return {"root": write(root), "points": 32}


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
