"""Backbone folders: ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import CheckpointError
from ..core.fields import build
from ..core.files import read_json, write_json
from ..core.limits import TooLargeError, Within, room_for
from ..core.plain import shown
from ..core.shards import write_weights
from ..core.tensors import check_numbers
from .base import BACKBONES, Backbone, BackboneConfig


def save_backbone(
    backbone: Backbone,
    folder: Path | str,
    dtype: torch.dtype = torch.float32,
    largest: int = 0,
) -> Path:
    """Write a backbone's own tensors and configuration to ``folder``; returns it.

    Args:
        backbone: what to write.
        folder: where to.
        dtype: number format of the file; rounding changes the fingerprint.
        largest: bytes of a file, above which several are written; 0 writes one.
    """
    folder = Path(folder)
    state = backbone.state_dict()
    keys = backbone.base_keys or tuple(state)
    tensors = {key: state[key].detach().cpu() for key in keys}
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    write_weights(folder, tensors, largest)
    write_json(folder / "config.json", {"family": backbone.name, **asdict(backbone.config)})
    return folder


def read_config(path: Path) -> tuple[type[Backbone], BackboneConfig]:
    """The family and configuration in a ``config.json``.

    Raises:
        PointAdaptError: it is missing, not JSON, or no backbone's.
    """
    values = read_json(path)
    if not isinstance(values, dict) or not isinstance(values.get("family"), str):
        raise CheckpointError(f"{path} names no family of backbones, so it is no backbone's")
    cls = BACKBONES[values.pop("family")]
    return cls, build(cls.config_class, values, str(path))


def build_to_fill(
    cls: type[Backbone], config: BackboneConfig, stored: int, source: str
) -> Backbone:
    """A backbone of this configuration, with random weights, if ``stored`` numbers may fill it.

    Args:
        cls: its family.
        config: what the weights' file says of them.
        stored: how many numbers it holds.
        source: the file, for the message.

    Raises:
        CheckpointError: the configuration is of a network that is larger by far.
    """
    try:
        with Within(room_for(stored)):
            return cls(config)
    except TooLargeError as error:
        sizes = ", ".join(f"{key}={getattr(config, key)}" for key in ("dim", "depth"))
        raise CheckpointError(
            f"{source}: the weights hold {stored:,} numbers, but the configuration ({sizes}) is of "
            "a far larger network: the two do not belong together"
        ) from error


def fill(backbone: Backbone, tensors: dict[str, Tensor], source: str) -> list[str]:
    """Copy ``tensors`` into ``backbone``; returns the names it has and ``tensors`` lacks.

    Raises:
        CheckpointError: a tensor that the backbone lacks, that has another shape or another type
            of number, or holds NaN; or no transformer block at all.
    """
    state = backbone.state_dict()
    for key, value in tensors.items():
        if key not in state:
            raise CheckpointError(f"{source}: tensor {shown(key)} is none of {backbone.name}'s")
        if value.shape != state[key].shape:
            raise CheckpointError(
                f"{source}: tensor {shown(key)} has shape {tuple(value.shape)}, but this "
                f"configuration needs {tuple(state[key].shape)}"
            )
        if value.is_floating_point() != state[key].is_floating_point():
            raise CheckpointError(
                f"{source}: tensor {shown(key)} is of type {value.dtype}, not {state[key].dtype}"
            )
    if not any(".blocks." in f".{key}" for key in tensors):
        raise CheckpointError(f"{source}: holds no transformer block, so it is no backbone")
    check_numbers(tensors, source)
    with torch.no_grad():
        for key, value in tensors.items():
            state[key].copy_(value)
    return [key for key in state if key not in tensors]
