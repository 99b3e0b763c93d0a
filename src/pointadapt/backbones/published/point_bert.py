"""Point-BERT (Yu et al., CVPR 2022): a :class:`PointViT` whose patch encoder is 256 wide.

Its file holds the network twice: ``transformer_q``, which is fine-tuned, and its moving average
``transformer_k``, which is not; and the tokenizer ``dvae``. ``reduce_dim`` takes the 256 channels
of a patch to D. The CLS token is pre-trained.

Its fine-tuned file has a head of one hidden layer without BatchNorm. The released ScanObjectNN
configurations give it 40 outputs, as ModelNet40's, of which the last 25 are never a label.
"""

from __future__ import annotations

from ..point_vit import infer_config, renamer
from .layouts import Layout, add_layouts, starting
from .tags import Tag, add_tags

add_layouts(
    Layout(
        name="point_bert",
        family="point_vit",
        title="Point-BERT",
        fits=lambda given: starting("transformer_q.")(given) or "reduce_dim.weight" in given,
        fallback=True,
        rename=renamer("transformer_q."),
        config=infer_config,
        scan=(64, 1024),
    )
)

add_tags(
    Tag(
        name="point_bert-small",
        family="point_vit",
        size="small_reduced",
        source="Yu et al., Point-BERT: Pre-training 3D Point Cloud Transformers with Masked Point "
        "Modeling, CVPR 2022; github.com/Julie-tang00/Point-BERT",
        licence="MIT",
        url="https://cloud.tsinghua.edu.cn/f/202b29805eea45d7be92/?dl=1",
        page="https://github.com/Julie-tang00/Point-BERT",
        layout="point_bert",
        accuracy="full fine-tuning: ScanObjectNN PB_T50_RS 83.07, OBJ_BG 87.43, OBJ_ONLY 88.12; "
        "ModelNet40 92.67, 93.24 with voting",
        verified="keys, shapes, arithmetic",
        parameters=21_858_816,
    )
)
