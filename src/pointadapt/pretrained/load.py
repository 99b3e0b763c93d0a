"""Backbone folders: ``config.json`` and ``model.safetensors``, and where they come from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from ..backbones.base import BACKBONES, Backbone, BackboneConfig
from ..backbones.published.tags import all_tags
from ..core.errors import CheckpointError, UnknownNameError
from ..core.fields import build
from ..core.files import atomic, first_line, read_json, write_json
from ..core.shards import read_weights, write_weights

BUNDLED = ("tiny",)


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
    from dataclasses import asdict

    folder = Path(folder)
    state = backbone.state_dict()
    keys = backbone.base_keys or tuple(state)
    tensors = {key: state[key].detach().cpu() for key in keys}
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    write_weights(folder, tensors, largest)
    write_json(folder / "config.json", {"family": backbone.name, **asdict(backbone.config)})
    return folder


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """``tensors`` as one safetensors file, atomically.

    Raises:
        PointAdaptError: the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary)
        except SafetensorError as error:  # it reports a full disk so
            raise OSError(first_line(error)) from error
        temporary.chmod(mode)  # safetensors itself makes files that only their owner may read


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file, so copy or make it anew: "
            f"{first_line(error)}"
        ) from error


def find_backbone(name: str | Path) -> Path | None:
    """The folder that ``name`` means, bundled, a path, or in the cache; None if none of them."""
    from .fetch import in_cache

    if str(name) in BUNDLED:
        return Path(str(resources.files("pointadapt") / "weights" / str(name)))
    return Path(name) if (Path(name) / "config.json").is_file() else in_cache(str(name))


def check_backbone(name: str | Path) -> None:
    """Check that :func:`load_backbone` knows ``name``; nothing is read or fetched.

    Raises:
        UnknownNameError: nothing is called so.
    """
    from .fetch import can_fetch

    if find_backbone(name) is not None or can_fetch(str(name)):
        return
    family, _, size = str(name).partition(":")
    if family not in BACKBONES or not size:
        known = [f"{f}:{s}" for f in BACKBONES for s in BACKBONES[f].sizes]
        known += [*BUNDLED, *all_tags()]
        raise UnknownNameError("backbone or backbone folder", str(name), known)
    if size not in BACKBONES[family].sizes:
        raise UnknownNameError(f"size of {family}", size, BACKBONES[family].sizes)


def load_backbone(name: str | Path, *, seed: int = 0, **changes: object) -> Backbone:
    """A backbone by name.

    Args:
        name: a bundled backbone ("tiny"), a backbone folder, a tag or address of published weights
            (see :func:`pointadapt.pretrained.fetch.fetch`, which gets them), or "family:size"
            ("point_vit:small") for random weights from ``seed``.
        seed: fixes every tensor that the weights do not hold.
        changes: configuration values to change, such as ``groups=128``.

    Raises:
        CheckpointError: the folder is damaged, or its tensors do not fit its configuration.
        FetchError: published weights cannot be had.
        UnknownNameError: nothing is called so.
    """
    from dataclasses import replace

    from .fetch import can_fetch, fetch

    if find_backbone(name) is None and can_fetch(str(name)):
        name = Path(fetch(str(name))["folder"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        folder = find_backbone(name)
        if folder is None:
            check_backbone(name)
            family, _, size = str(name).partition(":")
            cls = BACKBONES[family]
            backbone = cls(replace(cls.sizes[size], **changes))  # type: ignore[arg-type]
            backbone.seed = seed
            return backbone.seal()
        cls, config = _read_config(folder / "config.json")
        backbone = cls(replace(config, **changes))  # type: ignore[arg-type]
    tensors = read_weights(folder)
    for key in fill(backbone, tensors, str(folder)):
        if key not in cls.optional:
            raise CheckpointError(f"{folder}: tensor {key!r} is missing")
    backbone.seed = seed
    return backbone.seal(tensors)


def _read_config(path: Path) -> tuple[type[Backbone], BackboneConfig]:
    values = read_json(path)
    if not isinstance(values, dict) or not isinstance(values.get("family"), str):
        raise CheckpointError(f"{path} names no family of backbones, so it is no backbone's")
    cls = BACKBONES[values.pop("family")]
    return cls, build(cls.config_class, values, str(path))


def fill(backbone: Backbone, tensors: dict[str, Tensor], source: str) -> list[str]:
    """Copy ``tensors`` into ``backbone``; returns the names it has and ``tensors`` lacks.

    Raises:
        CheckpointError: a tensor that the backbone lacks or that has another shape, or no
            transformer block at all.
    """
    state = backbone.state_dict()
    for key, value in tensors.items():
        if key not in state:
            raise CheckpointError(f"{source}: tensor {key!r} is none of {backbone.name}'s")
        if value.shape != state[key].shape:
            raise CheckpointError(
                f"{source}: tensor {key!r} has shape {tuple(value.shape)}, but this "
                f"configuration needs {tuple(state[key].shape)}"
            )
    if not any(key.startswith("blocks.") for key in tensors):
        raise CheckpointError(f"{source}: holds no transformer block, so it is no backbone")
    with torch.no_grad():
        for key, value in tensors.items():
            state[key].copy_(value)
    return [key for key in state if key not in tensors]
