"""Configurations: frozen dataclasses of plain values, so that the command line starts fast."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import ConfigError, PointAdaptError
from .fields import at_least, build, positive, share

Precision = Literal["fp32", "bf16", "fp16"]
Augmentation = Literal["scale_shift", "rotate_z", "rotate", "jitter", "drop"]
# What may differ between the start of a training run and its continuation.
MAY_DIFFER = ("out", "resume", "threads", "tensorboard", "recipe", "save_every", "step")


@dataclass(frozen=True)
class PretrainConfig:
    """Masked autoencoding (Point-MAE) of a backbone.

    Attributes:
        out: folder for checkpoints, the log, and at the end the backbone.
        data: "shapes" (an endless procedural stream), the name of a data set, of which the training
            clouds are used, or several of these, mixed.
        root: folder of the data sets that ``roots`` does not name.
        roots: folders of data sets in a mixture, as name=DIR.
        weights: shares of a mixture, as name=NUMBER; when not given, each data set counts by its
            number of clouds, and "shapes" as much as all others together.
        backbone: family of the backbone.
        size: size of the backbone.
        points: points of a cloud.
        available: points of a cloud on disk that these are drawn from, anew each time it comes; 0
            means as many as ``points``. Data sets that store fewer give all they have.
        groups: patches of a cloud; 0 takes the backbone's.
        group_size: points of a patch; 0 takes the backbone's.
        steps: optimizer steps.
        batch_size: clouds of a step, over all processes.
        lr: peak learning rate.
        min_lr: learning rate at the end.
        warmup_steps: steps of linear warm-up.
        weight_decay: AdamW's, on weights of two or more dimensions.
        clip: largest gradient norm.
        mask_ratio: share of patches that are hidden.
        mask_spread: the share of each step is drawn from mask_ratio ± this.
        decoder_depth: blocks of the decoder.
        label_weight: weight of a second loss, naming the class of a labelled cloud from its visible
            patches, which also teaches the CLS token; 0 is Point-MAE's objective alone.
        attribute_weight: weight of a third loss, telling which parts a cloud has and how it is put
            together; known of "shapes" only.
        init: a backbone to go on from: a bundled one or a folder; none starts from random weights.
        assembly_fraction: with "shapes", the share of random assemblies, which have no class.
        augment: augmentations, in order.
        precision: number format of the forward pass.
        seed: fixes everything.
        save_every: steps between checkpoints.
        save_precision: number format of the backbone's file at the end.
        shard_mb: largest file of the backbone in MB (10⁶ bytes); 0 writes a single file.
        probe_every: steps between scores of a linear SVM on the backbone's frozen features, also
            taken at the end; 0 takes none.
        probe_data: labelled data set of that score: fitted on its train split, scored on test.
        probe_root: its folder; when not given, that of the same data set in pre-training.
        probe_clouds: so many training clouds, and at most so many test clouds, to be quick; 0
            takes all.
        picture_every: steps between pictures of reconstructions and of the loss, also drawn at the
            end; 0 draws none.
        workers: processes that make or read the clouds, for each training process; 0 leaves that
            to the training process itself.
        resume: continue from the checkpoint in ``out``.
        threads: CPU threads; 0 leaves it to torch.
    """

    out: Path = Path("runs/pretrain")
    data: tuple[str, ...] = ("shapes",)
    root: Path | None = None
    roots: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    backbone: str = "point_vit"
    size: str = "tiny"
    points: int = 1024
    available: int = 0
    groups: int = 0
    group_size: int = 0
    steps: int = 4000
    batch_size: int = 64
    lr: float = 1e-3
    min_lr: float = 1e-6
    warmup_steps: int = 200
    weight_decay: float = 0.05
    clip: float = 10.0
    mask_ratio: float = 0.6
    mask_spread: float = 0.0
    decoder_depth: int = 4
    label_weight: float = 0.0
    attribute_weight: float = 0.0
    init: str | None = None
    assembly_fraction: float = 0.6
    augment: tuple[Augmentation, ...] = ("scale_shift",)
    precision: Precision = "fp32"
    seed: int = 0
    save_every: int = 500
    save_precision: Literal["fp32", "bf16"] = "fp32"
    shard_mb: int = 0
    probe_every: int = 0
    probe_data: str = "modelnet40"
    probe_root: Path | None = None
    probe_clouds: int = 2000
    picture_every: int = 1000
    workers: int = 1
    resume: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.data, str):  # from Python or YAML, one name will do
            object.__setattr__(self, "data", (self.data,))
        at_least(self, 1, "points", "steps", "batch_size", "decoder_depth", "save_every")
        at_least(self, 0, "seed", "threads", "warmup_steps", "weight_decay", "min_lr", "available")
        at_least(self, 0, "groups", "group_size", "shard_mb", "workers")
        at_least(self, 0, "probe_every", "probe_clouds", "picture_every")
        at_least(self, 0, "label_weight", "attribute_weight", "mask_spread")
        positive(self, "lr", "clip")
        share(self, "mask_ratio")
        if self.precision == "fp16":
            raise ConfigError("pre-training scales no loss, which fp16 needs: use bf16 or fp32")
        if not self.data or len(set(self.data)) < len(self.data):
            raise ConfigError(f"data must be different names, not {' '.join(self.data) or 'none'}")
        if 0 < self.available < self.points:
            raise ConfigError(
                f"available={self.available} is fewer than points={self.points}; raise the one "
                "or lower the other"
            )
        if self.weights and len(self.data) == 1:
            raise ConfigError(f"weights are for mixtures, but data is {self.data[0]} alone")
        if "shapes" in self.data:
            return
        names = " ".join(self.data)
        if self.attribute_weight:
            raise ConfigError(f"attributes are known of shapes only, not of {names}")
        if self.label_weight and len(self.data) > 1:
            raise ConfigError(f"a mixture keeps the labels of shapes only: {names} has none")


@dataclass(frozen=True)
class TrainConfig:
    """Adapting a backbone to a labelled data set.

    Attributes:
        out: run folder: checkpoint, logs, results, and the adapter.
        data: name of the data set.
        root: its folder on disk.
        data_options: its other options, as key=value.
        backbone: a bundled backbone, a backbone folder, or family:size for random weights.
        method: how to adapt; see "pointadapt list methods".
        options: the method's options, as key=value.
        task: what is predicted.
        task_options: the task's options, as key=value.
        head: inputs of the head, any of cls, prompt_mean, prompt_max, patch_max, patch_mean,
            token_mean, token_max; empty takes the method's default.
        points: points of a cloud that enter the network.
        available: points of a cloud that training draws them from (farthest point sampling, then
            random); 0 means as many as ``points``.
        groups: patches of a cloud; 0 takes the backbone's.
        group_size: points of a patch; 0 takes the backbone's.
        epochs: passes over the training set.
        batch_size: clouds of a step, per process; all there are where that is less.
        accumulate: steps whose gradients are summed before the optimizer moves.
        lr: peak learning rate.
        min_lr: learning rate at the start of the warm-up and at the end.
        warmup_epochs: epochs of linear warm-up.
        schedule: the learning rate changes every "epoch", as in the papers, or every "step".
        weight_decay: AdamW's; none on 1-D parameters, biases and names holding "token".
        clip: largest gradient norm, over all trained parameters.
        drop_path: stochastic depth at the last block.
        augment: augmentations, in order.
        select: which epoch is kept: the "last", the best on a split held out of train ("val"), or
            the best on the test set ("test", the papers' way, and labelled so).
        val_fraction: share of train that "val" holds out.
        sampling: which clouds an epoch takes: "uniform", each once, or "balanced", as many of each
            class, where some classes have far fewer files than others.
        votes: augmented copies averaged at the final evaluation; 0 scores the clouds as they are.
        precision: number format of the forward pass.
        keep: what the forward pass keeps for the backward: "lean" computes again what is cheap to
            (less than half the memory, for methods that can), "recompute" everything inside a
            block (a tenth, at a third more time), "all" nothing.
        step: how a step runs: "eager"; "graph", captured once and replayed (NVIDIA GPUs; for small
            batches, where starting the kernels costs more than running them); "compile", by
            torch.compile, captured too where it can be; "auto" captures where it can be.
        seed: fixes everything.
        save_every: epochs between checkpoints; the last epoch is always saved.
        resume: continue from the checkpoint in ``out``, bit for bit.
        threads: CPU threads; 0 leaves it to torch.
        tensorboard: also write TensorBoard logs, where it is installed.
        recipe: name of the preset these values started from.
    """

    out: Path = Path("runs/train")
    data: str = "shapes"
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    backbone: str = "tiny"
    method: str = "dapt"
    options: tuple[str, ...] = ()
    task: str = "classification"
    task_options: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    points: int = 1024
    available: int = 0
    groups: int = 0
    group_size: int = 0
    epochs: int = 20
    batch_size: int = 32
    accumulate: int = 1
    lr: float = 5e-4
    min_lr: float = 1e-6
    warmup_epochs: float = 1.0
    schedule: Literal["epoch", "step"] = "step"
    weight_decay: float = 0.05
    clip: float = 10.0
    drop_path: float = 0.1
    augment: tuple[Augmentation, ...] = ("scale_shift",)
    select: Literal["last", "val", "test"] = "last"
    val_fraction: float = 0.1
    sampling: Literal["uniform", "balanced"] = "uniform"
    votes: int = 0
    precision: Precision = "fp32"
    keep: Literal["all", "lean", "recompute"] = "lean"
    step: Literal["eager", "graph", "compile", "auto"] = "eager"
    seed: int = 0
    save_every: int = 1
    resume: bool = False
    threads: int = 0
    tensorboard: bool = True
    recipe: str = ""

    def __post_init__(self) -> None:
        at_least(self, 1, "points", "epochs", "batch_size", "accumulate", "save_every")
        at_least(self, 0, "available", "groups", "group_size", "votes", "threads", "seed")
        at_least(self, 0, "min_lr", "warmup_epochs", "weight_decay")
        positive(self, "lr", "clip")
        share(self, "drop_path", "val_fraction")
        if self.available and self.available < self.points:
            raise ConfigError(
                f"available={self.available} is fewer than points={self.points}; raise the one "
                "or lower the other"
            )


@dataclass(frozen=True)
class Published:
    """What a checkpoint cannot tell; None takes the paper's value for its kind.

    Attributes:
        heads: attention heads; one for every 64 channels when not given, as in all that we know.
        groups: patches of a cloud: 128 on ScanObjectNN, 64 on ModelNet40 and in pre-training.
        group_size: points of a patch.
        points: points of a cloud: 2048 on ScanObjectNN, 1024 otherwise.
        head: inputs of the head.
        classes: names of the classes; numbered when not given and not a known benchmark's.
    """

    heads: int | None = None
    groups: int | None = None
    group_size: int = 32
    points: int | None = None
    head: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def key_values(items: tuple[str, ...] | dict[str, Any]) -> dict[str, Any]:
    """``("rank=32", "prompt=false")`` as a dictionary; a dictionary stays as it is.

    Raises:
        ConfigError: an item without "=".
    """
    if isinstance(items, dict):
        return dict(items)
    pairs: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"{item!r} is no option: write it as key=value, such as rank=32")
        pairs[key.strip()] = value.strip()
    return pairs


def to_plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON and YAML can hold it."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        return [plain(v) for v in value] if isinstance(value, (tuple, list)) else value

    return {f.name: plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def other_options(
    was: dict[str, Any], now: dict[str, Any], defaults: dict[str, Any] | None = None
) -> str:
    """The first option of an earlier run that differs from now, as text; empty if none does.

    What the earlier run's version did not have yet had its default.

    Args:
        was: the plain values of the earlier run.
        now: those of this one.
        defaults: of both; by default those of training.
    """
    defaults = to_plain(TrainConfig()) if defaults is None else defaults
    for key, value in now.items():
        before = was.get(key, defaults.get(key))
        if key not in MAY_DIFFER and before != value:
            return f"{key}: {before} then, {value} now"
    return ""


def read_config(path: Path | str) -> dict[str, Any]:
    """The key: value lines of a YAML file.

    Raises:
        PointAdaptError: the file is missing or not YAML.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PointAdaptError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PointAdaptError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold key: value lines")
    return values


def load_config(path: Path | str, cls: type) -> Any:
    """A configuration from a YAML file.

    Raises:
        PointAdaptError: the file is missing or not YAML.
        UnknownNameError, ConfigError: an unknown key or a value of the wrong type.
    """
    return build(cls, read_config(path), str(path))


def save_config(config: Any, path: Path | str) -> None:
    """A configuration as YAML, atomically."""
    import yaml

    from .files import atomic

    with atomic(path) as temporary:
        text = yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")
