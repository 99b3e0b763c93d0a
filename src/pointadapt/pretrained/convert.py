"""Published checkpoints read, and their backbones written to our folders.

What a file is, is told by the names and shapes of its tensors. The adapter of a fine-tuned model is
written by :mod:`pointadapt.adapters.convert`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..backbones import BACKBONES, Backbone
from ..backbones.base import BackboneConfig
from ..backbones.folder import build_to_fill, fill, save_backbone
from ..backbones.published.layouts import Layout, find_layout
from ..core.config import Published
from ..core.errors import CheckpointError
from ..core.files import write_json
from ..core.plain import shown
from ..core.results import ConvertReport
from ..methods.dapt import from_published as dapt_from_published
from .checkpoint import read_published
from .heads import ALONE, TunedHead, read_head

HEADS = ("cls_head_finetune.", "blocks.cls_head_finetune.")
MODELNET_STORED = 8192  # points of a cloud that the released code normalises, then draws from
SCAN_STORED = 2048


@dataclass(frozen=True)
class Opened:
    """A published file, read and told what it is.

    Attributes:
        source: the file.
        tensors: all of them, under their official names.
        kind: "pretrained", "dapt" or "full".
        layout: how its names are to be read.
        base: the backbone's tensors, under our names.
        left_over: official names that have no place.
        config: of its backbone.
        head: of a fine-tuned model.
        protocol: how the released code gives it clouds.
    """

    source: str
    tensors: dict[str, Tensor]
    kind: str
    layout: Layout
    base: dict[str, Tensor]
    left_over: list[str]
    config: BackboneConfig
    head: TunedHead | None
    protocol: Clouds

    @property
    def family(self) -> type[Backbone]:
        """Of its backbone."""
        return BACKBONES[self.layout.family]

    def report(self, net: Backbone, folder: Path | str, missing: list[str]) -> ConvertReport:
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


@dataclass(frozen=True)
class Clouds:
    """What a file's clouds were, as the released code prepares them.

    Attributes:
        data: the benchmark it was fine-tuned on, where that is known.
        groups: patches of a cloud.
        points: points that enter the network.
        available: stored points that these are chosen from; None where they are all.
    """

    data: str
    groups: int
    points: int
    available: int | None = None


def open_published(path: Path | str, facts: Published, *, alone: bool = False) -> Opened:
    """Read a published file and tell what it is.

    Args:
        path: the file.
        facts: what it cannot tell.
        alone: only its backbone is wanted, so its head may be of any form.

    Raises:
        CheckpointError: it cannot be read, is of no known layout, or its head is of no known form.
    """
    tensors, source = read_published(path), str(path)
    layout = find_layout(tensors, source, facts.layout)
    kind, base = kind_of(tensors), layout.read(tensors)
    tuned = kind != "pretrained" and not alone
    head = read_head(tensors, layout.head, layout.title, source) if tuned else None
    left_over = sorted(k for k in tensors if not _has_place(k, kind if tuned else "", layout))
    protocol = _clouds(layout, head, facts)
    config = layout.config(base, replace(facts, groups=protocol.groups), source)
    return Opened(source, tensors, kind, layout, base, left_over, config, head, protocol)


def convert_backbone(
    path: Path | str, out: Path | str, facts: Published | None = None, *, tuned: bool = False
) -> ConvertReport:
    """Write the backbone in ``path`` to ``out/backbone``; returns a report.

    Args:
        path: the published file.
        out: folder to write.
        facts: what the file cannot tell.
        tuned: take a fine-tuned model's too.

    Raises:
        CheckpointError: the file fits no known layout, or is a fine-tuned model.
    """
    opened = open_published(path, facts or Published(), alone=True)
    if opened.kind != "pretrained" and not tuned:
        raise CheckpointError(
            f"{path} is a fine-tuned model, not a pre-trained backbone: read it with "
            "pointadapt convert"
        )
    return write_backbone(opened, Path(out))


def write_backbone(opened: Opened, out: Path) -> ConvertReport:
    """``out/backbone`` and ``out/convert.json``, which holds the report that comes back."""
    net, missing = own_backbone(opened, opened.base)
    report = opened.report(net, save_backbone(net, out / "backbone"), missing)
    write_json(out / "convert.json", report)
    return report


def kind_of(names: Iterable[str]) -> str:
    """Tell by the tensors' names: "pretrained", "dapt" or "full"."""
    names = list(names)
    if any(".Adapter_MLP." in name for name in names):
        return "dapt"
    return "full" if any(name.startswith(HEADS) for name in names) else "pretrained"


def own_backbone(opened: Opened, tensors: Mapping[str, Tensor]) -> tuple[Backbone, list[str]]:
    """A backbone filled with ``tensors``, and the names of those that the file does not have.

    Raises:
        CheckpointError: a tensor that every file of its layout has is missing.
    """
    stored = sum(tensor.numel() for tensor in tensors.values())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build_to_fill(opened.family, opened.config, stored, opened.source)
    missing = fill(net, dict(tensors), opened.source)
    fatal = [k for k in missing if k not in net.optional]
    if fatal:
        raise CheckpointError(f"{opened.source}: backbone tensor {shown(fatal[0])} is missing")
    return net.seal(tensors), missing


def check_whole(opened: Opened) -> None:
    """Refuse a fine-tuned model of which a tensor has no place: its logits would not be the file's.

    Raises:
        CheckpointError: there is one.
    """
    odd = [key for key in opened.left_over if not opened.layout.unused(key)]
    if odd:
        raise CheckpointError(
            f"{opened.source}: {len(odd)} tensors of a fine-tuned model have no place in the "
            f"method {opened.kind!r}, the first is {shown(odd[0])}: {ALONE}"
        )


def _has_place(key: str, kind: str, layout: Layout) -> bool:
    if layout.rename(key) is not None:
        return True
    tuned = kind in ("dapt", "full") and key.startswith(layout.head)
    return tuned or (kind == "dapt" and bool(dapt_from_published({key: torch.empty(1)})))


def _clouds(layout: Layout, head: TunedHead | None, facts: Published) -> Clouds:
    """What is given, or the released code's for this kind of file."""
    data = facts.data or _data(layout, head)
    released = {
        "scanobjectnn": (*layout.scan, SCAN_STORED),
        "modelnet40": (*layout.plain, MODELNET_STORED),
    }
    groups, points, stored = released.get(data, (*layout.plain, 0))
    groups, points = facts.groups or groups, facts.points or points
    return Clouds(data, groups, points, stored if points < stored else None)


def _data(layout: Layout, head: TunedHead | None) -> str:
    """The benchmark that a head's outputs are the classes of."""
    if head is None:
        return ""
    if head.outputs == 15 or (layout.scan_widths and head.widths == layout.scan_widths):
        return "scanobjectnn"
    return "modelnet40" if head.outputs == 40 else ""
