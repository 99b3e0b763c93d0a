"""ModelNet40 on a laptop: the bundled ``tiny`` backbone, 12 epochs, no GPU.

The same budget for all three methods, so that their scores may be compared::

    pointadapt train --recipe dapt-laptop --root DIR/modelnet40
    pointadapt train --recipe full-laptop --root DIR/modelnet40
    pointadapt train --recipe linear-probe-laptop --root DIR/modelnet40

Selection is the last epoch. Hardware, time and score: see the fields below.
"""

from __future__ import annotations

from ..config import TrainConfig
from ._base import NOT_MEASURED, recipe

BASE = TrainConfig(
    data="modelnet40",
    backbone="tiny",
    head=("cls", "patch_max"),
    epochs=12,
    warmup_epochs=1,
    schedule="step",
    drop_path=0.0,
    precision="bf16",
)
SOURCE = "this project"

LAPTOP = (
    recipe(
        "dapt-laptop",
        BASE,
        about={
            "summary": "DAPT on ModelNet40 from the bundled backbone, on a CPU",
            "score": NOT_MEASURED,
            "source": SOURCE,
        },
        method="dapt",
        options=("rank=32",),
        head=("cls", "prompt_mean", "patch_max"),
    ),
    recipe(
        "full-laptop",
        BASE,
        about={
            "summary": "Full fine-tuning on ModelNet40 from the bundled backbone, on a CPU",
            "score": NOT_MEASURED,
            "source": SOURCE,
        },
        method="full",
    ),
    recipe(
        "linear-probe-laptop",
        BASE,
        about={
            "summary": "Frozen bundled backbone and a trained head on ModelNet40, on a CPU",
            "score": NOT_MEASURED,
            "source": SOURCE,
        },
        method="linear_probe",
    ),
)
