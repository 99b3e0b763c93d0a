"""Published checkpoints to our folders: pre-trained backbones and fine-tuned models.

What a file is, is told by its keys. It is read with ``weights_only=True``: no code in it can run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..backbones import BACKBONES, Backbone
from ..backbones.published.layouts import Layout, find_layout
from ..core.config import Published
from ..core.errors import CheckpointError, ConfigError
from ..core.files import load_state, write_json
from ..methods import make_method
from ..methods.dapt import from_published as dapt_from_published
from ..pretrained.load import fill, load_backbone, save_backbone
from ..tasks import make_task
from . import folder as hub
from .model import Adapter, PointModel

if TYPE_CHECKING:
    from ..data import Dataset


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
    tensors = read_published(path)
    layout = find_layout(tensors.keys(), str(path))
    kind, base = kind_of(tensors), layout.read(tensors)
    left_over = sorted(k for k in tensors if not _has_place(k, kind, layout))
    groups, points = _defaults(tensors, facts)
    config = layout.config(base, replace(facts, groups=groups), str(path))
    family = BACKBONES[layout.family]
    model = None
    if kind == "pretrained":
        if backbone is not None:
            raise ConfigError(f"{path} is a pre-trained backbone itself: leave out --backbone")
        net, missing = _own_backbone(family, config, base, str(path))
    else:
        if left_over:  # its outputs would not be the file's
            raise CheckpointError(
                f"{path}: {len(left_over)} tensors have no place in the method {kind!r}, "
                f"the first is {left_over[0]!r}"
            )
        if backbone is None:
            frozen = {k: v for k, v in base.items() if k not in family.optional}
            net, missing = _own_backbone(family, config, frozen, str(path))
        else:
            changes = {"groups": groups, "group_size": facts.group_size}
            net, missing = load_backbone(backbone, **changes), []
            _same_frozen(net, base, str(path), kind)
        model = _model(kind, layout, tensors, base, net, facts, str(path))
    # Nothing is written before the whole file is known to fit.
    folder = backbone if backbone is not None else save_backbone(net, out / "backbone")
    report: dict[str, Any] = {
        "file": str(path),
        "kind": kind,
        "layout": layout.name,
        "tensors": len(tensors),
        "backbone": str(folder),
        "sha256": net.fingerprint,
        "parameters": sum(p.numel() for p in net.parameters()),
        "consumed": len(tensors) - len(left_over),
        "left_over": left_over,
        "missing": missing,
    }
    if model is not None:
        adapter = hub.save_adapter(model, out / "adapter", backbone=str(folder), points=points)
        report["adapter"] = str(adapter)
    write_json(out / "convert.json", report)
    return report


def _has_place(key: str, kind: str, layout: Layout) -> bool:
    if layout.rename(key) is not None:
        return True
    return kind != "pretrained" and (
        key.startswith("cls_head_finetune.")
        or (kind == "dapt" and bool(dapt_from_published({key: torch.empty(1)})))
    )


def _own_backbone(
    family: type[Backbone], config: Any, tensors: dict[str, Tensor], source: str
) -> tuple[Backbone, list[str]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = family(config)
    missing = fill(net, tensors, source)
    fatal = [k for k in missing if k not in family.optional]
    if fatal:
        raise CheckpointError(f"{source}: backbone tensor {fatal[0]!r} is missing")
    return net.seal(tensors), missing


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


def _defaults(tensors: dict[str, Tensor], facts: Published) -> tuple[int, int]:
    """(groups, points): what is given, or the paper's for this kind of file."""
    last = tensors.get("cls_head_finetune.8.weight")
    scan = last is not None and last.shape[0] == 15
    return facts.groups or (128 if scan else 64), facts.points or (2048 if scan else 1024)


def _head_inputs(kind: str, layout: Layout, dim: int, width: int, classes: int) -> tuple[str, ...]:
    """The paper's, for a head of ``width`` inputs."""
    if kind == "full":
        return layout.head_inputs
    two = ("cls", "prompt_mean") if classes == 15 else ("cls", "patch_max")
    return {1: ("cls",), 2: two}.get(width // dim, ("cls", "prompt_mean", "patch_max"))


def _model(
    kind: str, layout: Layout, tensors: dict[str, Tensor], base: dict[str, Tensor],
    net: Backbone, facts: Published, source: str,
) -> PointModel:  # fmt: skip
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
        facts.head or _head_inputs(kind, layout, net.config.dim, width, count),
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
    state |= {f"backbone.{k}": v for k, v in base.items() if k not in frozen}
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
