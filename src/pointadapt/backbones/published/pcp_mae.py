"""PCP-MAE (Zhang et al., NeurIPS 2024): Point-MAE's network that also learns to predict centres.

Its blocks and keys are Point-MAE's; its position MLP reads sines and cosines of the centres instead
of their coordinates (:class:`SinePosition`), and is 384 wide.
"""

from __future__ import annotations

from ..point_vit import infer_config, renamer
from .layouts import Layout, add_layouts
from .tags import Tag, add_tags

add_layouts(
    Layout(
        name="pcp_mae",
        family="point_vit",
        title="PCP-MAE",
        fits=lambda keys: "MAE_encoder.mask_pos_token" in keys,
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
