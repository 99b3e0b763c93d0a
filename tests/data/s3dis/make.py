"""Write a tiny look-alike of S3DIS's raw tree: python make.py FOLDER [POINTS_PER_SQUARE_METRE].

Rooms of planes and boxes: floor, ceiling, walls, a door, a window, a board, tables, chairs, a
bookcase, clutter, and stairs, which are none of the 13 classes. One file has a control character
within a row, as the official Area_5/hallway_6/Annotations/ceiling_1.txt has. With about 2,000
points a square metre the rooms are as dense as scanned ones and can be learnt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FOLDER = "Stanford3dDataset_v1.2_Aligned_Version"
ROOMS = {
    "Area_1": ("conferenceRoom_1", "office_1"), "Area_2": ("office_1",), "Area_3": ("office_2",),
    "Area_5": ("hallway_6", "office_1"),
}  # fmt: skip
COLORS = {
    "floor": (120, 100, 80), "ceiling": (220, 220, 215), "wall": (200, 195, 180),
    "door": (130, 90, 60), "window": (150, 180, 210), "board": (240, 240, 240),
    "table": (150, 110, 70), "chair": (60, 60, 70), "bookcase": (140, 100, 60),
    "clutter": (110, 120, 110), "stairs": (90, 90, 90),
}  # fmt: skip


def box(low: tuple[float, ...], high: tuple[float, ...]) -> list[tuple[np.ndarray, ...]]:
    """The faces of a box, a corner and two edges each; flat boxes have one face."""
    corner, size = np.array(low, float), np.array(high, float) - np.array(low, float)
    edges = [np.eye(3)[k] * size[k] for k in range(3)]
    faces = []
    for k in range(3):
        a, b = edges[(k + 1) % 3], edges[(k + 2) % 3]
        if np.linalg.norm(np.cross(a, b)) > 0:
            faces += [(corner, a, b)] + ([(corner + edges[k], a, b)] if size[k] else [])
    return faces


def objects(rng: np.random.Generator) -> dict[str, list[tuple[np.ndarray, ...]]]:
    """Name of each object's file -> its faces."""
    w, d, h = [*rng.uniform(2.5, 5, 2).tolist(), 2.8]
    x, y = rng.uniform(0.3, 0.5) * w, rng.uniform(0.3, 0.5) * d
    made = {
        "floor_1": box((0, 0, 0), (w, d, 0)), "ceiling_1": box((0, 0, h), (w, d, h)),
        "wall_1": box((0, 0, 0), (0, d, h)), "wall_2": box((w, 0, 0), (w, d, h)),
        "wall_3": box((0, 0, 0), (w, 0, h)), "wall_4": box((0, d, 0), (w, d, h)),
        "door_1": box((0.05, 0.2, 0), (0.05, 1.1, 2.0)),
        "window_1": box((w - 0.05, 0.5, 1.0), (w - 0.05, d - 0.5, 2.2)),
        "board_1": box((0.6, d - 0.05, 1.0), (w - 0.6, d - 0.05, 2.0)),
        "bookcase_1": box((w - 1.2, 0.05, 0), (w - 0.3, 0.4, 1.9)),
        "table_1": box((x, y, 0.7), (x + 1.2, y + 0.7, 0.75))
        + box((x, y, 0), (x + 0.08, y + 0.08, 0.7)),
        "clutter_1": box((x + 0.2, y + 0.2, 0.75), (x + 0.5, y + 0.5, 1.0)),
        "stairs_1": box((0.3, d - 0.8, 0), (0.6, d - 0.5, 0.3)),
    }  # fmt: skip
    for k in range(2):
        cx, cy = x + 0.7 * k, y - 0.6
        seat = box((cx, cy, 0.42), (cx + 0.4, cy + 0.4, 0.46))
        made[f"chair_{k + 1}"] = seat + box((cx, cy, 0.46), (cx + 0.4, cy + 0.04, 0.9))
    return made


def sample(faces: list[tuple[np.ndarray, ...]], density: float, rng: np.random.Generator):
    """(n, 3) points on faces, about ``density`` a square metre and at least 12."""
    areas = np.array([np.linalg.norm(np.cross(a, b)) for _, a, b in faces])
    n = max(12, round(density * areas.sum()))
    pick = rng.choice(len(faces), n, p=areas / areas.sum())
    corner, a, b = (np.array([face[k] for face in faces])[pick] for k in range(3))
    u, v = rng.random((2, n, 1))
    return corner + u * a + v * b + rng.normal(0, 0.005, (n, 3))


def write_room(folder: Path, density: float, seed: int) -> None:
    """``folder``/Annotations/NAME_k.txt of one room, rows x y z r g b."""
    rng = np.random.default_rng(seed)
    (folder / "Annotations").mkdir(parents=True)
    offset = rng.uniform(-20, 20, 3)
    for name, faces in objects(rng).items():
        points = sample(faces, density, rng) + offset
        tint = np.array(COLORS[name.split("_")[0]]) + rng.normal(0, 25, 3)
        colors = np.clip(tint + rng.normal(0, 25, (len(points), 3)), 0, 255).round()
        rows = np.column_stack([points, colors])
        np.savetxt(folder / "Annotations" / f"{name}.txt", rows, fmt=["%.3f"] * 3 + ["%d"] * 3)


def write_tree(root: Path, density: float = 12, each: int = 1) -> Path:
    """Write the tree, ``each`` times as many rooms; returns its folder."""
    seed = 0
    for area, rooms in ROOMS.items():
        for k in range(each):
            for room in rooms:
                name = room if k == 0 else f"{room}{k}"
                write_room(root / FOLDER / area / name, density, seed := seed + 1)
    path = root / FOLDER / "Area_5" / "hallway_6" / "Annotations" / "ceiling_1.txt"
    lines = path.read_bytes().splitlines()
    lines[1] = lines[1].replace(b" ", b" \x10", 4).replace(b" \x10", b" ", 3)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return root / FOLDER


def make(root: Path) -> dict[str, object]:
    """Write the tree under ``root``, and return the options with which to load it."""
    return {"root": write_tree(root), "blocks": 20, "test_blocks": 12, "least": 16}


if __name__ == "__main__":
    print(write_tree(Path(sys.argv[1]), *map(float, sys.argv[2:3]), *map(int, sys.argv[3:4])))
