"""What benchmarks/kills.py kills: commands at toy size, how each goes on, and what it must give."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

CLASSES = ("ball", "bar", "helix", "plate")
# What no two runs have in common, by the keys of JSON files.
VARY = re.compile(r"seconds|memory|machine|^timing$|^date$|^inference_|^command$|^resume$")


@dataclass(frozen=True)
class Situation:
    """A command that may be killed.

    Attributes:
        name: how the table calls it.
        words: gives the words after ``pointadapt`` for the folder of a run.
        resumes: it goes on with ``--resume`` once it has a checkpoint, else by the same command.
        saves: SIGTERM makes it save, so it is also stopped that way.
        long: it starts several processes, so its turn comes every third time.
        env: gives environment variables for the folder of a run.
    """

    name: str
    words: Callable[[Path], list[str]]
    resumes: bool = False
    saves: bool = False
    long: bool = False
    env: Callable[[Path], dict[str, str]] = lambda out: {}

    def command(self, out: Path, again: bool = False) -> list[str]:
        resume = again and self.resumes and (out / "run/checkpoint.pt").exists()
        more = ["--resume"] if resume else []
        return [sys.executable, "-m", "pointadapt", *self.words(out), *more]


def situations(place: Path, server: str) -> list[Situation]:
    """All of them, with what they need in ``place``."""
    backbone, data = make_backbone(place / "backbone"), make_clouds(place / "clouds")
    common = ["--root", str(data), "--points", "64", "--batch-size", "4", "--threads", "1"]
    common += ["--backbone", str(backbone), "--no-tensorboard"]

    def run(out: Path) -> list[str]:
        return ["--out", str(out / "run")]

    def train(*more: str) -> Callable[[Path], list[str]]:
        flags = ["--data", "folder", *common, "--options", "rank=4", "dropout=0.2", *more]
        return lambda out: ["train", *flags, *run(out)]

    def study(command: str, *more: str) -> Callable[[Path], list[str]]:
        flags = ["--data", "folder", *common, "--epochs", "4", *more]
        return lambda out: [command, *flags, *run(out)]

    def cached(out: Path) -> list[str]:
        return [*train("--epochs", "10", "--data-options")(out)[:-2], f"cache={out / 'kept'}",
                *run(out)]  # fmt: skip

    pretrain = ["pretrain", "--data", "folder", "--root", str(data), "--init", str(backbone),
                "--points", "64", "--batch-size", "8", "--steps", "60", "--save-every", "15",
                "--decoder-depth", "1", "--picture-every", "0", "--threads", "1"]  # fmt: skip
    probe = ["--method", "linear_probe"]
    scene = make_scene(place / "scene.npy")
    labeller = scene_adapter(place, backbone, scene)
    predict = ["predict", str(scene), "--adapter", str(labeller)]
    folds = ("--way", "2", "--shot", "4", "--queries", "2", "--folds", "2", "--jobs", "2")
    tuned = ("--methods", "linear_probe", "--lrs", "1e-2", "2e-3", "--tune-epochs", "1")
    val = ("--epochs", "8", "--select", "val", "--precision", "bf16")
    alone, many = {"resumes": True, "saves": True}, {"saves": True, "long": True}
    return [
        Situation("train", train("--epochs", "10", "--data-options", "cache=no"), **alone),
        Situation("train with a cache", cached, **alone),
        Situation("train, best of val", train(*val), **alone),
        Situation("pretrain", lambda out: [*pretrain, *run(out)], **alone),
        Situation("few-shot", study("few-shot", *folds, *probe), **many),
        Situation("compare", study("compare", *tuned), **many),
        Situation(
            "cross-validate",
            study("cross-validate", "--folds", "2", "--jobs", "1", "--final", *probe), **many,
        ),
        Situation("scene", lambda out: [*predict, "--out", str(out / "run/labelled.npy")]),
        Situation(
            "fetch", lambda out: ["fetch", f"{server}/weights.pth"],
            env=lambda out: {"POINTADAPT_CACHE": str(out / "run")},
        ),
    ]  # fmt: skip


def make_clouds(folder: Path, train: int = 10, test: int = 4) -> Path:
    """A folder of four classes, in text files, which a cache keeps from being read again."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for k in range(count):
                t = rng.uniform(-1, 1, (64, 3))
                points = {
                    "ball": t / np.linalg.norm(t, axis=1, keepdims=True),
                    "bar": t * (0.05, 0.05, 1.0),
                    "plate": t * (1.0, 1.0, 0.05),
                    "helix": np.stack([np.cos(9 * t[:, 0]), np.sin(9 * t[:, 0]), t[:, 0]], axis=1),
                }[name]
                np.savetxt(folder / split / name / f"{k}.xyz", points * rng.uniform(0.5, 2), "%.5f")
    return folder


