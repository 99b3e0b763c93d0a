"""Published checkpoints to our folders: pre-trained backbones and fine-tuned models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..backbones import Backbone
from ..backbones.folder import save_backbone
from ..core.config import Published
from ..core.errors import CheckpointError, ConfigError
from ..core.files import write_json
from ..core.results import ConvertReport
from ..core.tensors import check_numbers
from ..data import DATASETS
from ..methods import Method, make_method
from ..methods.dapt import from_published as dapt_from_published
from ..pretrained.convert import (
    Opened,
    check_whole,
    open_published,
    own_backbone,
    write_backbone,
)
from ..pretrained.heads import TunedHead
from ..pretrained.load import load_backbone
from ..recipes.start import configured
from ..tasks import make_task
from . import folder as adapter_folder
from .model import Adapter, PointModel


def convert(
    file: Path | str, out: Path | str, facts: Published | Path | str | None = None,
    backbone: str | Path | None = None, *, backbone_only: bool = False, **options: Any,
) -> ConvertReport:  # fmt: skip
    """Write ``out/backbone``, and for a fine-tuned model ``out/adapter``; returns a report.

    Args:
        file: the published file.
        out: folder to write.
        facts: what the file cannot tell, or a YAML file with some of it.
        backbone: for a DAPT model or a linear probe, the pre-trained backbone it was trained from.
            Its frozen tensors must be equal bit for bit; the adapter then fits that backbone, and
            shares it with others. Without it the file's own backbone is written.
        backbone_only: write the backbone of a fine-tuned model, and leave its head.
        options: what the file cannot tell, by name, as :class:`~pointadapt.core.config.Published`
            lists it: ``convert("dapt.pth", "out", heads=6, points=2048)``.

    Raises:
        CheckpointError: the file fits no known layout, or not all of it has a place.
        ConfigError: ``backbone`` is given for a file that is a backbone, or a wrong value.
        UnknownNameError: there is no such option.
    """
    facts, out = configured(Published, facts, options), Path(out)
    opened = open_published(file, facts, alone=backbone_only)
    if opened.head is None:
        if backbone is not None:
            what = "a pre-trained backbone itself" if not backbone_only else "to give its own"
            raise ConfigError(f"{file} is {what}: leave out --backbone")
        return write_backbone(opened, out)
    check_whole(opened)
    tuned = _Tuned.of(opened, opened.head, facts)
    net, missing = _backbone_of(opened, tuned.method, backbone)
    model = tuned.model(net)
    # Nothing is written before the whole file is known to fit.
    folder = backbone if backbone is not None else save_backbone(net, out / "backbone")
    report = opened.report(net, folder, missing)
    report["method"] = tuned.method.name
    clouds = opened.protocol
    report["adapter"] = str(
        adapter_folder.save_adapter(
            model, out / "adapter", backbone=str(folder), points=clouds.points,
            available=clouds.available, dataset=clouds.data,
        )
    )  # fmt: skip
    write_json(out / "convert.json", report)
    return report


def _backbone_of(
    opened: Opened, method: Method, backbone: str | Path | None
) -> tuple[Backbone, list[str]]:
    """The file's own backbone, or the one it was trained from; and what the file lacks of it."""
    if backbone is None:
        frozen = {k: v for k, v in opened.base.items() if k not in opened.family.optional}
        return own_backbone(opened, frozen)
    config = opened.config
    net = load_backbone(backbone, groups=config.groups, group_size=config.group_size)
    if net.name != opened.layout.family:
        raise CheckpointError(f"{opened.source} is of a {opened.layout.family}, not a {net.name}")
    _check_same(net, opened, method)
    return net, []


def _check_same(net: Backbone, opened: Opened, method: Method) -> None:
    """Compare what does not train with the backbone that it is to have been trained from."""
    parameters = dict(net.named_parameters())
    same = parameters.keys() - method.trainable_among(parameters)
    for key, value in opened.base.items():
        if key in same and key in net.base_keys:
            own = parameters[key]
            if own.shape != value.shape or not torch.equal(own.cpu(), value.float()):
                raise CheckpointError(
                    f"{opened.source} was not trained from this backbone: {key!r} differs; leave "
                    "out --backbone to keep the file's own"
                )


@dataclass(frozen=True)
class _Tuned:
    """What a fine-tuned file is of, besides its backbone."""

    opened: Opened
    head: TunedHead
    method: Method
    classes: tuple[str, ...]
    inputs: tuple[str, ...]

    @classmethod
    def of(cls, opened: Opened, head: TunedHead, facts: Published) -> _Tuned:
        names = facts.classes or _class_names(opened.protocol.data, head.outputs)
        if not facts.classes:  # of 40 outputs for ScanObjectNN the last 25 were never a label
            head = head.cut(len(names))
        inputs = facts.head or _head_inputs(opened, head)
        return cls(opened, head, _method(opened, head), names, inputs)

    def model(self, net: Backbone) -> PointModel:
        """It, on ``net``, whose own tensors are those that do not train."""
        options = {"layers": self.head.widths, "batchnorm": self.head.batchnorm}
        task = make_task("classification", options if self.head.widths else {"hidden": 0})
        data = self.opened.protocol.data
        normalise = DATASETS[data].normalise if data else True
        adapter = Adapter(net, self.method, task, self.classes, self.inputs, normalise=normalise)
        model = PointModel(net, adapter)
        state = self._state(net)
        check_numbers(state, self.opened.source)
        model.load_adapter_state(state, self.opened.source)
        return model

    def _state(self, net: Backbone) -> dict[str, Tensor]:
        state = {f"head.layers.{key}": value for key, value in self.head.tensors.items()}
        if self.opened.kind == "dapt":
            taps = dapt_from_published(self.opened.tensors)
            state |= {f"taps.{key}": value for key, value in taps.items()}
        fixed = {n for n, p in net.named_parameters() if not p.requires_grad and n in net.base_keys}
        own = {key: value for key, value in self.opened.base.items() if key not in fixed}
        return state | {f"backbone.{key}": value for key, value in own.items()}


def _method(opened: Opened, head: TunedHead) -> Method:
    """What was trained: with a single linear layer, the released code trains the head alone."""
    if opened.kind != "dapt":
        return make_method("full" if head.widths else "linear_probe")
    key = "blocks.blocks.0.Adapter_MLP.down_proj.weight"
    if key not in opened.tensors:
        raise CheckpointError(f"{opened.source}: tensor {key!r} is missing")
    return make_method("dapt", {"rank": len(opened.tensors[key])})


def _head_inputs(opened: Opened, head: TunedHead) -> tuple[str, ...]:
    """The paper's, for a head of this width."""
    if opened.kind == "full":
        return opened.layout.head_inputs
    two = ("cls", "prompt_mean") if head.outputs == 15 else ("cls", "patch_max")
    count = head.inputs // opened.config.dim
    return {1: ("cls",), 2: two}.get(count, ("cls", "prompt_mean", "patch_max"))


def _class_names(data: str, count: int) -> tuple[str, ...]:
    names = tuple(getattr(DATASETS[data], "CLASSES", ())) if data else ()
    return names if 0 < len(names) <= count else tuple(f"class_{i}" for i in range(count))
