"""What training starts from: its folder, the clouds of each split, a model with a new adapter."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch

from ..adapters.model import Adapter, PointModel
from ..backbones.base import small_patches
from ..core.config import TrainConfig, key_values
from ..core.errors import CheckpointError, ConfigError, DataLayoutError
from ..core.files import CHECKPOINT, check_target
from ..data import Clouds, Dataset, load_dataset, load_split
from ..data.checking.repeats import tell_shared
from ..data.splits import few_of_each, held_out
from ..data.transforms import check_augmentations
from ..methods import METHODS, Method, make_method
from ..methods.training_clouds import TrainingClouds
from ..ops.traits import NAMES
from ..pretrained.load import check_backbone, load_backbone
from ..tasks import TASKS, Task, make_task
from ..tasks.head import NO_LINEAR_FORM
from ..tasks.inputs import parse_inputs

C = TypeVar("C", bound=TrainConfig)
FEWEST, USUAL = 64, 1024  # points that are chosen for a folder of clouds
STEPS, LEAST, MOST = 1000, 30, 300  # steps that a number of epochs is chosen for, and its bounds


def check_names(config: TrainConfig) -> None:
    """Check every name and option before any data are read, which may take long.

    Raises:
        UnknownNameError: a method, task, backbone, data set, head input, augmentation or option of
            that name does not exist.
        ConfigError: a value of the wrong type or outside its range.
    """
    method = make_method(config.method, key_values(config.options))
    task = make_task(config.task, task_options(config, method))
    if config.start and not make_method(config.start).fits:
        known = ", ".join(name for name in METHODS if METHODS[name].fits)
        raise ConfigError(f"start={config.start}: that method fits no head; use one of {known}")
    if config.start and method.fits:
        raise ConfigError(f"{config.method} trains nothing that could start from {config.start}")
    if (config.start or method.fits) and not task.begins_linear:
        raise ConfigError(NO_LINEAR_FORM)
    check_backbone(config.backbone)
    if config.head:
        parse_inputs(config.head)
    check_augmentations(config.augment)
    make_dataset(config)


def task_options(config: TrainConfig, method: Method) -> dict[str, Any]:
    """The task's options: as given, or else as the method and the start want them."""
    wanted = dict(method.task_options)
    if config.start:  # the form of its map, beside layers that train
        form = METHODS[config.start].task_options
        wanted |= {"linear": True, **{k: v for k, v in form.items() if k != "hidden"}}
    if not TASKS[config.task].linear_form:
        wanted = {}
    return {**wanted, **key_values(config.task_options)}


def check_folder(config: TrainConfig) -> None:
    """Refuse a run folder that cannot be used, before data are loaded, which may take minutes.

    Raises:
        CheckpointError: there is nothing to resume.
        ConfigError: the folder holds an earlier run.
        PointAdaptError: it cannot be written.
    """
    path = config.out / CHECKPOINT
    if config.resume and not path.exists():
        raise CheckpointError(f"nothing to resume: {path} does not exist; leave out --resume")
    if not config.resume and path.exists():
        raise ConfigError(
            f"{config.out} holds an earlier run: add --resume to continue it, or choose another "
            "--out"
        )
    check_target(path)


def make_dataset(config: TrainConfig) -> Dataset:
    """The data set with its options set; nothing is read."""
    options = key_values(config.data_options)
    points = config.available or config.points or USUAL
    options = {"root": config.root, "points": points, **options}
    return load_dataset(config.data, **{k: v for k, v in options.items() if v is not None})