def make_backbone(folder: Path) -> Path:
    """A backbone of random weights, 48 wide."""
    from pointadapt.backbones.folder import save_backbone
    from pointadapt.backbones.point_vit import PointViT, PointViTConfig

    torch.manual_seed(0)
    config = PointViTConfig(
        dim=48, depth=2, heads=2, groups=8, group_size=8, encoder_widths=(16, 32, 32),
        sampling_rule="plain",
    )  # fmt: skip
    return save_backbone(PointViT(config).seal(), folder)


def make_scene(path: Path, points: int = 60_000) -> Path:
    """Ground and walls, 80 m wide, with labels in the fourth column."""
    rng = np.random.default_rng(1)
    xyz = rng.random((points, 3)) * (80, 80, 0.2)
    wall = rng.random(points) < 0.3
    xyz[wall] = np.stack([8 * np.round(xyz[wall, 0] / 8), xyz[wall, 1], 15 * xyz[wall, 2]], axis=1)
    np.save(path, np.column_stack([xyz, wall]).astype(np.float32))
    return path


def scene_adapter(place: Path, backbone: Path, scene: Path) -> Path:
    """A model that labels such scenes."""
    from pointadapt.cli.main import main

    words = (
        "train --task scene_segmentation --task-options width=16 hidden=16,16 --epochs 1 "
        "--data folder_segmentation --data-options block=6 label=3 least=50 --points 128 "
        "--method linear_probe --threads 1 --no-tensorboard --no-summary"
    )
    flags = [*words.split(), "--root", str(scene), "--backbone", str(backbone)]
    flags += ["--out", str(place / "labeller")]
    if not (place / "labeller/results.json").exists() and main(flags):
        raise SystemExit("the scene's adapter could not be trained")
    return place / "labeller/adapter"


@contextmanager
def published(place: Path) -> Iterator[str]:
    """The address of a server on loopback that gives a published file, slowly.

    It is the same in the same ``place``: what is fetched is called by it.
    """
    import io

    from pointadapt.backbones.point_vit import PointViT, PointViTConfig

    torch.manual_seed(0)
    config = PointViTConfig(dim=384, depth=1, heads=6, groups=8, group_size=8)
    state = {f"module.MAE_encoder.{k}": v for k, v in PointViT(config).state_dict().items()
             if not k.startswith("cls_")}  # fmt: skip
    file = io.BytesIO()
    torch.save({"base_model": state}, file)
    content, pieces = file.getvalue(), 40

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            start = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                whole = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", whole)
            self.end_headers()
            step = len(content) // pieces + 1
            try:
                for at in range(start, len(content), step):
                    self.wfile.write(content[at : at + step])
                    sleep(0.03)
            except OSError:  # the client was killed
                pass

    note = place / "port"
    port = int(note.read_text()) if note.exists() else 0
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    note.write_text(str(server.server_address[1]))
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def outcome(out: Path) -> dict[str, Any]:
    """Everything that a run leaves and that must be the same each time: file name to content.

    Tensors as they are; of JSON files what does not tell the time, the machine or the folder; the
    names alone of pictures, checkpoints and what workers print.
    """
    return {
        path.relative_to(out).as_posix(): content(path, out)
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.parent.name != "locks"  # fetch's locks stay, and are free
    }


def content(path: Path, out: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".json" and path.parent.name != "kept":
        return plain(json.loads(path.read_text()), str(out))
    if path.suffix == ".jsonl":
        return [plain(json.loads(line), str(out)) for line in path.read_text().splitlines()]
    if path.suffix in (".npy", ".csv") and path.name != "board.csv":
        return path.read_bytes()
    return None


def plain(value: Any, out: str) -> Any:
    if isinstance(value, dict):
        return {k: plain(v, out) for k, v in value.items() if not VARY.search(k)}
    if isinstance(value, list):
        return [plain(v, out) for v in value]
    return value.replace(out, "OUT") if isinstance(value, str) else value


def differences(want: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """The files that differ, are missing, or are left over."""
    names = sorted(want.keys() | got.keys())
    wrong = [f"missing: {name}" for name in names if name not in got]
    wrong += [f"left over: {name}" for name in names if name not in want]
    both = [name for name in names if name in want and name in got]
    return wrong + [f"differs: {name}" for name in both if not same(want[name], got[name])]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and a and all(isinstance(v, torch.Tensor) for v in a.values()):
        return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    return a == b
