"""Commands that are given damaged input: what they are run on, and what they may say.

Each is run as a user does, through ``pointadapt.cli.main.main``, in a folder of its own with a
backbone, two adapters, a folder of clouds, scenes, a fine-tuned file and result files.
"""

from __future__ import annotations

import io
import shutil
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import torch

from _damage import Draw, change_checkpoint, change_json, change_safetensors, damaged
from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.cli.main import main
from pointadapt.core.errors import PointAdaptError
from pointadapt.core.files import write_json
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

BACKBONE = "--backbone backbone"
CLOUDS = "--data folder --root clouds"
SCENES = "--data folder_segmentation --root scenes --data-options block=6 least=20 label=label"
# name -> (its words, what of its input is damaged)
COMMANDS = {
    "score-scenes": (
        f"score-scenes --adapter labeller {BACKBONE} {SCENES} --out scores.json",
        "scenes/*/* labeller/*",
    ),
    "probe": (f"probe backbone {CLOUDS} --points 32", "clouds/*/*/* backbone/*"),
    "fold": (f"fold adapter {BACKBONE} --out folded", "adapter/* backbone/*"),
    "convert": ("convert tuned.pth --out converted --heads 2 --groups 8 --group-size 8",
                "tuned.pth"),
    "data verify": ("data verify folder clouds", "clouds/*/*/*"),
    "data show": ("data show folder clouds --out sheets", "clouds/*/*/*"),
    "evaluate": (f"evaluate --adapter adapter {BACKBONE} {CLOUDS}", "clouds/*/*/* adapter/*"),
    "predict": (
        f"predict scenes/test/a.txt --adapter labeller {BACKBONE} --block 6 --out out.txt",
        "scenes/test/a.txt labeller/*",
    ),
    "pool": ("pool one.json two.json", "*.json"),
    "train": (
        f"train {CLOUDS} {BACKBONE} --points 32 --batch-size 4 --threads 1 --epochs 1 "
        "--no-tensorboard --no-summary --out run",
        "clouds/*/*/* backbone/*",
    ),
}  # fmt: skip


def make_places(root: Path, checkpoint: Path) -> None:
    """A folder for each command in ``root``, all alike but for the file ``words``."""
    names = list(COMMANDS)
    first = root / names[0]
    make_place(first, checkpoint)
    for name in names:
        if name != names[0]:
            shutil.copytree(first, root / name)
        (root / name / "words").write_text(COMMANDS[name][0])


def make_place(folder: Path, checkpoint: Path) -> None:
    """What all commands need, beside the ``backbone`` in ``folder``, and a released file."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, width in (("flat", (1, 1, 0.1)), ("long", (9, 1, 1))):
            (folder / "clouds" / split / name).mkdir(parents=True)
            for k in range(3):
                points = rng.uniform(-1, 1, (40, 3)) * width
                np.savetxt(folder / "clouds" / split / name / f"{k}.xyz", points, "%.4f")
        (folder / "scenes" / split).mkdir(parents=True)
        scene = np.column_stack([rng.uniform(0, 20, (800, 3)), rng.integers(0, 2, 800)])
        head = {"header": "x y z label", "comments": ""}
        np.savetxt(folder / "scenes" / split / "a.txt", scene, "%.3f", **head)
    shutil.copy(checkpoint, folder / "tuned.pth")
    save(folder, "adapter", "classification", "dapt", ("flat", "long"), ())
    save(
        folder, "labeller", "scene_segmentation", "linear_probe", ("scene",), ("class 0", "class 1")
    )
    for name in ("one.json", "two.json"):
        write_json(folder / name, {"confusion": {"a": [5, 1], "b": [2, 6]}, "count": 1})


def save(
    folder: Path, name: str, task: str, method: str, classes: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:  # fmt: skip
    net = load_backbone(folder / "backbone")
    adapter = Adapter(net, make_method(method), make_task(task), list(classes), parts=list(parts))
    data = "folder" if task == "classification" else "folder_segmentation"
    adapter_folder.save_adapter(PointModel(net, adapter), folder / name, dataset=data, points=32,
                     backbone=str(folder / "backbone"), results={"accuracy": 50.0})  # fmt: skip


def change_command(folder: Path, draw: Draw) -> str:
    """Damage one file that the command in ``folder`` reads."""
    words = (folder / "words").read_text()
    patterns = next(patterns for known, patterns in COMMANDS.values() if known == words)
    files = [p for pattern in patterns.split() for p in sorted(folder.glob(pattern))]
    path = draw.choice([p for p in files if p.is_file()])
    return f"{path.relative_to(folder)}: {change_file(path, draw)}"


def change_file(path: Path, draw: Draw) -> str:
    changes = {".json": change_json, ".safetensors": change_safetensors, ".pth": change_checkpoint}
    if path.suffix in changes:
        return changes[path.suffix](path, draw)
    raw, what = damaged(path.read_bytes(), draw)
    path.write_bytes(raw)
    return what


def command(folder: Path) -> None:
    """Run the command; a refusal is raised with what it said.

    Raises:
        PointAdaptError: it was refused, with one line.
        RuntimeError: it said something else.
    """
    torch.set_num_threads(1)
    with redirect_stderr(io.StringIO()) as said:
        status = main((folder / "words").read_text().split())
    lines = [line for line in said.getvalue().splitlines() if "pointadapt: note:" not in line]
    if status == 0:
        return
    if status == 2 and len(lines) == 1 and lines[0].startswith("pointadapt: error: "):
        raise PointAdaptError(lines[0])
    raise RuntimeError(f"status {status}, said: {said.getvalue()[-1000:]}")
