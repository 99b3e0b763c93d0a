"""Damaged and hostile adapters, backbones, checkpoints, configurations, and what is said of them.

    python benchmarks/fuzz_configs.py [--cases 480] [--seed 0] [--only adapter ...]

Each case changes one thing of a valid input, drawn by the seed, and reads it in a process of its
own. It may be accepted, or refused with one line. Counted are tracebacks, hangs (above 10 s of a
processor), growth of memory by more than 1 GiB beyond the input's own size, and files that a
refusal leaves. The record names every case that did one of these; with any, the status is 1.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

import _commands
import _hostile
from _damage import (
    Draw,
    change_checkpoint,
    change_json,
    change_safetensors,
    change_tensors,
    change_yaml,
    damaged,
)
from _measure import TOY, parser, report, start
from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.convert import convert
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.adapters.protocol import Protocol, training_config
from pointadapt.backbones.folder import save_backbone
from pointadapt.backbones.point_vit import PointViT, PointViTConfig
from pointadapt.cli.main import parse
from pointadapt.core.config import (
    FewShotConfig,
    PretrainConfig,
    Published,
    TrainConfig,
    key_values,
    load_config,
    to_plain,
)
from pointadapt.methods import METHODS, make_method
from pointadapt.ops import cloud_traits
from pointadapt.pretrained.load import load_backbone
from pointadapt.studies.compare.entries import make_entries
from pointadapt.tasks import make_task
from pointadapt.training.trainer import train

POINTS = 64


# Valid inputs -----------------------------------------------------------------------------------


def micro() -> PointViT:
    config = PointViTConfig(
        dim=24, depth=2, heads=2, groups=8, group_size=8, encoder_widths=(8, 16, 16),
        sampling_rule="plain",
    )  # fmt: skip
    torch.manual_seed(0)
    net: Any = PointViT(config).seal()
    return net


def make_bases(root: Path) -> None:
    """The valid inputs that cases change, a folder each."""
    save_backbone(micro(), root / "backbone")
    save_backbone(micro(), root / "sharded", largest=20_000)
    names = [*METHODS, "peft:lora"] if _has_peft() else list(METHODS)
    for name in names:
        make_adapter(root, name)
    make_checkpoints(root / "checkpoint")
    make_run(root / "run")
    make_yaml(root / "yaml")
    save_backbone(micro(), root / "command" / next(iter(_commands.COMMANDS)) / "backbone")
    _commands.make_places(root / "command", root / "checkpoint/tuned.pth")


def _has_peft() -> bool:
    try:
        make_method("peft:lora")
    except ValueError:
        return False
    return True


def make_adapter(root: Path, method: str) -> None:
    net = load_backbone(root / "backbone")
    task = make_task("classification")
    model = PointModel(net, Adapter(net, make_method(method), task, ["chair", "table"]))
    results = {"accuracy": 91.5, "config": to_plain(TrainConfig()), "protocol": {"seed": 0}}
    folder = root / "adapter" / method.replace(":", "_")
    adapter_folder.save_adapter(
        model, folder, backbone=str(root / "backbone"), points=POINTS, results=results,
        dataset="folder",
    )  # fmt: skip


def make_checkpoints(folder: Path) -> None:
    """Files as the released code writes them: pre-trained, and fine-tuned with a head."""
    folder.mkdir()
    state = micro().state_dict()
    names = {
        "encoder.linear1.": "encoder.first_conv.0.", "encoder.norm1.": "encoder.first_conv.1.",
        "encoder.linear2.": "encoder.first_conv.3.", "encoder.linear3.": "encoder.second_conv.0.",
        "encoder.norm2.": "encoder.second_conv.1.", "encoder.linear4.": "encoder.second_conv.3.",
        "blocks.": "blocks.blocks.",
    }  # fmt: skip

    def official(key: str) -> str:
        old = next((old for old in names if key.startswith(old)), "")
        return names.get(old, "") + key[len(old) :]

    tensors = {official(key): value for key, value in state.items()}
    head = {
        "cls_head_finetune.0.weight": torch.randn(5, 48),
        "cls_head_finetune.0.bias": torch.ones(5),
    }
    pretrained = {f"module.MAE_encoder.{k}": v for k, v in tensors.items() if "cls" not in k}
    torch.save({"base_model": pretrained, "epoch": 3}, folder / "pretrained.pth")
    torch.save({"base_model": tensors | head}, folder / "tuned.pth")
    torch.save({"base_model": pretrained}, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(tensors | head, folder / "tuned.safetensors")


def run_config(folder: Path) -> TrainConfig:
    """A run of an epoch on a few clouds, in ``folder``."""
    return TrainConfig(
        out=folder, data="shapes", data_options=("size=32", "test_size=8"), epochs=1, points=POINTS,
        backbone=str(folder / "backbone"), batch_size=8, tensorboard=False, threads=1,
    )  # fmt: skip


def make_run(folder: Path) -> None:
    """A finished run, made in a process of its own: torch's threads must not be forked."""
    save_backbone(micro(), folder / "backbone")
    done = _hostile.run(lambda: train(run_config(folder)), folder)
    if done.kind != "accepted":
        raise SystemExit(f"no run to start from: {done.text}")


def make_yaml(folder: Path) -> None:
    folder.mkdir()
    for name, config in (("train", TrainConfig()), ("few", FewShotConfig()),
                         ("pretrain", PretrainConfig())):  # fmt: skip
        values = {k: v for k, v in to_plain(config).items() if v is not None}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    board = {"A": {"method": "dapt", "rank": 4, "lr": 1e-3}, "B": {"method": "lora"}}
    (folder / "board.yaml").write_text(yaml.safe_dump(board))


# What is done with an input ---------------------------------------------------------------------


