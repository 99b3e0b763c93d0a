"""Write the files that the README and the guides speak of, small: python make.py FOLDER.

``FILES`` says what there is; :func:`make` writes those that a page names.
"""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np

from pointadapt.io import write_points

DATA = Path(__file__).parents[1]
CLASSES = {"box": (1.0, 0.8, 0.6), "plate": (1.0, 1.0, 0.05), "pole": (0.05, 0.05, 1.0)}
FORMATS = (".ply", ".xyz", ".npy", ".pcd")


def cloud(name: str, seed: int, points: int = 80) -> np.ndarray:
    """(N, 3) float32 points of a box of the class's proportions, of random size and place."""
    rng = np.random.default_rng(seed)
    size = np.array(CLASSES[name]) * rng.uniform(0.5, 2)
    return (rng.uniform(-1, 1, (points, 3)) * size + rng.uniform(-1, 1, 3)).astype(np.float32)


def scans(folder: Path) -> None:
    """A folder for each class, in mixed formats."""
    for name in CLASSES:
        for k in range(6):
            write_points(folder / name / f"{k}{FORMATS[k % len(FORMATS)]}", cloud(name, k))


def new_scan(path: Path) -> None:
    """One file without a class."""
    write_points(path, cloud("plate", 99))


def incoming(folder: Path) -> None:
    """Files without a class, in a folder and one below it."""
    write_points(folder / "a.npy", cloud("box", 7))
    write_points(folder / "later" / "b.xyz", cloud("pole", 8))


def labels(path: Path) -> None:
    """A table of the scans' labels, beside their folder."""
    scans(path.parent / "scans")
    files = sorted((path.parent / "scans").rglob("*.*"))
    rows = [f"{file.relative_to(path.parent)},{file.parent.name}" for file in files]
    path.write_text("\n".join(["path,label", *rows]) + "\n")


def survey(folder: Path) -> None:
    """CSV files with columns of other names, in folders of groups; one of them is empty."""
    for name in CLASSES:
        for k in range(10):
            path = folder / name / f"tree{k // 2}" / f"{k}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = ["1,{:.4f},{:.4f},{:.4f}".format(*row) for row in cloud(name, k)]
            path.write_text("\n".join(["echo,easting,northing,height", *rows, ""]))
    (folder / "box" / "tree1" / "empty.csv").write_text("")


def scene(seed: int) -> np.ndarray:
    """(N, 4) float64 x y z label of a square of 40 m: ground, a building, trees."""
    made = runpy.run_path(str(DATA / "folder_segmentation" / "make.py"))["scene"](seed, points=9000)
    return made[:, [0, 1, 2, 4]]


def laz(path: Path, seed: int) -> None:
    """A scene as LAZ, with ASPRS classes."""
    rows = scene(seed)
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = (0.001,) * 3, rows[0, :3].round()
    file = laspy.LasData(header)
    file.x, file.y, file.z = rows[:, :3].T
    file.classification = np.array([2, 6, 5])[rows[:, 3].astype(int)]
    path.parent.mkdir(parents=True, exist_ok=True)
    file.write(str(path))


def city(folder: Path) -> None:
    """Two scenes for training, one for test."""
    for k, name in enumerate(("train/north", "train/south", "test/centre")):
        laz(folder / f"{name}.laz", k)


def new_city(path: Path) -> None:
    """A scene to be labelled."""
    laz(path, 5)


def labelled_objects(folder: Path) -> None:
    """Objects whose points have labels: plates on poles, as text with a header."""
    for name, seed in (("train/a", 0), ("train/b", 1), ("train/c", 2), ("test/object", 3)):
        rng = np.random.default_rng(seed)
        pole = rng.uniform(-1, 1, (1500, 3)) * (0.05, 0.05, 1)
        plate = rng.uniform(-1, 1, (1500, 3)) * (1, 1, 0.05) + (0, 0, 1)
        rows = np.column_stack([np.vstack([pole, plate]), np.repeat([0, 1], 1500)])
        path = folder / f"{name}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = "".join(f"property float {c}\n" for c in "xyz") + "property uchar label\n"
        body = "".join("{:.4f} {:.4f} {:.4f} {:.0f}\n".format(*row) for row in rows)
        path.write_text(
            f"ply\nformat ascii 1.0\nelement vertex {len(rows)}\n{head}end_header\n{body}"
        )


def modelnet40(folder: Path) -> None:
    """Made-up shapes under ModelNet40's names, enough of each for few-shot episodes."""
    from pointadapt.data.sets.modelnet40 import CLASSES as NAMES

    folder.mkdir(parents=True)
    for split, each in (("train", 4), ("test", 4)):
        rng, many = np.random.default_rng(each), each * 3
        np.savez(
            folder / f"{split}.npz", points=rng.uniform(-1, 1, (many, 96, 3)).astype(np.float16),
            label=np.repeat(np.arange(3), each).astype(np.uint8),
            id=np.array([f"{split}_{k}" for k in range(many)]), class_names=np.array(NAMES),
        )  # fmt: skip


def shapenetpart(folder: Path) -> None:
    """A look-alike of ShapeNetPart's tree."""
    tree = runpy.run_path(str(DATA / "shapenetpart" / "make.py"))["write_tree"](folder.parent)
    shutil.move(tree, folder)


FILES: dict[str, Callable[[Path], None]] = {
    "scans": scans, "new_scan.ply": new_scan, "incoming": incoming, "labels.csv": labels,
    "survey": survey,     "city": city, "city.laz": new_city, "labelled-objects": labelled_objects,
    "data/modelnet40": modelnet40, "data/shapenetpart": shapenetpart,
}  # fmt: skip


def make(root: Path, text: str) -> None:
    """Write the files of :data:`FILES` that ``text`` names under ``root``."""
    for name, write in FILES.items():
        if name in text and not (root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            write(root / name)


if __name__ == "__main__":
    make(Path(sys.argv[1]), " ".join(FILES))
