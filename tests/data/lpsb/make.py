"""Write a tiny look-alike of lpsb_2048.npz: python make.py FOLDER.

Every class has two shapes of the training split and one of the test split, 48 points each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pointadapt.data.sets.lpsb import FILE, Lpsb, written_split

POINTS = 48
FIRST = (61, 81, 281, 341, 241, 301, 101, 21, 221, 381, 41, 181, 1, 321, 121, 201, 141, 161, 361)


def arrays() -> dict[str, np.ndarray]:
    """The arrays of the file; parts are slices of the height."""
    rng, split = np.random.default_rng(0), written_split()
    points, seg, category, mesh_id = [], [], [], []
    for k, (name, first) in enumerate(zip(Lpsb.CLASSES, FIRST, strict=True)):
        own = [i for i, part in enumerate(Lpsb.PARTS) if part.startswith(f"{name}/")]
        for part, many in (("train", 2), ("test", 1)):
            for mesh in [m for m in split[part] if first <= m < first + 20][:many]:
                cloud = rng.uniform(-1, 1, (POINTS, 3))
                slices = np.floor((cloud[:, 2] + 1) / 2 * len(own)).astype(int)
                points.append(cloud)
                seg.append(np.array(own)[slices.clip(max=len(own) - 1)])
                category.append(k)
                mesh_id.append(mesh)
    return {
        "points": np.array(points, np.float16), "normals": np.array(points, np.float16),
        "seg": np.array(seg, np.uint8), "category": np.array(category, np.uint8),
        "category_names": np.array(Lpsb.CLASSES), "part_names": np.array(Lpsb.PARTS),
        "mesh_id": np.array(mesh_id, np.int16),
    }  # fmt: skip


def make(root: Path, **changes: np.ndarray | None) -> dict[str, object]:
    """Write the file under ``root`` (with ``changes``), and return the options to load it."""
    values = {k: v for k, v in (arrays() | changes).items() if v is not None}
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / FILE, **values)
    return {"root": root}


if __name__ == "__main__":
    print(make(Path(sys.argv[1]))["root"])