def read_adapter(folder: Path) -> None:
    config = adapter_folder.read_adapter_config(folder)
    training_config(config)
    Protocol.of(folder, data="shapes")
    model, clouds = adapter_folder.load(folder), torch.rand(2, POINTS, 3)
    model(clouds, traits=cloud_traits(clouds) if model.adapter.head.takes_traits else None)


def read_backbone(folder: Path) -> None:
    load_backbone(folder)(torch.rand(2, POINTS, 3))


def read_checkpoint(folder: Path) -> None:
    path = next(folder.iterdir(), folder / "gone.pth")
    convert(path, folder / "out", Published(heads=2, groups=8, group_size=8, points=POINTS))


def resume_run(folder: Path) -> None:
    config: TrainConfig = load_config(folder / "config.yaml", TrainConfig)
    train(replace(config, resume=True, out=folder))


def read_yaml(folder: Path) -> None:
    path = next(folder.iterdir())
    if path.stem == "board":
        make_entries((), (), path, TrainConfig())
        return
    cls: Any = {"train": TrainConfig, "few": FewShotConfig, "pretrain": PretrainConfig}[path.stem]
    config = load_config(path, cls)
    if path.stem != "pretrain":
        make_method(config.method, key_values(config.options))
        make_task(config.task, key_values(config.task_options))
    if path.stem == "train":
        parse(["train", "--config", str(path)])


# Cases ------------------------------------------------------------------------------------------


def change_adapter(folder: Path, draw: Draw) -> str:
    if draw.random() < 0.75:
        return change_json(folder / adapter_folder.CONFIG, draw)
    return change_safetensors(folder / adapter_folder.WEIGHTS, draw)


def change_run(folder: Path, draw: Draw) -> str:
    path = folder / "checkpoint.pt"
    if draw.random() < 0.2:
        raw, what = damaged(path.read_bytes(), draw)
        path.write_bytes(raw)
        return f"{path.name}: {what}"
    state = torch.load(path, weights_only=True)
    part = draw.choice(list(state))
    if isinstance(state[part], dict) and draw.random() < 0.5:
        state[part] = {} if part != "adapter" else change_tensors(state[part], draw)[0]
    elif draw.random() < 0.2:
        del state[part]
    else:
        others = (None, 3, "x", "[1]", "{}", "null", [], {}, {"a": 1}, 2**70, 1e308)
        state[part] = draw.choice(others)
    torch.save(state, path)
    return f"{path.name}: {part} is {str(state.get(part, 'gone'))[:40]}"


def change_backbone(folder: Path, draw: Draw) -> str:
    if draw.random() < 0.6:
        return change_json(draw.choice(sorted(folder.glob("*.json"))), draw)
    return change_safetensors(draw.choice(sorted(folder.glob("*.safetensors"))), draw)


# kind -> (the valid inputs, what is changed, what is done)
KINDS: dict[str, tuple[str, Callable[[Path, Draw], str], Callable[[Path], None]]] = {
    "adapter": ("adapter/*", change_adapter, read_adapter),
    "backbone": ("backbone", change_backbone, read_backbone),
    "sharded": ("sharded", change_backbone, read_backbone),
    "checkpoint": ("checkpoint/*", change_checkpoint, read_checkpoint),
    "run": ("run", change_run, resume_run),
    "yaml": ("yaml/*", change_yaml, read_yaml),
    "command": ("command/*", _commands.change_command, _commands.command),
}


def case(kind: str, number: int, seed: int, bases: Path, work: Path) -> dict[str, Any]:
    """One case, told for the record."""
    pattern, change, action = KINDS[kind]
    draw = random.Random(f"{kind} {number} {seed}")
    base = draw.choice(sorted(bases.glob(pattern)))
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    if base.is_dir():
        shutil.copytree(base, folder)
        what = f"{base.name}, {change(folder, draw)}"
    else:
        folder.mkdir()
        what = change(Path(shutil.copy(base, folder)), draw)
    outcome = _hostile.run(lambda: action(folder), folder)
    return _hostile.row(kind, f"{number}: {what}", outcome, _hostile.size_of(folder))


def check_bases(bases: Path, work: Path) -> None:
    """All valid inputs are accepted, or the cases would say nothing."""
    for kind, (pattern, _, action) in KINDS.items():
        for base in sorted(bases.glob(pattern)):
            folder = work / "valid"
            shutil.rmtree(folder, ignore_errors=True)
            if base.is_dir():
                shutil.copytree(base, folder)
            else:
                folder.mkdir()
                shutil.copy(base, folder)
            outcome = _hostile.run(lambda: action(folder), folder)  # noqa: B023 - run at once
            if outcome.kind != "accepted":
                raise SystemExit(f"{kind} {base.name} is {outcome.kind}: {outcome.text}")


def main() -> None:
    options = parser(__doc__, seconds=0)
    options.add_argument("--cases", type=int, default=480, help="over all kinds")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", nargs="*", default=list(KINDS), help="kinds of input")
    args = options.parse_args()
    args.cases = 20 if TOY else args.cases
    start(args)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        bases, work = Path(name) / "bases", Path(name) / "work"
        bases.mkdir()
        work.mkdir()
        make_bases(bases)
        check_bases(bases, work)
        each = max(1, args.cases // len(args.only))
        rows = [case(kind, i, args.seed, bases, work) for kind in args.only for i in range(each)]
    faults = [row for row in rows if row["faults"]]
    for row in faults:
        print(f"{row['kind']} {row['case']}: {', '.join(row['faults'])}\n{row['text']}\n")
    settings = {"cases": len(rows), "faults": [{k: r[k] for k in ("kind", "case", "faults", "text")}
                                               for r in faults]}  # fmt: skip
    report("fuzz_configs", "hostile configurations", _hostile.summary(rows), args, settings)
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
