"""Published checkpoints to our folders: pre-trained backbones and fine-tuned models.

What a file is, is told by its keys. It is read with ``weights_only=True``: no code in it can run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import hub
from .backbones import Backbone
from .backbones._weights import fill, load_backbone, save_backbone
from .backbones.point_vit import PointViT, from_published, infer_config
from .errors import CheckpointError
from .files import load_state, write_json
from .methods import make_method
from .methods.dapt import from_published as dapt_from_published
from .model import Adapter, PointModel
from .tasks import make_task


@dataclass(frozen=True)
class Published:
    """What a checkpoint cannot tell; None takes the paper's value for its kind.

    Attributes:
        heads: attention heads.
        groups: patches of a cloud: 128 on ScanObjectNN, 64 on ModelNet40 and in pre-training.
        group_size: points of a patch.
        points: points of a cloud: 2048 on ScanObjectNN, 1024 otherwise.
        head: inputs of the head.
        classes: names of the classes; numbered when not given and not a known benchmark's.
    """

    heads: int = 6
    groups: int | None = None
    group_size: int = 32
    points: int | None = None
    head: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


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


def kind_of(tensors: dict[str, Tensor]) -> str:
    """ "pretrained", "dapt" or "full", told by the keys.

    Raises:
        CheckpointError: none of them.
    """
    if any(k.startswith("MAE_encoder.") for k in tensors):
        return "pretrained"
    if any(".Adapter_MLP." in k for k in tensors):
        return "dapt"
    if any(k.startswith("cls_head_finetune.") for k in tensors):
        return "full"
    if any(k.startswith("blocks.blocks.") for k in tensors):
        return "pretrained"
    raise CheckpointError(
        "these keys are no published layout that pointadapt knows (Point-MAE pre-training, DAPT or "
        f"full fine-tuning): {', '.join(sorted(tensors)[:4])}, …"
    )


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
        CheckpointError: the file fits no known layout.
    """
    facts, out = facts or Published(), Path(out)
    tensors = read_published(path)
    kind = kind_of(tensors)
    encoder = {k.removeprefix("MAE_encoder."): v for k, v in tensors.items()}
    base = from_published(encoder)
    groups, points, _ = _defaults(kind, tensors, facts)
    config = infer_config(base, heads=facts.heads, groups=groups, group_size=facts.group_size)
    report: dict[str, Any] = {"file": str(path), "kind": kind, "tensors": len(tensors)}
    if kind == "pretrained":
        net, missing = _own_backbone(config, base, str(path))
        used = {k for k in tensors if _consumed(k)}
    else:
        if backbone is None:
            frozen = {k: v for k, v in base.items() if k not in ("cls_token", "cls_pos")}
            net, missing = _own_backbone(config, frozen, str(path))
        else:
            changes = {"groups": groups, "group_size": facts.group_size}
            net, missing = load_backbone(backbone, **changes), []
            _same_frozen(net, base, str(path), kind)
        used = set(tensors)
    folder = Path(backbone) if backbone is not None else save_backbone(net, out / "backbone")
    report |= {
        "backbone": str(folder),
        "sha256": net.fingerprint,
        "parameters": sum(p.numel() for p in net.parameters()),
        "consumed": len(used),
        "left_over": sorted(set(tensors) - used),
        "missing": missing,
    }
    if kind != "pretrained":
        report["adapter"] = _write_adapter(kind, tensors, base, net, folder, out, facts, points)
    write_json(out / "convert.json", report)
    return report


def _consumed(key: str) -> bool:
    return bool(from_published({key.removeprefix("MAE_encoder."): torch.empty(1)}))


def _own_backbone(
    config: Any, tensors: dict[str, Tensor], source: str
) -> tuple[Backbone, list[str]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = PointViT(config)
    missing = fill(net, tensors, source)
    fatal = [k for k in missing if k not in ("cls_token", "cls_pos")]
    if fatal:
        raise CheckpointError(f"{source}: backbone tensor {fatal[0]!r} is missing")
    return net.seal(tensors), missing


def _same_frozen(net: Backbone, base: dict[str, Tensor], source: str, kind: str) -> None:
    if kind == "full":
        return
    parameters = dict(net.named_parameters())
    for key, value in base.items():
        if key in parameters and key not in ("cls_token", "cls_pos"):
            own = parameters[key]
            if own.shape != value.shape or not torch.equal(own.cpu(), value.float()):
                raise CheckpointError(
                    f"{source} was not trained from this backbone: {key!r} differs; leave out "
                    "--backbone to keep the file's own"
                )


def _defaults(
    kind: str, tensors: dict[str, Tensor], facts: Published
) -> tuple[int, int, tuple[str, ...]]:
    """(groups, points, head inputs): what is given, or the paper's for this kind of file."""
    first, last = tensors.get("cls_head_finetune.0.weight"), tensors.get("cls_head_finetune.8.weight")
    scan = last is not None and last.shape[0] == 15
    head: tuple[str, ...] = ("cls", "patch_max")
    if first is not None and kind == "dapt":
        parts = first.shape[1] // tensors["norm.weight"].shape[0]
        head = {
            1: ("cls",),
            2: ("cls", "prompt_mean") if scan else ("cls", "patch_max"),
            3: ("cls", "prompt_mean", "patch_max"),
        }.get(parts, head)
    return facts.groups or (128 if scan else 64), facts.points or (2048 if scan else 1024), (
        facts.head or head
    )


def _write_adapter(
    kind: str, tensors: dict[str, Tensor], base: dict[str, Tensor], net: Backbone, folder: Path,
    out: Path, facts: Published, points: int,
) -> str:  # fmt: skip
    head = {k: v for k, v in tensors.items() if k.startswith("cls_head_finetune.")}
    count = tensors["cls_head_finetune.8.weight"].shape[0]
    options: dict[str, Any] = {}
    if kind == "dapt":
        options["rank"] = tensors["blocks.blocks.0.Adapter_MLP.down_proj.weight"].shape[0]
    adapter = Adapter(
        net, make_method(kind, options), make_task("classification"),
        facts.classes or _class_names(count), _defaults(kind, tensors, facts)[2],
    )  # fmt: skip
    model = PointModel(net, adapter)
    state = {f"head.layers.{k.removeprefix('cls_head_finetune.')}": v for k, v in head.items()}
    if kind == "dapt":
        state |= {f"taps.{k}": v for k, v in dapt_from_published(tensors).items()}
    state |= {f"backbone.{k}": v for k, v in base.items()}
    model.load_adapter_state(state, "checkpoint")
    return str(hub.save_adapter(model, out / "adapter", backbone=str(folder), points=points))


def _class_names(count: int) -> tuple[str, ...]:
    from .data import DATASETS

    for name in ("modelnet40", "scanobjectnn"):
        names = getattr(DATASETS[name], "CLASSES", ())
        if len(names) == count:
            return tuple(names)
    return tuple(f"class_{i}" for i in range(count))