def fitted(config: C, clouds: int = 0) -> C:
    """``config`` with the numbers that it leaves open, by what the training clouds are.

    Points: the largest power of two that is not above the number of the cloud in the middle,
    between :data:`FEWEST` and :data:`USUAL`, and patches that fit. Points that are repeated to fill
    a cloud make patches of copies, which tell the network nothing
    (docs/decisions/points-of-small-clouds.md).

    Epochs: enough for :data:`STEPS` steps, between :data:`LEAST` and :data:`MOST`. Few clouds make
    few steps an epoch (docs/decisions/epochs-of-few-clouds.md).

    Args:
        config: what to train.
        clouds: how many a run is trained on; by default what the options leave of the split.

    Raises:
        ConfigError: points are to be chosen for other data than your own files.
    """
    if not config.points or not (config.epochs or clouds):
        data = make_dataset(config)
        if not config.points and not data.own_files:
            raise ConfigError(f"points=auto is for your own files; give a number for {config.data}")
        train = load_split(data, "train")
        if not config.points:
            config = _with_points(config, train)
        if not (config.epochs or clouds):
            clouds = len(_divided(config, train)[0])
    if not config.epochs:
        steps = max(clouds // (config.batch_size * config.accumulate), 1)
        config = replace(config, epochs=min(max(math.ceil(STEPS / steps), LEAST), MOST))
    return config


def _with_points(config: C, train: Clouds) -> C:
    counts = np.exp(train.known_traits[:, NAMES.index("count")])
    points = 2 ** int(np.log2(np.median(counts.round())))
    points = min(max(points, FEWEST), USUAL)
    given = {key: value for key in ("groups", "group_size") if (value := getattr(config, key))}
    return replace(config, points=points, **{**small_patches(points), **given})


def _divided(config: TrainConfig, train: Clouds) -> tuple[Clouds, Clouds | None]:
    """(train, val) of the training clouds: those that are trained on, and those to select on."""
    if config.shots:
        train = train.subset(few_of_each(train.labels, config.shots, config.seed))
    if config.select != "val":
        return train, None
    kept, held = held_out(train, config.val_fraction, config.seed)
    return train.subset(kept), train.subset(held)


def load_clouds(
    config: TrainConfig, data: Dataset | None = None
) -> tuple[Clouds, Clouds, Clouds | None]:
    """(train, test, val); ``val`` is None unless the configuration selects on it.

    ``data`` is what :func:`make_dataset` made; after this it tells of its files.
    """
    data = data or make_dataset(config)
    train_set, test_set = load_split(data, "train"), load_split(data, "test")
    if train_set.classes != test_set.classes:
        raise DataLayoutError(f"{config.data}: train and test name different classes")
    if train_set.part_names != test_set.part_names:
        raise DataLayoutError(f"{config.data}: train and test name different parts")
    if train_set.feature_names != test_set.feature_names:
        raise DataLayoutError(f"{config.data}: train and test have different features of points")
    if data.own_files:  # benchmarks are as they are
        tell_shared(train_set, test_set)
    train_set, val_set = _divided(config, train_set)
    return train_set, test_set, val_set


def check_splits(task: Task, data: str, **splits: Clouds | None) -> None:
    """Let the task refuse, before training, a split that it can make nothing of.

    Raises:
        DataLayoutError: why, with the name of the data.
    """
    for split, clouds in splits.items():
        if clouds is not None:
            try:
                task.check(clouds, split)
            except DataLayoutError as error:
                raise DataLayoutError(f"{data}: {error}") from error


def truth_of(task: Task, clouds: Clouds) -> np.ndarray:
    """The task's target of these clouds, (n, …), as training takes it: int64, or float32."""
    target = task.target(clouds)
    whole = np.issubdtype(target.dtype, np.integer)
    return np.ascontiguousarray(target, dtype=np.int64 if whole else np.float32)


def build_model(
    config: TrainConfig, classes: tuple[str, ...], parts: tuple[str, ...] = (),
    features: tuple[str, ...] = (), normalise: bool = True,
) -> PointModel:  # fmt: skip
    """The backbone with a fresh adapter, from ``config.seed``, for clouds of these names.

    Raises:
        ConfigError: the clouds have too few points for its patches, or the head is to take tokens
            that there are none of.
    """
    changes = {k: getattr(config, k) for k in ("groups", "group_size") if getattr(config, k)}
    backbone = load_backbone(config.backbone, seed=config.seed, **changes)
    backbone.config.check_points(config.points)
    torch.manual_seed(config.seed)
    method = make_method(config.method, key_values(config.options))
    task = make_task(config.task, task_options(config, method))
    adapter = Adapter(backbone, method, task, classes, config.head, parts, features, normalise)
    model = PointModel(backbone, adapter)
    if config.head:
        _check_pooling(model, config.points)
    backbone.set_drop_path(config.drop_path)
    adapter.taps.set_drop_path(config.drop_path)
    model.keep = config.keep
    return model


def _check_pooling(model: PointModel, points: int) -> None:
    """Try the head's inputs on a cloud, before a run starts.

    Raises:
        ConfigError: the method or the backbone has no such tokens.
    """
    cloud = torch.rand(1, points, 3, generator=torch.Generator().manual_seed(0))
    model.eval()
    with torch.no_grad():
        tokens = model.backbone(cloud, model.adapter.taps)
        for item in parse_inputs(model.adapter.head_inputs):
            if not item.of_cloud:
                tokens.pool(item.source)
    model.train()


@torch.no_grad()
def show_clouds(model: PointModel, clouds: Clouds, config: TrainConfig) -> None:
    """Let head and method of ``model`` look at the training clouds, see ``Method.prepare``."""
    was_training, device = model.training, next(model.parameters()).device
    adapter = model.eval().adapter
    if adapter.head.takes_traits:
        adapter.head.see(torch.from_numpy(clouds.known_traits))
    if adapter.head.forest is not None:
        seen = clouds.features if adapter.task.per_point else clouds.known_traits
        assert seen is not None  # a head of points has a forest only where they have features
        adapter.head.learn(seen, adapter.task.target(clouds), config.seed)
    shown = TrainingClouds(clouds.points, config.points, config.seed, device, adapter.normalise)
    adapter.method.prepare(adapter.taps, model.backbone, shown)
    model.train(was_training)
