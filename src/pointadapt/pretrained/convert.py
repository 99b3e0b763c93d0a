"""Published checkpoints read, and their backbones written to our folders.

What a file is, is told by its keys. It is read with ``weights_only=True``: no code in it can run.
The adapter of a fine-tuned model is written by :mod:`pointadapt.adapters.convert`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..backbones import BACKBONES, Backbone
from ..backbones.base import BackboneConfig
from ..backbones.folder import fill, save_backbone
from ..backbones.published.layouts import Layout, find_layout
from ..core.config import Published
from ..core.errors import CheckpointError
from ..core.files import load_state, write_json
from ..methods.dapt import from_published as dapt_from_published


@dataclass(frozen=True)
class Opened:
    """A published file, read and told what it is.

    Attributes:
        source: the file.
        tensors: all of them, under their published names.
        kind: "pretrained", "dapt" or "full".
        layout: how its names are to be read.
        base: the backbone's tensors, under our names.
        left_over: published names that have no place.
        config: of its backbone.
        points: points of a cloud.
    """

    source: str
    tensors: dict[str, Tensor]
    kind: str
    layout: Layout
    base: dict[str, Tensor]
    left_over: list[str]
    config: BackboneConfig
    points: int

    @property
    def family(self) -> type[Backbone]:
        """Of its backbone."""
        return BACKBONES[self.layout.family]

    def report(self, net: Backbone, folder: Path | str, missing: list[str]) -> dict[str, Any]:
        """What was read, and what became of it."""
        return {
            "file": self.source,
            "kind": self.kind,
            "layout": self.layout.name,
            "tensors": len(self.tensors),
            "backbone": str(folder),
            "sha256": net.fingerprint,
            "parameters": sum(p.numel() for p in net.parameters()),
            "consumed": len(self.tensors) - len(self.left_over),
            "left_over": self.left_over,
            "missing": missing,
        }


def open_published(path: Path | str, facts: Published) -> Opened:
    """Read a published file and tell what it is.

    Raises:
        CheckpointError: it cannot be read, or is of no known layout.
    """
    tensors = read_published(path)
    layout = find_layout(tensors.keys(), str(path))
    kind, base = kind_of(tensors), layout.read(tensors)
    left_over = sorted(k for k in tensors if not _has_place(k, kind, layout))
    groups, points = _defaults(tensors, facts)
    config = layout.config(base, replace(facts, groups=groups), str(path))
    return Opened(str(path), tensors, kind, layout, base, left_over, config, points)


def convert_backbone(path: Path | str, out: Path | str) -> dict[str, Any]:
    """Write the pre-trained backbone in ``path`` to ``out/backbone``; returns a report.

    Raises:
        CheckpointError: the file fits no known layout, or is a fine-tuned model.
    """
    opened = open_published(path, Published())
    if opened.kind != "pretrained":
        raise CheckpointError(
            f"{path} is a fine-tuned model, not a pre-trained backbone: read it with "
            "pointadapt convert"
        )
    return write_pretrained(opened, Path(out))


def write_pretrained(opened: Opened, out: Path) -> dict[str, Any]:
    """``out/backbone`` and ``out/convert.json``, which holds the report that comes back."""
    net, missing = own_backbone(opened, opened.base)
    report = opened.report(net, save_backbone(net, out / "backbone"), missing)
    write_json(out / "convert.json", report)
    return report


def read_published(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` file, without containers and the ``module.`` prefix.

    Raises:
        CheckpointError: it is missing, damaged, holds code, or holds no tensors.
    """
    state: Any = load_state(path)
    for container in ("base_model", "model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(container), dict):
            state = state[container]
            break
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds no dictionary of tensors")
    tensors = {str(k).removeprefix("module."): v for k, v in state.items()}
    tensors = {k: v for k, v in tensors.items() if isinstance(v, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors; its keys are {', '.join(list(state)[:5])}")
    return tensors


def kind_of(tensors: Mapping[str, Tensor]) -> str:
    """Tell by the keys: "pretrained", "dapt" or "full"."""
    if any(".Adapter_MLP." in k for k in tensors):
        return "dapt"
    return "full" if any(k.startswith("cls_head_finetune.") for k in tensors) else "pretrained"


def own_backbone(opened: Opened, tensors: Mapping[str, Tensor]) -> tuple[Backbone, list[str]]:
    """A backbone filled with ``tensors``, and the names of those that the file does not have.

    Raises:
        CheckpointError: a tensor that every file of its layout has is missing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = opened.family(opened.config)
    missing = fill(net, dict(tensors), opened.source)
    fatal = [k for k in missing if k not in net.optional]
    if fatal:
        raise CheckpointError(f"{opened.source}: backbone tensor {fatal[0]!r} is missing")
    return net.seal(tensors), missing


def _has_place(key: str, kind: str, layout: Layout) -> bool:
    if layout.rename(key) is not None:
        return True
    return kind != "pretrained" and (
        key.startswith("cls_head_finetune.")
        or (kind == "dapt" and bool(dapt_from_published({key: torch.empty(1)})))
    )


def _defaults(tensors: dict[str, Tensor], facts: Published) -> tuple[int, int]:
    """(groups, points): what is given, or the paper's for this kind of file."""
    last = tensors.get("cls_head_finetune.8.weight")
    scan = last is not None and last.shape[0] == 15
    return facts.groups or (128 if scan else 64), facts.points or (2048 if scan else 1024)
