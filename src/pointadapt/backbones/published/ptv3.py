"""Sonata, Concerto, Utonia and Point Transformer V3: their files, as the backbone ``ptv3``.

Taken are encoder and decoder. Left over are the mask token, which only pre-training reads, and the
linear layer to the classes of the data that a segmentor was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...core.errors import CheckpointError
from ..ptv3 import VoxelConfig, recipe_of
from ..voxel.attention import RelativePositions, Rope
from ..voxel.config import PTv3Config
from ..voxel.released import our_name
from ..voxel.sizes import LICENCES
from .layouts import Layout, add_layouts, width
from .tags import Tag, add_tags

if TYPE_CHECKING:
    from ...core.config import Published

UNUSED = ("stem.mask_token", "head.")
HEAD, TURNED = 16, 18  # channels of a head in all published sizes; with rotary embedding
BASE = 10.0  # of rotary embedding
PATCHES = (1024, 512, 256, 128, 64, 48, 32)  # which of them, the table of relative positions tells


def rename(key: str) -> str | None:
    """A released key to ours; None for what has no place here."""
    name = our_name(key)
    return None if name is None or name.startswith(UNUSED) else f"net.{name}"


class PTv3Layout(Layout):
    """Works out the frequencies of rotary embeddings, which converted files may lack."""

    def read(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = super().read(tensors)
        first = found.get("net.stages.0.blocks.0.attn.qkv.weight")
        if first is None or not _turned(first.shape[1]):
            return found
        for key in [k for k in found if k.endswith("attn.qkv.weight")]:
            name = key.removesuffix("qkv.weight") + "rope.frequencies"
            found.setdefault(name, Rope(TURNED, BASE).frequencies)
        return found


def infer_config(state: Mapping[str, Tensor], facts: Published, source: str) -> VoxelConfig:
    """The configuration that tensors (under our names) were made with.

    A PTv3 segmentor's arithmetic is that of the published weights, of Pointcept v1.5.1.

    Raises:
        CheckpointError: a tensor that sizes are read from is missing.
    """
    del facts
    stem = "conv" if "net.stem.conv.weight" in state else "linear"
    key = f"net.stem.{stem}.weight"
    encoder, decoder = (_stages(state, part, source) for part in ("stages", "decoder"))
    if not encoder["depths"]:
        raise CheckpointError(f"{source} holds no transformer block")
    network = PTv3Config(
        in_channels=width(state, key, source, -1), **encoder,
        **{f"decoder_{name}": value for name, value in decoder.items()},
        **_form(state, source), form="ptv3" if stem == "conv" else "sonata",
    )  # fmt: skip
    if network.form == "ptv3":
        network = replace(network, arithmetic="v1.5.1")
    return VoxelConfig(network=network, recipe=recipe_of(network))


def _form(state: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    block, dim = "net.stages.0.blocks.0.", width(state, "net.stages.0.blocks.0.attn.qkv.weight",
                                                 source, 1)  # fmt: skip
    norms = sum(f"{block}norm1.norm.{k}.weight" in state for k in range(100))
    return {
        "mlp_ratio": width(state, f"{block}mlp.fc1.weight", source) // dim,
        "relative_positions": f"{block}attn.rpe.table" in state,
        "rope_base": BASE if _turned(dim) else 0.0,
        "layer_scale": 1.0 if f"{block}ls1.gamma" in state else 0.0,  # the file's own fill it
        "conditions": norms,
    }


def _stages(state: Mapping[str, Tensor], part: str, source: str) -> dict[str, tuple[int, ...]]:
    """Depths, widths, heads and patches of the encoder's or decoder's stages."""
    rows = []
    for s in count():
        at = f"net.{part}.{s}.blocks"
        depth = next(j for j in count() if f"{at}.{j}.attn.qkv.weight" not in state)
        if not depth:
            break
        dim = width(state, f"{at}.0.attn.qkv.weight", source, 1)
        first = width(state, "net.stages.0.blocks.0.attn.qkv.weight", source, 1)
        table = state.get(f"{at}.0.attn.rpe.table")
        heads = dim // (TURNED if _turned(first) else HEAD) if table is None else table.shape[1]
        rows.append((depth, dim, heads, PATCHES[0] if table is None else _patch(len(table))))
    names = ("depths", "channels", "heads", "patch_sizes")
    return dict(zip(names, zip(*rows, strict=True) if rows else ((),) * 4, strict=True))


def _turned(width: int) -> bool:
    """Whether a network whose first stage is so wide has rotary embedding, as Utonia's have."""
    return width % TURNED == 0


