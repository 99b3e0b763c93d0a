"""What a pre-training run starts from: network, optimizer, and the checkpoint it goes on from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ..backbones import BACKBONES, Backbone
from ..backbones.layers import init_weights
from ..backbones.point_vit import PointViT
from ..core.config import PretrainConfig, other_options
from ..core.errors import CheckpointError, ConfigError, UnknownNameError
from ..core.files import CHECKPOINT, load_state, restoring
from ..pretrained.load import load_backbone
from .batches import CloudBatches
from .masked_autoencoder import MaskedAutoencoder

# What may change when a run is resumed: nothing that the weights depend on.
_MAY_DIFFER = (
    "out", "resume", "threads", "save_every", "save_precision", "shard_mb", "workers",
    "probe_every", "probe_data", "probe_root", "probe_clouds", "picture_every", "step",
)  # fmt: skip


def network(config: PretrainConfig, source: CloudBatches) -> MaskedAutoencoder:
    """The autoencoder around the backbone to start from.

    Raises:
        ConfigError, UnknownNameError: no such backbone, not one of this family, or too few points
            for its patches.
    """
    cls = BACKBONES[config.backbone]
    if not issubclass(cls, PointViT):
        raise ConfigError(
            f"masked autoencoding is written for point_vit, not {config.backbone}; ptv3 is "
            "pre-trained with --data scenes"
        )
    backbone: Any = first_backbone(config, cls, init_weights)
    backbone.config.check_points(config.points)
    net = MaskedAutoencoder(
        backbone, config.mask_ratio, config.decoder_depth,
        classes=source.classes if config.label_weight else 0,
        attributes=source.attributes if config.attribute_weight else 0,
        mask_spread=config.mask_spread, compare=config.contrast_weight > 0,
    )  # fmt: skip
    if not net.tells:  # CLS takes no part then, and processes wait for every gradient
        net.backbone.cls_token.requires_grad_(False)
        net.backbone.cls_pos.requires_grad_(False)
    return net


def first_backbone(
    config: PretrainConfig, cls: type[Backbone], start: Callable[[nn.Module], None] | None = None
) -> Backbone:
    """The backbone to start from; ``start`` gives each layer of a new one its first weights.

    Raises:
        ConfigError, UnknownNameError: it is of another family, or there is no such size.
    """
    changes = {k: v for k in ("groups", "group_size") if (v := getattr(config, k))}
    if config.init is not None:
        backbone = load_backbone(config.init, seed=config.seed, **changes)
        if not isinstance(backbone, cls):
            raise ConfigError(f"{config.init} is a {backbone.name}, not a {config.backbone}")
        return backbone
    if config.size not in cls.sizes:
        raise UnknownNameError(f"size of {config.backbone}", config.size, cls.sizes)
    size = dataclasses.replace(cls.sizes[config.size], **changes)
    backbone = cls(size)
    return backbone.apply(start) if start else backbone


def make_optimizer(config: PretrainConfig, net: nn.Module) -> torch.optim.Optimizer:
    """AdamW without decay on tokens, biases and norms."""
    named = list(net.named_parameters())
    decayed = [p for n, p in named if p.dim() > 1 and "token" not in n]
    rest = [p for n, p in named if p.dim() <= 1 or "token" in n]
    groups = [{"params": decayed, "weight_decay": config.weight_decay},
              {"params": rest, "weight_decay": 0.0}]  # fmt: skip
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def shared(net: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The network whose gradients are averaged over the processes, where there are several."""
    if accelerator.num_processes == 1:
        return net
    device = accelerator.device
    return nn.parallel.DistributedDataParallel(
        net, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False
    )


def identity(config: PretrainConfig) -> dict[str, Any]:
    """What must agree for a checkpoint to be resumed, as plain values."""
    values = dataclasses.asdict(config)
    for key in _MAY_DIFFER:
        del values[key]
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}
    return json.loads(json.dumps(plain))


@dataclasses.dataclass(frozen=True)
class Earlier:
    """What a checkpoint says of the steps behind it.

    Attributes:
        step: how many there are.
        seconds: what they took.
        losses, figures: of the last of them; checkpoints of old have none.
    """

    step: int = 0
    seconds: float = 0.0
    losses: tuple[float, ...] = ()
    figures: tuple[float, ...] = ()


def resume(config: PretrainConfig, net: nn.Module, optimizer: Any) -> Earlier:
    """Load what there is to go on from.

    Raises:
        ConfigError: there is an earlier run, which is not to be resumed.
        CheckpointError: its checkpoint is damaged, or belongs to another configuration.
    """
    path = config.out / CHECKPOINT
    if not path.exists():
        return Earlier()
    if not config.resume:
        raise ConfigError(
            f"{config.out} holds an earlier run: add --resume to continue it, "
            "or choose another --out"
        )
    state = load_state(path)
    if "config" not in state or "net" not in state:
        raise CheckpointError(f"{path} is no checkpoint of pre-training")
    with restoring(path):
        stored = json.loads(state["config"])
        if isinstance(stored.get("data"), str):  # before there were mixtures
            stored["data"] = [stored["data"]]
        if differ := other_options(stored, identity(config), identity(PretrainConfig())):
            raise CheckpointError(
                f"{path} was made with another configuration ({differ}): "
                "resume with the same options, or choose another --out"
            )
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        losses, figures = (tuple(state.get(key, ())) for key in ("losses", "chamfers"))
        return Earlier(int(state["step"]), float(state["seconds"]), losses, figures)
