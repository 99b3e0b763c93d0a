"""Methods on networks of several widths (Point Transformer V3): attached a stage at a time.

A method knows backbones of one width. In a hierarchy each stage is one: the method makes taps for
its width and depth, and the network passes each stage its own. So a method that acts inside blocks
(LoRA, adapters, SSF, (IA)³, prefixes, …) needs no line for it. What acts on the whole cloud or adds
prompt tokens has no stage to belong to, and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..backbones import Backbone, Folding, Taps
from ..backbones.voxel.network import PTv3
from ..backbones.voxel.stages import StagedTaps, stage_views, unknown_to_stages
from ..core.errors import ConfigError
from .base import Method


def attach(method: Method, backbone: Backbone) -> Taps:
    """New taps for ``backbone``, a stage at a time where it has stages.

    Raises:
        ConfigError: the method uses a site that stages do not have.
    """
    views = backbone.stage_views()
    if not views:
        return method.attach(backbone)
    taps = StagedTaps(_of_stages(method, views))
    _try(backbone, taps)
    return taps


@torch.no_grad()
def _try(backbone: Backbone, taps: Taps) -> None:
    """Run a small cloud, so that what a block refuses is refused where it is attached.

    Raises:
        ConfigError: a block refuses it.
    """
    modes = {module: module.training for module in (*backbone.modules(), *taps.modules())}
    cloud = torch.rand(1, 16, 3, generator=torch.Generator().manual_seed(0))
    try:
        backbone.eval()
        taps.eval()
        backbone(cloud.to(next(backbone.parameters()).device), taps.to(cloud.device))
    finally:
        for module, training in modes.items():
            module.training = training


def fold(method: Method, folding: Folding, taps: Taps) -> Method:
    """``method.fold``, a stage at a time where the backbone has stages.

    Raises:
        CannotFold: nothing can be moved, and why.
    """
    if not isinstance(taps, StagedTaps):
        return method.fold(folding, taps)
    left = method
    for view, own in zip(folding.source.stage_views(), taps.stages, strict=True):
        left = method.fold(folding.of_stage(view), own)
    return left


def attach_by_stage(method: Method, net: PTv3) -> nn.ModuleList:
    """New taps, one for each stage in the order of the forward; all their parameters train.

    Raises:
        ConfigError: the method uses a site that stages do not have.
    """
    return nn.ModuleList(_of_stages(method, stage_views(net)))


def _of_stages(method: Method, views: Sequence[Any]) -> list[Taps]:
    taps = []
    for view in views:
        try:
            own = method.attach(view)
        except AttributeError as error:
            raise ConfigError(
                f"{method.title} asks for what a stage does not have ({error}): take one that acts "
                "inside blocks, such as lora or adapter"
            ) from error
        unknown = unknown_to_stages(own)
        if unknown:
            raise ConfigError(
                f"{method.title} acts on the whole cloud ({', '.join(unknown)}), which a network "
                "of several widths has at none of them: take one that acts inside blocks, such as "
                "lora or adapter"
            )
        taps.append(own)
    return taps


def select_trainable(method: Method, net: PTv3) -> list[str]:
    """Let those of the network's own parameters train that the method names; returns them."""
    parameters = dict(net.named_parameters())
    trained = method.trainable_among(parameters)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    return [name for name in parameters if name in trained]
