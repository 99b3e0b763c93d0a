"""S3DIS, Area 5, by the protocol of ACT's released code, which Point-MAE's line uses.

60 epochs, AdamW 2e-4, 10 epochs of warm-up, batch 32, blocks of 1 m with 2,048 points, coordinates
alone (Dong et al., ACT, ICLR 2023, semantic_segmentation/main.py). Run one with::

    pointadapt train --recipe dapt-s3dis --root DIR/Stanford3dDataset_v1.2_Aligned_Version
    pointadapt score-scenes --adapter runs/dapt-s3dis/adapter --data-options stride=0.5

As there, rare classes weigh more in the loss, by the cube root of their counts. What differs:
20,000 training blocks are drawn once and kept in memory (about 1.8 GB), where that code draws some
95,000 anew each epoch; and the last epoch is kept, unless you add ``--select test``. DAPT published
no S3DIS configuration: rank 32 is that of its few-shot and part segmentation runs in later work.
Add ``--task-options balance=0.333333`` to train with colours and the place in the room as well.
Nothing of this has been measured here.
"""

from __future__ import annotations

from dataclasses import replace

from .base import NOT_MEASURED, Recipe, recipe
from .published import BASE, NEEDS

S3DIS_BASE = replace(
    BASE,
    data="s3dis",
    data_options=("area=5", "blocks=20000"),
    task="scene_segmentation",
    task_options=("features=false", "balance=0.333333"),
    head=(),
    points=2048,
    groups=128,
    epochs=60,
    lr=2e-4,
)
SOURCE = "the protocol of ACT's released code (Dong et al., ICLR 2023)"


def _s3dis(method: str, title: str, **changes: tuple[str, ...]) -> Recipe:
    about = {
        "summary": f"{title} on S3DIS, Area 5 as test, coordinates alone",
        "score": NOT_MEASURED,
        "source": SOURCE,
        "needs": NEEDS,
    }
    name = f"{method.replace('_', '-')}-s3dis"
    return recipe(name, S3DIS_BASE, about=about, method=method, **changes)


S3DIS = (
    _s3dis("dapt", "DAPT", options=("rank=32",)),
    _s3dis("full", "Full fine-tuning"),
    _s3dis("linear_probe", "Frozen backbone, trained head"),
)
