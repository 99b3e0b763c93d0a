"""Your own labelled scenes, a label for every point: airborne tiles, streets, rooms, plants.

From the bundled ``tiny`` backbone, in minutes on two CPU cores::

    pointadapt train --recipe dapt-scenes --root DIR
    pointadapt score-scenes --adapter runs/dapt-scenes/adapter

The head is told the traits of each point (height above ground, the shape around it,
:mod:`pointadapt.ops.point_traits`), and the intensity and colours that all files have. A random
forest on the same numbers is fitted first, in seconds, is kept with the adapter, and answers beside
the network. Blocks are as wide as the density makes them. The head is a narrow one, so that an
epoch takes seconds, and numbers are float32, which many CPUs are far faster with. How it does
beside the forest alone: ``docs/results/scenes.md``.

``ptv3-scenes`` trains a small network over voxels instead (:mod:`pointadapt.backbones.ptv3`), all
of it, from random weights, with four times the steps.

Steps count more than points: with one of four airborne training tiles held out, two layers on these
features alone reached 58.5 % mIoU after 120 steps of 8,192 points, and 72.3 % after 480 steps of
2,048, in the same time. So a batch is two blocks, and there are 300 steps.
"""

from __future__ import annotations

from ..core.config import TrainConfig
from .base import NOT_MEASURED, Recipe, recipe

SCENES_BASE = TrainConfig(
    data="folder_segmentation",
    data_options=("features=usual,returns,traits", "blocks=200", "test_blocks=64", "least=256"),
    task="scene_segmentation",
    task_options=("width=128", "hidden=128,64", "linear=true", "balance=0.333333", "forest=50"),
    backbone="tiny",
    points=2048,
    batch_size=2,
    epochs=3,
    lr=2e-3,
    warmup_epochs=0.4,
    schedule="step",
    drop_path=0.0,
    augment=("rotate_z", "scale_shift"),
)
SOURCE = "this project"


def _scenes(method: str, title: str, **changes: object) -> Recipe:
    about = {"summary": f"{title} on a folder of your own labelled scenes, on a CPU",
             "score": NOT_MEASURED, "source": SOURCE, "root": "DIR"}  # fmt: skip
    name = f"{method.replace('_', '-')}-scenes"
    return recipe(name, SCENES_BASE, about=about, method=method, **changes)


SCENES = (
    _scenes("dapt", "DAPT", options=("rank=64", "position=every_block", "scale_shift_std=0")),
    _scenes("full", "Full fine-tuning"),
    _scenes("linear_probe", "Frozen backbone, trained head"),
    recipe(
        "ptv3-scenes",
        SCENES_BASE,
        about={
            "summary": "A small Point Transformer V3 from random weights on your own scenes",
            "score": "mIoU of three airborne sets 95.0, 91.1 and 83.4 %, last epoch, seed 0",
            "hardware": "one of two cores of an AMD EPYC, beside other work",
            "time": "13 min",
            "source": SOURCE,
            "root": "DIR",
        },
        method="full",
        backbone="ptv3:tiny",
        data_options=("features=usual,returns,traits", "blocks=400", "test_blocks=64", "least=256"),
        epochs=6,
        drop_path=0.1,
    ),
)
