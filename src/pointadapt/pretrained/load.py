"""Backbones by name: bundled ones, folders, fetched weights, random ones."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torch

from ..backbones.base import BACKBONES, Backbone
from ..backbones.folder import build_to_fill, fill, read_config
from ..backbones.published.tags import all_tags
from ..core.errors import CheckpointError, UnknownNameError
from ..core.fields import BUNDLED
from ..core.shards import read_weights, weights_numbers


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
        cls, config = read_config(folder / "config.json")
        config = replace(config, **changes)  # type: ignore[arg-type]
        backbone = build_to_fill(cls, config, weights_numbers(folder), str(folder))
    tensors = read_weights(folder)
    for key in fill(backbone, tensors, str(folder)):
        if key not in cls.optional:
            raise CheckpointError(f"{folder}: tensor {key!r} is missing")
    backbone.seed = seed
    return backbone.seal(tensors)
