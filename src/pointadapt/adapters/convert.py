"""Published checkpoints to our folders: pre-trained backbones and fine-tuned models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..backbones import Backbone
from ..backbones.folder import save_backbone
from ..backbones.published.layouts import Layout
from ..core.config import Published
from ..core.errors import CheckpointError, ConfigError
from ..core.files import write_json
from ..methods import make_method
from ..methods.dapt import from_published as dapt_from_published
from ..pretrained.convert import Opened, open_published, own_backbone, write_pretrained
from ..pretrained.load import load_backbone
from ..tasks import make_task
from . import folder as hub
from .model import Adapter, PointModel

if TYPE_CHECKING:
    from ..data import Dataset


def convert(
    path: Path | str, out: Path | str, facts: Published | None = None,
    backbone: str | Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write ``out/backbone``, and for a fine-tuned model ``out/adapter``; returns a report.

    Args:
        path: the published file.
        out: folder to write.
        facts: what the file cannot tell.
        backbone: for a DAPT model, the pre-trained backbone it was trained from. Its frozen
            tensors must be equal bit for bit; the adapter then fits that backbone, and shares it
            with others. Without it the file's own backbone is written.

    Raises:
        CheckpointError: the file fits no known layout, or not all of it has a place.
        ConfigError: ``backbone`` is given for a file that is a backbone.
    """
    facts, out = facts or Published(), Path(out)
    opened = open_published(path, facts)
    if opened.kind == "pretrained":
        if backbone is not None:
            raise ConfigError(f"{path} is a pre-trained backbone itself: leave out --backbone")
        return write_pretrained(opened, out)
    if opened.left_over:  # its outputs would not be the file's
        raise CheckpointError(
            f"{path}: {len(opened.left_over)} tensors have no place in the method "
            f"{opened.kind!r}, the first is {opened.left_over[0]!r}"
        )
    net, missing = _backbone_of(opened, backbone)
    model = _model(opened, net, facts)
    # Nothing is written before the whole file is known to fit.
    folder = backbone if backbone is not None else save_backbone(net, out / "backbone")
    report = opened.report(net, folder, missing)
    adapter = hub.save_adapter(model, out / "adapter", backbone=str(folder), points=opened.points)
    report["adapter"] = str(adapter)
    write_json(out / "convert.json", report)
    return report


def _backbone_of(opened: Opened, backbone: str | Path | None) -> tuple[Backbone, list[str]]:
    """The file's own backbone, or the one it was trained from; and what the file lacks of it."""
    if backbone is None:
        frozen = {k: v for k, v in opened.base.items() if k not in opened.family.optional}
        return own_backbone(opened, frozen)
    config = opened.config
    net = load_backbone(backbone, groups=config.groups, group_size=config.group_size)
    _same_frozen(net, opened.base, opened.source, opened.kind)
    return net, []


def _same_frozen(net: Backbone, base: dict[str, Tensor], source: str, kind: str) -> None:
    if kind == "full":
        return
    parameters = dict(net.named_parameters())
    for key, value in base.items():
        if key in parameters and key not in net.optional:
            own = parameters[key]
            if own.shape != value.shape or not torch.equal(own.cpu(), value.float()):
                raise CheckpointError(
                    f"{source} was not trained from this backbone: {key!r} differs; leave out "
                    "--backbone to keep the file's own"
                )


def _head_inputs(kind: str, layout: Layout, dim: int, width: int, classes: int) -> tuple[str, ...]:
    """The paper's, for a head of ``width`` inputs."""
    if kind == "full":
        return layout.head_inputs
    two = ("cls", "prompt_mean") if classes == 15 else ("cls", "patch_max")
    return {1: ("cls",), 2: two}.get(width // dim, ("cls", "prompt_mean", "patch_max"))


def _model(opened: Opened, net: Backbone, facts: Published) -> PointModel:
    tensors, kind, source = opened.tensors, opened.kind, opened.source

    def size(key: str, axis: int) -> int:
        if key not in tensors:
            raise CheckpointError(f"{source}: tensor {key!r} is missing")
        return tensors[key].shape[axis]

    count, width = size("cls_head_finetune.8.weight", 0), size("cls_head_finetune.0.weight", 1)
    options: dict[str, Any] = {}
    if kind == "dapt":
        options["rank"] = size("blocks.blocks.0.Adapter_MLP.down_proj.weight", 0)
    adapter = Adapter(
        net, make_method(kind, options), make_task("classification"),
        facts.classes or _class_names(count),
        facts.head or _head_inputs(kind, opened.layout, net.config.dim, width, count),
        normalise=getattr(_benchmark(count), "normalise", True),
    )  # fmt: skip
    model = PointModel(net, adapter)
    head = "cls_head_finetune."
    state = {
        f"head.layers.{k.removeprefix(head)}": v for k, v in tensors.items() if k.startswith(head)
    }
    if kind == "dapt":
        state |= {f"taps.{k}": v for k, v in dapt_from_published(tensors).items()}
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    state |= {f"backbone.{k}": v for k, v in opened.base.items() if k not in frozen}
    model.load_adapter_state(state, source)
    return model


def _benchmark(count: int) -> type[Dataset] | None:
    """The data set with so many classes among those that published models are tuned on."""
    from ..data import DATASETS

    known = (DATASETS[name] for name in ("modelnet40", "scanobjectnn"))
    return next((cls for cls in known if len(getattr(cls, "CLASSES", ())) == count), None)


def _class_names(count: int) -> tuple[str, ...]:
    found = getattr(_benchmark(count), "CLASSES", ())
    return tuple(found) or tuple(f"class_{i}" for i in range(count))
