"""What training starts from: the clouds of each split, and a model with a fresh adapter."""

from __future__ import annotations

import numpy as np
import torch

from .backbones._weights import load_backbone
from .config import TrainConfig, key_values
from .data import Clouds, load_dataset
from .errors import DataLayoutError
from .methods import make_method
from .model import Adapter, PointModel
from .tasks import make_task


def load_clouds(config: TrainConfig) -> tuple[Clouds, Clouds, Clouds | None]:
    """(train, test, val); ``val`` is None unless the configuration selects on it."""
    options = key_values(config.data_options)
    options = {"root": config.root, "points": config.available or config.points, **options}
    data = load_dataset(config.data, **{k: v for k, v in options.items() if v is not None})
    train_set, test_set = data.load("train"), data.load("test")
    if train_set.classes != test_set.classes:
        raise DataLayoutError(f"{config.data}: train and test name different classes")
    if train_set.part_names != test_set.part_names:
        raise DataLayoutError(f"{config.data}: train and test name different parts")
    if train_set.feature_names != test_set.feature_names:
        raise DataLayoutError(f"{config.data}: train and test have different features of points")
    if config.select != "val":
        return train_set, test_set, None
    kept, held = stratified_split(train_set.labels, config.val_fraction, config.seed)
    return train_set.subset(kept), test_set, train_set.subset(held)


def stratified_split(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (kept, held out): ``share`` of every class, at least one where it has two.

    Raises:
        DataLayoutError: no class has two.
    """
    rng, held = np.random.default_rng(seed), []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held.append(members[: min(max(1, round(share * len(members))), len(members) - 1)])
    out = np.sort(np.concatenate(held))
    if not len(out):
        raise DataLayoutError("no class has a second cloud to hold out: use --select last")
    return np.setdiff1d(np.arange(len(labels)), out), out


def build_model(
    config: TrainConfig, classes: tuple[str, ...], parts: tuple[str, ...] = (),
    features: tuple[str, ...] = (),
) -> PointModel:  # fmt: skip
    """The backbone with a fresh adapter, from ``config.seed``."""
    changes = {k: getattr(config, k) for k in ("groups", "group_size") if getattr(config, k)}
    backbone = load_backbone(config.backbone, seed=config.seed, **changes)
    torch.manual_seed(config.seed)
    method = make_method(config.method, key_values(config.options))
    task = make_task(config.task, key_values(config.task_options))
    adapter = Adapter(backbone, method, task, classes, config.head, parts, features)
    model = PointModel(backbone, adapter)
    backbone.set_drop_path(config.drop_path)
    model.keep = config.keep
    return model
