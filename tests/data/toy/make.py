"""Write a toy data set: balls, bars, plates and helices, a folder of NPY files for each class.

    python make.py FOLDER

The classes are so different that any network tells them apart; training on them takes a second.
"""

import sys
from pathlib import Path

import numpy as np

CLASSES = ("ball", "bar", "helix", "plate")


def cloud(name, n, rng):
    """(n, 3) float32 points of one object, of random size and place."""
    t = rng.uniform(-1, 1, (n, 3))
    if name == "ball":
        points = t / np.linalg.norm(t, axis=1, keepdims=True)
    elif name == "bar":
        points = t * (0.05, 0.05, 1.0)
    elif name == "plate":
        points = t * (1.0, 1.0, 0.05)
    else:
        turn = 3 * np.pi * t[:, 0]
        points = np.stack([np.cos(turn), np.sin(turn), 2 * t[:, 0]], axis=1)
    points = points * rng.uniform(0.5, 2.0) + rng.uniform(-1, 1, 3)
    return (points + rng.normal(0, 0.02, (n, 3))).astype(np.float32)


def clouds(each, n=64, seed=0):
    """(4 * each, n, 3) float32 points and (4 * each,) int64 labels; classes take turns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(4 * each) % 4
    return np.stack([cloud(CLASSES[k], n, rng) for k in labels]), labels


def make(folder, train=10, test=4, n=64):
    """Write FOLDER/train/ball/00.npy and so on; returns the folder."""
    for split, each, seed in (("train", train, 1), ("test", test, 2)):
        for i, (points, label) in enumerate(zip(*clouds(each, n, seed), strict=True)):
            path = Path(folder) / split / CLASSES[label] / f"{i:02d}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, points)
    return Path(folder)


if __name__ == "__main__":
    make(sys.argv[1])
