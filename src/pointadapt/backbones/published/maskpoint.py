"""MaskPoint (Liu et al., ECCV 2022): Point-BERT's network, trained to tell real points from fake.

Its code cuts clouds into patches with ``pointops``, whose farthest point sampling skips no point
(rule "plain"), not with ``pointnet2_ops`` as the others.

Its file names the network ``transformer_q`` as Point-BERT's does, with other heads. The weights for
detection (ScanNet) are of another network and not read.

A file fine-tuned on ModelNet40 has Point-BERT's names and shapes: only a person can tell the two
apart. One fine-tuned on ScanObjectNN has a wider head (512, 256) with BatchNorm, and 40 outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from ..point_vit import PointViTConfig, infer_config, renamer
from .layouts import Layout, add_layouts, starting
from .tags import Tag, add_tags

if TYPE_CHECKING:
    from ...core.config import Published

_CHECKPOINTS = "https://static.hliu.cc/files/projects/maskpoint/checkpoints"


def _has_wide_head(given: Mapping[str, Tensor]) -> bool:
    first = given.get("cls_head_finetune.0.weight")
    return "reduce_dim.weight" in given and first is not None and first.shape[:1] == (512,)


def _config(state: Mapping[str, Tensor], facts: Published, source: str) -> PointViTConfig:
    return replace(infer_config(state, facts, source), sampling_rule="plain")


add_layouts(
    Layout(
        name="maskpoint",
        family="point_vit",
        title="MaskPoint",
        fits=lambda given: starting("transformer_q.bin_cls_head.")(given) or _has_wide_head(given),
        rename=renamer("transformer_q."),
        config=_config,
        scan=(64, 1024),
        scan_widths=(512, 256),
    )
)

add_tags(
    Tag(
        name="maskpoint-small",
        family="point_vit",
        size="small_reduced_plain",
        source="Liu et al., Masked Discrimination for Self-Supervised Learning on Point Clouds, "
        "ECCV 2022; github.com/WisconsinAIVision/MaskPoint",
        licence="BSD-3-Clause",
        url=f"{_CHECKPOINTS}/pretrain_shapenet.pth",
        page="https://github.com/WisconsinAIVision/MaskPoint",
        layout="maskpoint",
        accuracy="full fine-tuning: ScanObjectNN PB_T50_RS 84.6, OBJ_BG 89.3, OBJ_ONLY 89.7; "
        "ModelNet40 93.8",
        verified="keys, shapes, arithmetic",
        parameters=21_858_816,
    )
)
