"""Your own files: a folder with a few dozen to a few hundred clouds a class, on a laptop.

From the bundled backbone ``tiny-v2``, some 1,000 steps (``epochs=auto``: at least 30 epochs), last
epoch, the same budget for all methods::

    pointadapt train --recipe stem-adapter-folder --root DIR
    pointadapt train --recipe dapt-folder --root DIR
    pointadapt cross-validate --recipe dapt-folder --root DIR --final

Points and patches are chosen by what the clouds have (``points=auto``), clouds are turned about the
up axis in training, and the head is told their size and shape. Three voices answer: the network, a
random forest on such traits (``forest=100``), and what ``instant`` fits to the frozen backbone
(``instant=true``; it needs a second pass through the backbone). The other values are those of the
laptop recipes, which were tuned on ModelNet40's training clouds. Without those they were compared
with the defaults on what a person may have: 10 ModelNet40 classes (airplane to vase), 24 training
clouds each, of 600 to 1,024 points, in ten file formats, a fifth in UTM metres; scored on 200 other
training clouds with 512 points, 30 epochs, bf16, seed 0, last epoch. The standard error is 2.4
points. ``dapt-folder`` 87.5 %, ``linear-probe-folder`` 86.5 %; the defaults of ``--method dapt``
83.5 %.
Where classes differ much in size add ``--sampling balanced``.
"""

from __future__ import annotations

from ..core.config import TrainConfig
from .base import NOT_MEASURED, Recipe, recipe

FOREST = "forest=100"
BASE = TrainConfig(
    data="folder",
    backbone="tiny-v2",
    head=("cls", "patch_max", "size", "shape"),
    points=0,
    task_options=(FOREST, "instant=true"),
    augment=("scale_shift", "rotate_z"),
    epochs=0,
    warmup_epochs=1,
    schedule="step",
    drop_path=0.0,
    precision="auto",
)
SOURCE = "this project"
TRIAL = "10 ModelNet40 classes, 24 training clouds each, 200 others, 512 points, seed 0, last epoch"

BEFORE = "from tiny, before the head was told size and shape, and clouds were turned"


def _folder(method: str, title: str, score: str, **changes: object) -> Recipe:
    about = {"summary": f"{title} on a folder of your own files, on a CPU", "score": score,
             "source": SOURCE, "root": "DIR"}  # fmt: skip
    return recipe(f"{method.replace('_', '-')}-folder", BASE, about=about, method=method, **changes)


FOLDER = (
    _folder(
        "dapt",
        "DAPT",
        f"87.5 % on {TRIAL}, {BEFORE}",
        options=("rank=64", "position=every_block", "scale_shift_std=0"),
        head=("cls", "prompt_mean", "patch_max", "size", "shape"),
        lr=1e-2,
    ),
    _folder(
        "stem_adapter", "Adapters, with patch encoder, biases and norms", NOT_MEASURED, lr=5e-3
    ),
    _folder(
        "instant",
        "A linear fit, in seconds, to frozen features and the clouds' size, shape and profile,",
        NOT_MEASURED,
        head=(),
        task_options=(FOREST,),
    ),
    _folder("full", "Full fine-tuning", NOT_MEASURED, lr=2.5e-3),
    _folder(
        "linear_probe", "Frozen backbone, trained head", f"86.5 % on {TRIAL}, {BEFORE}", lr=1e-2
    ),
)
