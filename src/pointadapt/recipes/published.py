"""The papers' protocols on ModelNet40 and ScanObjectNN, from a Point-MAE backbone.

All share one training recipe (AdamW 5e-4, weight decay .05, cosine over 300 epochs with 10 of
warm-up, a new rate every epoch, batch 32, clip 10, scale and shift) and two ways to feed points.
Published scores are the best epoch on the *test* set; ours are the last epoch unless you add
``--select test``, which says so in the results. Run one with::

    pointadapt train --recipe dapt-scanobjectnn-pb --root DIR/h5_files

Hardware and time: not measured here. Sources: Zhou et al., DAPT, CVPR 2024 (Tab. 1, 2 and 6, and
the released configurations); Pang et al., Point-MAE, ECCV 2022.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..core.config import TrainConfig
from .base import POINT_MAE, Recipe, recipe

NEEDS = (
    "Point-MAE's published weights, which are downloaded at the first use: "
    f"pointadapt fetch {POINT_MAE}"
)

PROTOCOL: dict[str, Any] = {  # of all the papers' runs, few-shot included
    "backbone": POINT_MAE, "head": ("cls", "patch_max"), "batch_size": 32, "lr": 5e-4,
    "min_lr": 1e-6, "warmup_epochs": 10, "schedule": "epoch", "weight_decay": 0.05, "clip": 10.0,
    "drop_path": 0.1, "augment": ("scale_shift",), "group_size": 32, "voting": "released",
}  # fmt: skip
MODELNET_CLOUDS: dict[str, Any] = {"points": 1024, "available": 8192, "groups": 64}

BASE = TrainConfig(epochs=300, **PROTOCOL)

MODELNET = replace(BASE, data="modelnet40", **MODELNET_CLOUDS)
SCAN = replace(BASE, data="scanobjectnn", points=2048, groups=128)

DATA = {  # end of the recipe's name -> its data, and how a table calls it
    "modelnet40": (MODELNET, "ModelNet40"),
    "scanobjectnn-pb": (replace(SCAN, data_options=("variant=pb_t50_rs",)), "PB_T50_RS"),
    "scanobjectnn-objbg": (replace(SCAN, data_options=("variant=obj_bg",)), "OBJ_BG"),
    "scanobjectnn-objonly": (replace(SCAN, data_options=("variant=obj_only",)), "OBJ_ONLY"),
}

CLS_PROMPT = ("cls", "prompt_mean")
DAPT: dict[str, dict[str, Any]] = {  # what the released code sets for each
    "modelnet40": {"options": ("rank=72",)},
    "scanobjectnn-pb": {
        "options": ("rank=64", "dropout=0.2"),
        "drop_path": 0.3,
        "head": (*CLS_PROMPT, "patch_max"),
    },
    "scanobjectnn-objbg": {
        "options": ("rank=64", "dropout=0.5"),
        "drop_path": 0.3,
        "head": (*CLS_PROMPT, "patch_max"),
    },
    "scanobjectnn-objonly": {"options": ("rank=64",), "head": CLS_PROMPT},
}

SCORES = {  # accuracy in percent, Point-MAE backbone, best epoch on the test set
    ("dapt", "modelnet40"): "93.5 (94.0 with voting)",
    ("dapt", "scanobjectnn-pb"): "85.08",
    ("dapt", "scanobjectnn-objbg"): "90.88",
    ("dapt", "scanobjectnn-objonly"): "90.19",
    ("full", "modelnet40"): "93.2 (93.8 with voting)",
    ("full", "scanobjectnn-pb"): "85.18",
    ("full", "scanobjectnn-objbg"): "90.02",
    ("full", "scanobjectnn-objonly"): "88.29",
    ("linear_probe", "scanobjectnn-pb"): "75.99",
}

METHODS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    # name of the method -> (what the summary says, source, what is its own on each data)
    "dapt": ("DAPT", "Zhou et al., CVPR 2024, Tab. 1 and 2, and the released configurations", DAPT),
    "full": ("Full fine-tuning", "Pang et al., ECCV 2022", {}),
    "linear_probe": ("Frozen backbone, trained head", "Zhou et al., CVPR 2024, Tab. 6", {}),
}


def _published(method: str, data: str) -> Recipe:
    base, table = DATA[data]
    title, source, own = METHODS[method]
    score = SCORES.get((method, data))
    about = {
        "summary": f"{title} on {table}, the papers' protocol",
        "score": f"{score} %, best epoch on the test set" if score else "not published",
        "source": source,
        "needs": NEEDS,
    }
    name = f"{method.replace('_', '-')}-{data}"
    return recipe(name, base, about=about, method=method, **own.get(data, {}))


PUBLISHED = tuple(_published(method, data) for method in METHODS for data in DATA)
