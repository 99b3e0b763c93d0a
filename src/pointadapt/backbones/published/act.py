"""ACT (Dong et al., ICLR 2023): Point-MAE's network, taught by frozen 2D and language models.

Its file holds the teacher too (``dvae_tokenizer``), which is left over. The CLS token is there, but
the released pre-training (``cls_loss: False``) gives it no loss of its own.
"""

from __future__ import annotations

from ..point_vit import infer_config, renamer
from .layouts import Layout, add_layouts, starting
from .tags import Tag, add_tags

add_layouts(
    Layout(
        name="act",
        family="point_vit",
        title="ACT",
        fits=starting("ACT_encoder."),
        rename=renamer("ACT_encoder."),
        config=infer_config,
    )
)

add_tags(
    Tag(
        name="act-small",
        family="point_vit",
        size="small",
        source="Dong et al., Autoencoders as Cross-Modal Teachers, ICLR 2023; "
        "github.com/RunpeiDong/ACT",
        licence="MIT",
        page="https://drive.google.com/file/d/1T8bzdJfzdfQtCLu3WU9yDZTgBrLXSDcE/view",
        layout="act",
        accuracy="full fine-tuning: ScanObjectNN PB_T50_RS 88.21, OBJ_BG 93.29, OBJ_ONLY 91.91; "
        "ModelNet40 93.70",
        verified="keys, shapes, arithmetic",
        parameters=21_825_792,
    )
)
