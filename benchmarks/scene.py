"""A LAS scene of millions of points, labelled by the real command under a bound on memory.

    python benchmarks/scene.py [--points 20000000] [--json benchmarks/results/scene.json]

Makes a scene in chunks (ground, buildings, trees; UTM coordinates, colours, GPS time, extra bytes,
a record before and one after the points), trains a head on `tiny` with two small scenes of the same
kind (or takes ``--adapter``), and runs ``pointadapt predict`` in a process of its own whose address
space ends at ``--limit`` GiB. Then two readers compare the copy with the scene: laspy, and one that
only knows where the LAS 1.4 specification puts the points, and compares every byte but the
classification's. Last, the labels are compared with the truth.

Peak memory is what the kernel says of that process (``ru_maxrss``): resident, mapped libraries and
file pages included. CUDA reserves far more address space than it uses: there, ``--limit 0``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import laspy
import numpy as np

CHUNK = 500_000
DENSITY = 20.0  # points a square metre, as airborne scans of cities have
PLOT = 25.0  # metres from one house or tree to the next
CORNER = np.array([691_000.0, 5_334_000.0, 500.0])
CLASSES = {2: "ground", 5: "high vegetation", 6: "building"}
COLOURS = {2: (30_000, 33_000, 22_000), 5: (9_000, 30_000, 8_000), 6: (45_000, 28_000, 25_000)}
GIB = 2**30


def surface(xy: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Height above the datum (n,) of points (n, 2), and their class (n,)."""
    ground = 4 * np.sin(xy[:, 0] / 90) + 3 * np.cos(xy[:, 1] / 70)
    plot = np.floor(xy / PLOT)
    within = xy - (plot + 0.5) * PLOT
    what = np.abs(np.sin(plot[:, 0] * 12.9898 + plot[:, 1] * 78.233) * 43758.5453) % 1
    height, label = ground + rng.normal(0, 0.03, len(xy)), np.full(len(xy), 2, np.uint8)
    house = (what < 0.45) & (np.abs(within) < [8, 6]).all(axis=1)
    roof = 5 + 6 * what + 0.5 * (6 - np.abs(within[:, 1]))
    wall = house & ((np.abs(within) > [7.7, 5.7]).any(axis=1))
    height += np.where(house, np.where(wall, rng.random(len(xy)) * roof, roof), 0)
    label[house] = 6
    away = np.linalg.norm(within, axis=1)
    tree = (what > 0.5) & (away < 5) & (rng.random(len(xy)) < 0.8)
    crown = 3 + rng.random(len(xy)) * (4 + np.sqrt(np.maximum(25 - away**2, 0)))
    height += np.where(tree, crown, 0)
    label[tree] = 5
    return height, label


def pieces(points: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.random.Generator]]:
    """The scene in the order of a flight, strip after strip: (m, 3) coordinates, (m,) classes."""
    side = (points / DENSITY) ** 0.5
    for start in range(0, points, CHUNK):
        count = min(CHUNK, points - start)
        rng = np.random.default_rng((seed, start))
        xy = rng.random((count, 2)) * [side * count / points, side] + [side * start / points, 0]
        height, label = surface(xy + seed * 1000, rng)
        yield np.column_stack([xy, height]) + CORNER, label, rng


def make_scene(path: Path, points: int, seed: int = 0, labelled: bool = False) -> None:
    """Write a LAS 1.4 file; without its classes it is all unclassified (1)."""
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.offsets, header.scales = CORNER, [0.001] * 3
    header.add_extra_dims(
        [laspy.ExtraBytesParams("amplitude", "<f4"), laspy.ExtraBytesParams("deviation", "<u2")]
    )
    header.vlrs.append(laspy.VLR("pointadapt", 1, "a record", bytes(range(200))))
    done = 0
    with laspy.open(path, mode="w", header=header) as writer:
        for xyz, label, rng in pieces(points, seed):
            part = laspy.ScaleAwarePointRecord.zeros(len(xyz), header=header)
            part.x, part.y, part.z = xyz.T
            for name, value in zip(("red", "green", "blue"), _colours(label, rng).T, strict=True):
                part[name] = value
            part["gps_time"] = 3e8 + (done + np.arange(len(xyz))) / 5e5
            part["amplitude"], part["deviation"] = rng.random((2, len(xyz))) * 1000
            part["intensity"] = rng.integers(0, 65536, len(xyz))
            part["return_number"] = part["number_of_returns"] = np.ones(len(xyz), np.uint8)
            part["classification"] = label if labelled else np.ones_like(label)
            writer.write_points(part)
            done += len(xyz)
        writer.write_evlrs(laspy.vlrs.vlrlist.VLRList([laspy.VLR("pointadapt", 2, "", b"e" * 99)]))


