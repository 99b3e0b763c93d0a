"""The released names of the Point Transformer V3 family's tensors and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .config import PTv3Config

_PARTS = (
    (r"embedding\.stem\.|embedding\.(?=mask_token)", "stem."),
    (r"enc\.enc(\d+)\.down\.norm\.0\.", r"stages.\1.down.norm."),
    (r"enc\.enc(\d+)\.block(\d+)\.", r"stages.\1.blocks.\2."),
    (r"enc\.enc(\d+)\.", r"stages.\1."),
    (r"dec\.dec(\d+)\.up\.proj_skip\.0\.", r"decoder.\1.up.skip.linear."),
    (r"dec\.dec(\d+)\.up\.proj_skip\.1\.", r"decoder.\1.up.skip.norm."),
    (r"dec\.dec(\d+)\.up\.proj\.0\.", r"decoder.\1.up.coarse.linear."),
    (r"dec\.dec(\d+)\.up\.proj\.1\.", r"decoder.\1.up.coarse.norm."),
    (r"dec\.dec(\d+)\.block(\d+)\.", r"decoder.\1.blocks.\2."),
    (r"seg_head\.", "head."),
)
_IN_BLOCK = {
    "cpe.0.": "cpe.conv.", "cpe.1.": "cpe.linear.", "cpe.2.": "cpe.norm.",
    "norm1.0.": "norm1.", "norm2.0.": "norm2.", "ls1.0.": "ls1.", "ls2.0.": "ls2.",
    "mlp.0.": "mlp.", "attn.rpe.rpe_table": "attn.rpe.table",
    "attn.rope.inv_freq": "attn.rope.frequencies",
}  # fmt: skip
_BLOCK = re.compile(r"((?:stages|decoder)\.\d+\.blocks\.\d+\.)(.+)")


def our_name(key: str) -> str | None:
    """A released key to ours; None for one of another network."""
    key = key.removeprefix("module.").removeprefix("backbone.")
    for pattern, name in _PARTS:
        found = re.match(pattern, key)
        if found:
            key = found.expand(name) + key[found.end() :]
            break
    else:
        return None
    block = _BLOCK.fullmatch(key)
    if block is None:
        return key
    rest = block[2]
    for old, new in _IN_BLOCK.items():
        if rest.startswith(old):
            return block[1] + new + rest[len(old) :]
    return block[1] + rest


def our_config(constructor: Mapping[str, Any], **more: Any) -> PTv3Config:
    """Our configuration for the released constructor's settings; ``more`` overrides.

    Shuffling, flash attention and dropout are left out: what they change is no part of the weights.
    """
    given = dict(constructor)
    sonata = "traceable" in given
    conditions = len(given.get("pdnorm_conditions", ())) if given.get("pdnorm_bn") else 0
    values: dict[str, Any] = {
        "in_channels": given["in_channels"],
        "depths": tuple(given["enc_depths"]),
        "channels": tuple(given["enc_channels"]),
        "heads": tuple(given["enc_num_head"]),
        "patch_sizes": tuple(given["enc_patch_size"]),
        "form": "sonata" if sonata else "ptv3",
        "relative_positions": bool(given.get("enable_rpe")),
        "rope_base": float(given.get("rope_base") or 0),
        "layer_scale": float(given.get("layer_scale") or 0),
        "mask_token": bool(given.get("mask_token")),
        "mlp_ratio": given.get("mlp_ratio", 4),
        "conditions": conditions,
    }
    if not given.get("enc_mode", False):
        values |= {
            "decoder_depths": tuple(given["dec_depths"]),
            "decoder_channels": tuple(given["dec_channels"]),
            "decoder_heads": tuple(given["dec_num_head"]),
            "decoder_patch_sizes": tuple(given["dec_patch_size"]),
        }
    return PTv3Config(**{**values, **more})
