"""Write a tiny look-alike of ShapeNetPart's official tree: python make.py FOLDER.

Every class has two training clouds, one of "val" and one of "test", of 40 to 46 points.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
COUNTS = {  # synset -> parts, as in the official release
    "02691156": 4, "02773838": 2, "02954340": 2, "02958343": 4, "03001627": 4, "03261776": 3,
    "03467517": 3, "03624134": 2, "03636649": 4, "03642806": 2, "03790512": 6, "03797390": 2,
    "03948459": 3, "04099429": 3, "04225987": 3, "04379243": 3,
}  # fmt: skip
SPLITS = {"train": 2, "val": 1, "test": 1}


def cloud(synset: str, split: str, k: int) -> np.ndarray:
    """(N, 7) float: x y z nx ny nz label; parts are slices of the height."""
    order = list(COUNTS).index(synset)
    rng = np.random.default_rng((order, list(SPLITS).index(split), k))
    rows = rng.uniform(-0.5, 0.5, (40 + 2 * (order % 4), 7)).round(6)
    part = np.floor((rows[:, 1] + 0.5) * COUNTS[synset]).clip(max=COUNTS[synset] - 1)
    rows[:, 6] = sum(list(COUNTS.values())[:order]) + part
    return rows


def write_tree(root: Path) -> Path:
    """Write the tree; returns its folder."""
    folder = root / FOLDER
    (folder / "train_test_split").mkdir(parents=True)
    names = "".join(f"Class{i}\t{synset}\n" for i, synset in enumerate(COUNTS))
    (folder / "synsetoffset2category.txt").write_text(names)
    for split, many in SPLITS.items():
        listed = []
        for synset in COUNTS:
            for k in range(many):
                path = folder / synset / f"{split}{k}.txt"
                path.parent.mkdir(exist_ok=True)
                np.savetxt(path, cloud(synset, split, k), fmt="%.6f")
                listed.append(f"shape_data/{synset}/{split}{k}")
        path = folder / "train_test_split" / f"shuffled_{split}_file_list.json"
        path.write_text(json.dumps(listed[::-1]))
    return folder


def make(root: Path) -> dict[str, object]:
    """Write the tree under ``root``, and return the options with which to load it."""
    return {"root": write_tree(root)}


if __name__ == "__main__":
    print(write_tree(Path(sys.argv[1])))
