"""PCP-MAE (Zhang et al., NeurIPS 2024): Point-MAE's network that also learns to predict centres.

Its blocks and keys are Point-MAE's; its position MLP reads sines and cosines of the centres instead
of their coordinates (:class:`SinePosition`), and is 384 wide.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..point_vit import has_sine_position, infer_config, renamer
from .layouts import Layout, add_layouts
from .tags import Tag, add_tags


def _is_tuned(given: Mapping[str, Tensor]) -> bool:
    return "cls_head_finetune.0.weight" in given and (
        "pos_embed.0.weight" in given and has_sine_position(given)
    )


add_layouts(
    Layout(
        name="pcp_mae",
        family="point_vit",
        title="PCP-MAE",
        fits=lambda given: "MAE_encoder.mask_pos_token" in given or _is_tuned(given),
        rename=renamer("MAE_encoder."),
        config=infer_config,
    )
)

add_tags(
    Tag(
        name="pcp_mae-small",
        family="point_vit",
        size="small_sine",
        source="Zhang et al., PCP-MAE: Learning to Predict Centers for Point Masked Autoencoders, "
        "NeurIPS 2024; github.com/aHapBean/PCP-MAE",
        licence="MIT",
        page="https://drive.google.com/drive/folders/1smQMWBBEdMOXVAzIBs3xCBrcyQDg8_GS",
        layout="pcp_mae",
        accuracy="full fine-tuning: ScanObjectNN PB_T50_RS 90.35, OBJ_BG 95.52, OBJ_ONLY 94.32; "
        "ModelNet40 94.1, 94.4 with voting (best of about eight seeds)",
        verified="keys, shapes, arithmetic",
        parameters=22_071_424,
    )
)
