"""Write a tiny look-alike of ModelNetFewshot: python make.py FOLDER.

Two folds of 5-way 10-shot and one of 10-way 10-shot, clouds of 96 points with normals.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np

POINTS = 96
QUERIES = 20
FOLDS = {(5, 10): 2, (10, 10): 1}


def classes_of(way: int, fold: int) -> list[int]:
    """Numbers of the classes in ModelNet40, in the order of labels."""
    return np.random.default_rng((way, fold)).permutation(40)[:way].tolist()


def clouds_of(number: int, split: str, fold: int, n: int) -> np.ndarray:
    """(n, POINTS, 6) float32: an ellipsoid, flatter for higher numbers, and unit normals."""
    rng = np.random.default_rng((number, len(split), fold))
    normals = rng.normal(size=(n, POINTS, 3))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    points = normals * (1.0, 1.0, 1.0 - number / 50)
    return np.concatenate([points, normals], axis=2).astype(np.float32)


def content(way: int, shot: int, fold: int) -> dict[str, list]:
    """As published: tuples of points, label in the episode, and number of the class."""
    found: dict[str, list] = {"train": [], "test": []}
    for label, number in enumerate(classes_of(way, fold)):
        for split, n in (("train", shot), ("test", QUERIES)):
            clouds = clouds_of(number, split, fold, n)
            found[split] += [(cloud, label, np.int32(number)) for cloud in clouds]
    return found


def write(root: Path, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    folder = root / "ModelNetFewshot"
    for (way, shot), folds in FOLDS.items():
        for fold in range(folds):
            path = folder / f"{way}way_{shot}shot" / f"{fold}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(content(way, shot, fold), protocol))
    return folder


def make(root: Path) -> dict[str, object]:
    """Write all, and return the options with which to load one."""
    return {"root": write(root), "points": POINTS}


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
