"""Write tiny labelled scenes of a user's: python make.py FOLDER.

Ground, buildings and trees in UTM coordinates: two scenes for training, one for test.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

UTM = np.array([691_000.25, 5_334_000.5, 512.0])
NAMES = ("ground", "building", "tree")


def scene(seed: int, size: float = 40.0, points: int = 3000) -> np.ndarray:
    """(N, 5) float64 rows x y z intensity label of a square of ``size`` metres."""
    rng = np.random.default_rng(seed)
    xyz = np.column_stack([rng.uniform(0, size, (points, 2)), rng.normal(0, 0.05, points)])
    label = np.zeros(points)
    house, width = rng.uniform(0.1, 0.5, 2) * size, rng.uniform(0.2, 0.35, 2) * size
    on = ((xyz[:, :2] > house) & (xyz[:, :2] < house + width)).all(axis=1)
    xyz[on, 2] += 6
    label[on] = 1
    for tree in rng.uniform(0.1, 0.9, (6, 2)) * size:
        near = np.linalg.norm(xyz[:, :2] - tree, axis=1) < 0.06 * size
        near &= label == 0
        xyz[near, 2] += rng.uniform(1, 5, int(near.sum()))
        label[near] = 2
    intensity = np.array([400, 900, 150])[label.astype(int)] + rng.normal(0, 60, points)
    return np.column_stack([xyz + UTM, intensity.round(), label])


def make(root: Path) -> dict[str, object]:
    """Write the scenes under ``root``, and return the options with which to load them."""
    for name, seed in (("train/a", 0), ("train/b", 1), ("test/c", 2)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / f"{name}.npy", scene(seed))
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return {"root": root, "block": 12, "blocks": 16, "test_blocks": 8, "least": 40}


if __name__ == "__main__":
    print(make(Path(sys.argv[1]))["root"])
