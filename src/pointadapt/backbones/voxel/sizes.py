"""Published sizes of the Point Transformer V3 family, and the licences of their weights."""

from __future__ import annotations

from dataclasses import replace

from .config import PTv3Config

_BASE = PTv3Config(mask_token=True)
_TINY = replace(
    _BASE, depths=(1, 1, 1, 3, 1), channels=(16, 32, 64, 128, 256), heads=(1, 2, 4, 8, 16)
)
_SMALL = replace(
    _BASE, depths=(2, 2, 2, 6, 2), channels=(32, 64, 128, 256, 512), heads=(2, 4, 8, 16, 32)
)
_LARGE = replace(_BASE, channels=(64, 128, 256, 512, 768), heads=(4, 8, 16, 32, 48))
_UTONIA = replace(_BASE, channels=(54, 108, 216, 432, 576), rope_base=10.0)
_SEGMENTOR = replace(
    _SMALL, mask_token=False, form="ptv3", arithmetic="v1.5.1", in_channels=6,
    decoder_depths=(2, 2, 2, 2), decoder_channels=(64, 64, 128, 256),
    decoder_heads=(4, 4, 8, 16), decoder_patch_sizes=(1024, 1024, 1024, 1024),
)  # fmt: skip

SIZES = {
    "sonata": _BASE,
    "sonata_small": _SMALL,
    "concerto_tiny": _TINY,
    "concerto_small": _SMALL,
    "concerto_base": _BASE,
    "concerto_large": _LARGE,
    "utonia": _UTONIA,
    "utonia_small": replace(
        _UTONIA, depths=(2, 2, 2, 6, 2), channels=(36, 72, 144, 288, 432), heads=(2, 4, 8, 16, 24)
    ),
    "utonia_tiny": replace(
        _UTONIA, depths=(2, 2, 2, 6, 2), channels=(18, 36, 72, 144, 216), heads=(1, 2, 4, 8, 12)
    ),
    "ptv3_scannet": replace(_SEGMENTOR, classes=20),
    "ptv3_scannet200": replace(_SEGMENTOR, classes=200),
    "ptv3_nuscenes": replace(_SEGMENTOR, classes=16, in_channels=4),
    "ptv3_s3dis_rpe": replace(
        _SEGMENTOR, classes=13, relative_positions=True, patch_sizes=(128,) * 5,
        decoder_patch_sizes=(128,) * 4,
    ),
}  # fmt: skip

NON_COMMERCIAL = (
    "weights under CC BY-NC 4.0 (no commercial use), as their repository says; the model pages of "
    "Concerto and Utonia say apache-2.0 in their metadata"
)
LICENCES = dict.fromkeys(
    (name for name in SIZES if not name.startswith("ptv3")), NON_COMMERCIAL
) | dict.fromkeys(
    (name for name in SIZES if name.startswith("ptv3")),
    "MIT, as the model page says, apart from the terms of the data they were trained on",
)