def _patch(rows: int) -> int:
    """The patch size whose table of relative positions has so many rows."""
    for size in PATCHES:
        if 3 * (2 * RelativePositions.reach(size) + 1) == rows:
            return size
    raise CheckpointError(f"a table of {rows} relative positions is of no published patch size")


def _is_ours(tensors: Mapping[str, Tensor]) -> bool:
    return any(key.removeprefix("backbone.").startswith("embedding.stem.") for key in tensors)


add_layouts(
    PTv3Layout(
        name="ptv3", family="ptv3", title="Sonata, Concerto, Utonia, Point Transformer V3",
        fits=_is_ours, rename=rename, config=infer_config,
    )
)  # fmt: skip

_SOURCES = {
    "sonata": "Wu et al., Sonata, CVPR 2025; github.com/facebookresearch/sonata",
    "concerto": "Zhang et al., Concerto, NeurIPS 2025; github.com/Pointcept/Concerto",
    "utonia": "Utonia; github.com/Pointcept/Utonia",
    "ptv3": "Wu et al., Point Transformer V3, CVPR 2024; github.com/Pointcept/PointTransformerV3",
}
_HOSTS = {"sonata": "facebook/sonata", "concerto": "Pointcept/Concerto",
          "utonia": "Pointcept/Utonia", "ptv3": "Pointcept/PointTransformerV3"}  # fmt: skip
_COUNTS = {
    "sonata": 108_461_328, "sonata_small": 38_648_960, "concerto_tiny": 4_860_496,
    "concerto_small": 38_648_960, "concerto_base": 108_461_328, "concerto_large": 207_667_392,
    "utonia": 137_253_690, "utonia_small": 37_248_480, "utonia_tiny": 9_326_088,
    "ptv3_scannet": 46_166_272, "ptv3_scannet200": 46_166_272, "ptv3_nuscenes": 46_158_272,
    "ptv3_s3dis_rpe": 46_189_708,
}  # fmt: skip
_FOLDERS = {
    "ptv3_scannet": "scannet-semseg-pt-v3m1-0-base",
    "ptv3_scannet200": "scannet200-semseg-pt-v3m1-0-base",
    "ptv3_nuscenes": "nuscenes-semseg-pt-v3m1-0-base",
    "ptv3_s3dis_rpe": "s3dis-semseg-pt-v3m1-0-rpe",
}


def _tag(name: str, size: str) -> Tag:
    kind = name.split("_", maxsplit=1)[0]
    page = f"https://huggingface.co/{_HOSTS[kind]}"
    folder = _FOLDERS.get(name)
    return Tag(
        name=name.replace("_", "-"), family="ptv3", size=size, source=_SOURCES[kind],
        licence=LICENCES[size], layout="ptv3", verified="keys, shapes, arithmetic",
        url="" if folder else f"hf://{_HOSTS[kind]}/{name}.pth",
        page=f"{page}/tree/main/{folder}/model" if folder else page, parameters=_COUNTS[size],
    )  # fmt: skip


add_tags(
    *(_tag(size, size) for size in _COUNTS),
    _tag("concerto_base_origin", "concerto_base"),
    _tag("concerto_large_origin", "concerto_large"),
)
