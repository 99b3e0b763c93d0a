"""A network of several widths as methods see it: each stage is a backbone of one width."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..base import Backbone, BackboneConfig
from ..taps import Taps
from .network import PTv3, Stage

EVERYWHERE = ("points_in", "tokens_in", "tokens_out", "host")  # sites that no stage has


FOLD_LAYERS = {
    site: layer for site, layer in Backbone.fold_layers.items() if layer.startswith("blocks.")
}


@dataclass(frozen=True)
class StageConfig(BackboneConfig):
    """Sizes of one stage; its voxels are not cut into groups.

    Attributes:
        mlp_ratio: hidden width of an MLP over its width.
    """

    mlp_ratio: int = 4
    groups: int = 1
    group_size: int = 1
    qkv_bias: bool = True

    @property
    def hidden(self) -> int:
        return self.mlp_ratio * self.dim


@dataclass(frozen=True)
class StageView:
    """What ``Method.attach`` needs of a backbone, for one stage.

    Attributes:
        name: of the stage in the network, "stages.0" or "decoder.1".
        stage: its layers.
        config: its sizes.
    """

    name: str
    stage: Stage
    config: StageConfig

    def parameters(self) -> Any:
        """Of this stage."""
        return self.stage.parameters()

    def fold_layer(self, site: str) -> str:
        """The frozen layer whose output the site's tap sees, "" where there is none."""
        layer = FOLD_LAYERS.get(site)
        return f"{self.name}.{layer}" if layer else ""


class StagedTaps(Taps):
    """Taps of one width for each stage, in the order of the forward.

    Attributes:
        stages: they are.
    """

    def __init__(self, stages: Iterable[Taps]) -> None:
        super().__init__(0)
        self.stages = nn.ModuleList(stages)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "loss_scale":
            for own in self.stages:
                own.loss_scale = value

    def set_drop_path(self, rate: float) -> None:
        for own in self.stages:
            own.set_drop_path(rate)  # type: ignore[operator]

    def deciding(self) -> tuple[Any, ...]:
        return tuple(own.deciding() for own in self.stages)  # type: ignore[operator]

    def decide(self, deciding: tuple[Any, ...]) -> None:
        for own, part in zip(self.stages, deciding, strict=True):
            own.decide(part)  # type: ignore[operator]


def stage_views(net: PTv3, prefix: str = "") -> list[StageView]:
    """The stages in the order of the forward: encoder, then decoder from the coarsest.

    Args:
        net: the network.
        prefix: what its names start with in the network that holds it.
    """
    c, views = net.config, []
    for s, stage in enumerate(net.stages):
        config = StageConfig(c.channels[s], c.depths[s], c.heads[s], mlp_ratio=c.mlp_ratio)
        views.append(StageView(f"{prefix}stages.{s}", stage, config))
    for s in range(len(net.decoder) - 1, -1, -1):
        config = StageConfig(
            c.decoder_channels[s], c.decoder_depths[s], c.decoder_heads[s], mlp_ratio=c.mlp_ratio
        )
        views.append(StageView(f"{prefix}decoder.{s}", net.decoder[s], config))
    return views


def plain_taps(net: PTv3) -> nn.ModuleList:
    """Taps that do nothing, one for each stage."""
    return nn.ModuleList(Taps(view.config.depth) for view in stage_views(net))


def unknown_to_stages(taps: Taps) -> list[str]:
    """Sites that ``taps`` use and no stage has: those of the whole cloud, and prompts."""
    return [site for site in EVERYWHERE if getattr(type(taps), site) is not getattr(Taps, site)]
