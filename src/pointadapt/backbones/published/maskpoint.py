"""MaskPoint (Liu et al., ECCV 2022): Point-BERT's network, trained to tell real points from fake.

Its file names the network ``transformer_q`` as Point-BERT's does, with other heads. The weights for
detection (ScanNet) are of another network and not read.
"""

from __future__ import annotations

from ..point_vit import infer_config, renamer
from .layouts import Layout, add_layouts, starting
from .tags import Tag, add_tags

_CHECKPOINTS = "https://static.hliu.cc/files/projects/maskpoint/checkpoints"

add_layouts(
    Layout(
        name="maskpoint",
        family="point_vit",
        title="MaskPoint",
        fits=starting("transformer_q.bin_cls_head."),
        rename=renamer("transformer_q."),
        config=infer_config,
    )
)

add_tags(
    Tag(
        name="maskpoint-small",
        family="point_vit",
        size="small_reduced",
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
