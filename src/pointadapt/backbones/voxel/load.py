"""Published files of the Point Transformer V3 family, as networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.errors import CheckpointError, UnknownNameError
from ...core.plain import shown
from ...core.tensors import check_numbers, read_tensors
from .config import PTv3Config
from .network import PTv3
from .released import our_config, our_name
from .sizes import SIZES

MAY_LACK = ("stem.mask_token", "attn.rope.frequencies")  # ends of names; the latter are worked out


def load_released(path: Path | str, size: str = "", **changes: Any) -> PTv3:
    """The network of a published file, in evaluation mode and float32; nothing in it is run.

    Args:
        path: ``.pth`` or ``.safetensors`` of Sonata, Concerto, Utonia or a segmentor of Pointcept.
        size: a name of :data:`.sizes.SIZES`; by default the file's own ``config`` tells it.
        changes: configuration values to change, such as ``patch_rule="min"``.

    Raises:
        CheckpointError: it cannot be read, tells no configuration, or its tensors do not fit.
        UnknownNameError: no such size.
    """
    if size and size not in SIZES:
        raise UnknownNameError("published size", size, SIZES)
    held = read_tensors(Path(path))
    tensors = _named(held, str(path))
    config = SIZES[size] if size else _config_of(held, str(path))
    config = replace(config, mask_token="stem.mask_token" in tensors)
    return _filled(replace(config, **changes), tensors, str(path)).eval()


def _named(held: Any, source: str) -> dict[str, Tensor]:
    """The tensors under our names.

    Raises:
        CheckpointError: there are none, or one of another network.
    """
    state = held.get("state_dict", held) if isinstance(held, Mapping) else {}
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{source} holds no tensors of a network")
    for key in tensors:
        if our_name(key) is None:
            raise CheckpointError(
                f"{source}: tensor {shown(key)} is none of the Point Transformer V3 family"
            )
    return {str(our_name(key)): value for key, value in tensors.items()}


def _config_of(held: Any, source: str) -> PTv3Config:
    constructor = held.get("config") if isinstance(held, Mapping) else None
    try:
        return our_config({"traceable": True, **constructor})  # type: ignore[dict-item]
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{source} does not say how its network is built: pass size, one of {', '.join(SIZES)}"
        ) from error


def _filled(config: PTv3Config, tensors: Mapping[str, Tensor], source: str) -> PTv3:
    check_numbers(tensors, source)
    with torch.random.fork_rng(devices=[]):
        net = PTv3(config)
    state = net.state_dict()
    odd = sorted(
        key for key in tensors if key not in state or tensors[key].shape != state[key].shape
    )
    lack = sorted(key for key in state if key not in tensors and not key.endswith(MAY_LACK))
    if odd or lack:
        raise CheckpointError(
            f"{source}: {len(odd)} tensors have no place in this configuration and {len(lack)} are "
            f"missing, such as {shown((odd or lack)[0])}"
        )
    net.load_state_dict({**state, **tensors})
    return net
