"""Files of torch-pointcloud (github.com/arthurdjn/pytorch-pointcloud): official weights, renamed.

That library keeps safetensors of Point-MAE, Point-BERT and PointGPT on the Hugging Face Hub, under
the licence of their source. Its modules are PyG's ``MLP`` (``lins.0``, ``norms.0.module``), where
the released code has ``Sequential``. Here its names become the official ones again, so that all
that reads official files reads these. The names and the pinned commits are those of its version
0.0.18; the files themselves were not downloaded. (Its later versions add PCP-MAE, ACT and ReCon,
whose names and commits are not known here.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

V = TypeVar("V")


def mirror(name: str, commit: str) -> str:
    """The address of the weights ``name`` as of ``commit``."""
    return f"hf://torch-pointcloud/{name}@{commit}/model.safetensors"


# (pattern, official name, what the number of a layer is multiplied by and what is added)
_NAMES = (
    (r"\.local_mlp\.lins\.(\d)\.", ".first_conv.{}.", 3, 0),
    (r"\.local_mlp\.norms\.(\d)\.module\.", ".first_conv.{}.", 3, 1),
    (r"\.global_mlp\.lins\.(\d)\.", ".second_conv.{}.", 3, 0),
    (r"\.global_mlp\.norms\.(\d)\.module\.", ".second_conv.{}.", 3, 1),
    (r"\bpos_embed\.lins\.(\d)\.", "pos_embed.{}.", 2, 0),
    (r"\bdecoder_pos_embed\.lins\.(\d)\.", "decoder_pos_embed.{}.", 2, 0),
    (r"\bincrease_dim\.lins\.(\d)\.", "increase_dim.{}.", 2, 0),
    (r"\bcls_head\.lins\.(\d)\.", "cls_head.{}.", 2, 0),
    (r"(?<=layers\.)(\d{1,4})\.mlp\.lins\.0\.", "{}.mlp.0.", 1, 0),
    (r"(?<=layers\.)(\d{1,4})\.mlp\.lins\.1\.", "{}.mlp.2.", 1, 0),
    (r"\.mlp\.lins\.(\d)\.", ".mlp.fc{}.", 1, 1),
)


def official(tensors: Mapping[str, V]) -> dict[str, V]:
    """``tensors`` under their official names; those of any other file as they are."""
    if not any(".local_mlp.lins." in key for key in tensors):
        return dict(tensors)
    names = {_layers(key): value for key, value in tensors.items()}
    if any(key.startswith("blocks.layers.") for key in names):
        return _pointgpt(names)
    if "lm_head.weight" in names:
        return {f"transformer_q.{_listed(key)}": value for key, value in names.items()}
    if any(key.startswith("encoder.encoder.") for key in names):
        names = {key.removeprefix("encoder."): value for key, value in names.items()}
    return _with_head(names, "cls_head_finetune.")


def _pointgpt(names: Mapping[str, V]) -> dict[str, V]:
    if not any(key.startswith("head.") for key in names):
        return {f"GPT_Transformer.{key}": value for key, value in names.items()}
    names = {re.sub(r"^cls_norm\.", "blocks.cls_norm.", key): v for key, v in names.items()}
    return _with_head(names, "blocks.cls_head_finetune.")


def _with_head(names: Mapping[str, V], prefix: str) -> dict[str, V]:
    """The classification head's layers as the released Sequential numbers them."""
    step = 4 if any(key.startswith("head.norms.") for key in names) else 3
    out: dict[str, V] = {}
    for key, value in names.items():
        layer = re.fullmatch(r"head\.(lins|norms)\.(\d)\.(?:module\.)?(\w+)", key)
        if layer:
            number = step * int(layer[2]) + (layer[1] == "norms")
            out[f"{prefix}{number}.{layer[3]}"] = value
        else:
            out[re.sub(r"^norm_f\.", "norm.", _listed(key))] = value
    return out


def _layers(key: str) -> str:
    for pattern, name, times, plus in _NAMES:
        found = re.search(pattern, key)
        if found:
            number = times * int(found[1]) + plus
            key = key[: found.start()] + name.format(number) + key[found.end() :]
    return key


def _listed(key: str) -> str:
    """Point-BERT's blocks are a list of their own there: ``blocks.0`` for ``blocks.blocks.0``."""
    return re.sub(r"^blocks\.(?=\d)", "blocks.blocks.", key)