def _colours(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    table = np.zeros((7, 3))
    for code, colour in COLOURS.items():
        table[code] = colour
    return np.clip(table[label] + rng.normal(0, 5000, (len(label), 3)), 0, 65535).astype(np.uint16)


def train(folder: Path, flags: list[str]) -> Path:
    """A head on the frozen `tiny`, from two small scenes; returns the adapter."""
    for name, seed in (("train/a", 1), ("train/b", 2), ("test/c", 3)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make_scene(folder / f"{name}.las", 200_000, seed, labelled=True)
    command = [
        "train", "--task", "scene_segmentation", "--data", "folder_segmentation",
        "--root", str(folder), "--backbone", "tiny", "--method", "linear_probe",
        "--out", str(folder / "run"), "--no-summary", "--no-tensorboard", *flags,
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "pointadapt", *command], check=True)
    return folder / "run" / "adapter"


def about(adapter: Path) -> dict[str, Any]:
    """What the model is: its sizes and where it came from."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    backbone = {key: config["backbone"][key] for key in ("name", "family", "groups", "group_size")}
    parameters = config["results"].get("total_parameters")
    return {
        "adapter": str(adapter), "method": config["method"], "points": config["points"],
        "features": config["features"], "backbone": backbone, "parameters": parameters,
    }  # fmt: skip


def label(scene: Path, out: Path, adapter: Path, limit: float, flags: list[str]) -> dict[str, Any]:
    """Run the command; what it says, and what the kernel says of its memory."""
    command = [sys.executable, "-m", "pointadapt", "predict", str(scene), "--adapter",
               str(adapter), "--out", str(out), "--json", *flags]  # fmt: skip
    bound = ["sh", "-c", 'ulimit -v "$0" && exec "$@"', str(int(limit * GIB / 1024))]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen([*(bound if limit else []), *command], stdout=said)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        if child.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
        said.seek(0)
        (row,) = json.load(said)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    labels = row["labels"]
    return {
        "wall_s": seconds,
        "processor_s": used.ru_utime + used.ru_stime,
        "points_per_s": labels["points"] / seconds,
        "peak_rss_bytes": peak,
        "peak_rss_gib": peak / GIB,
        "address_space_limit_gib": limit or None,
        **{key: labels[key] for key in ("points", "tiles", "samples", "confidence", "counts")},
        "command": " ".join(["pointadapt", *command[3:]]),
    }


def same_by_laspy(old: Path, new: Path) -> int:
    """Compare all dimensions and records but the classification; how many labels changed."""
    changed = 0
    with laspy.open(old) as a, laspy.open(new) as b:
        assert a.header.point_format == b.header.point_format
        for key in ("scales", "offsets", "mins", "maxs", "number_of_points_by_return"):
            assert (getattr(a.header, key) == getattr(b.header, key)).all(), key
        for x, y in ((a.header.vlrs, b.header.vlrs), (a.header.evlrs, b.header.evlrs)):
            assert [v.record_data_bytes() for v in x] == [v.record_data_bytes() for v in y]
        names = list(a.header.point_format.dimension_names)
        for x, y in zip(a.chunk_iterator(CHUNK), b.chunk_iterator(CHUNK), strict=True):
            for name in names:
                differ = int((np.asarray(x[name]) != np.asarray(y[name])).sum())
                assert name == "classification" or not differ, name
                changed += differ
    return changed


def same_by_bytes(old: Path, new: Path) -> tuple[int, int]:
    """Compare the files byte by byte; (bytes that differ, all of them classifications; bytes)."""
    a, b = (np.memmap(path, np.uint8, "r") for path in (old, new))
    assert len(a) == len(b)
    start, width = int(a[96:100].view("<u4")[0]), int(a[105:107].view("<u2")[0])
    count, form = int(a[247:255].view("<u8")[0]), int(a[104])
    assert form == 7, "point data record format 7: the classification is its byte 16"
    end, differ = start + count * width, 0
    assert (a[:start] == b[:start]).all() and (a[end:] == b[end:]).all()
    for first in range(0, count, CHUNK):
        rows = slice(start + first * width, start + min(first + CHUNK, count) * width)
        apart = (a[rows] != b[rows]).reshape(-1, width)
        differ += int(apart[:, 16].sum())
        apart[:, 16] = False
        assert not apart.any()
    return differ, len(a)


def against_truth(new: Path, points: int) -> dict[str, Any]:
    """Overall accuracy and mean IoU of the copy's labels, in percent."""
    matrix = np.zeros((256, 256), np.int64)
    with laspy.open(new) as reader:
        parts = zip(pieces(points, 0), reader.chunk_iterator(CHUNK), strict=True)
        for (_, truth, _), part in parts:
            found = np.asarray(part["classification"]).astype(np.int64)
            matrix += np.bincount(truth.astype(np.int64) * 256 + found, minlength=65536).reshape(
                256, 256
            )
    hit = matrix.diagonal()
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - hit
    iou = {name: 100 * float(hit[code] / union[code]) for code, name in CLASSES.items()}
    return {
        "accuracy": 100 * float(hit.sum() / matrix.sum()),
        "miou": sum(iou.values()) / len(iou),
        "iou": iou,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20_000_000)
    parser.add_argument("--limit", type=float, default=4.0, help="GiB of address space; 0: none")
    parser.add_argument("--adapter", type=Path, help="of a scene segmentation; none trains one")
    parser.add_argument("--folder", type=Path, help="where the files go, and stay")
    parser.add_argument("--train", default="--points 4096 --groups 64 --epochs 4 --batch-size 8 "
                        "--data-options block=20 blocks=160 test_blocks=40")  # fmt: skip
    parser.add_argument("--predict", default="--overlap 0.25", help="flags of predict")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        scene, out = folder / "scene.las", folder / "labelled.las"
        make_scene(scene, args.points)
        adapter = args.adapter or train(folder / "training", args.train.split())
        result = label(scene, out, adapter, args.limit, args.predict.split())
        result["labels_changed_by_laspy"] = same_by_laspy(scene, out)
        result["bytes_changed"], result["bytes"] = same_by_bytes(scene, out)
        assert result["bytes_changed"] == result["labels_changed_by_laspy"]
        result |= against_truth(out, args.points)
    assert result["peak_rss_gib"] < 4, "the bound of the project: 4 GiB"
    print(json.dumps(result, indent=1))
    if args.json is not None:  # imported late: the child's peak may start at ours
        from _measure import commit
        from pointadapt.core.machine import describe_machine

        record = {
            "command": " ".join(["python", *sys.argv]), "commit": commit(),
            "machine": describe_machine(),
            "settings": {"train": None if args.adapter else args.train, **about(adapter)},
            "results": [result],
        }  # fmt: skip
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
