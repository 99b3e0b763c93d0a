"""The configuration of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..fields import (
    at_least,
    auto_is_zero,
    positive,
    resolve,
    resolve_backbone,
    resolve_item,
    seeds,
    share,
)
from .words import Augmentation, Fitting, Precision, Voting


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
            token_mean, token_max, with @NUMBER after the block of that number, from 0, or @mid
            after the middle one; and size, shape and profile of the cloud in its own unit; empty
            takes the method's default.
        start: a method that fits a head in seconds, such as "instant": training begins with its
            fit, and what is trained is kept only if it does as well as the fit on clouds of train
            that are held out in a run before; empty begins with random numbers.
        points: points of a cloud that enter the network; "auto" (or 0) chooses them, and patches to
            fit, by the number that your training clouds have: 64 to 1,024.
        available: points of a cloud that training draws them from (farthest point sampling, then
            random); 0 means as many as ``points``.
        groups: patches of a cloud; "auto" (or 0) takes the backbone's, with ``points=auto`` fewer
            of small clouds.
        group_size: points of a patch; "auto" (or 0) in the same way.
        epochs: passes over the training set; "auto" (or 0) makes 1,000 steps of them, at least 30
            and at most 300 epochs: few clouds make few steps.
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
        val_fraction: share of train that "val" and ``start`` hold out.
        shots: training clouds of each class, drawn by the seed, as if no others had labels; 0 takes
            all.
        sampling: which clouds an epoch takes: "uniform", each once, or "balanced", as many of each
            class, where some classes have far fewer files than others.
        votes: augmented copies averaged at the final evaluation; 0 scores the clouds as they are.
        voting: how: "probabilities" averages them over copies of the same points; "released" draws
            the points anew for each copy and averages logits, as the papers' code does, to which
            ``available`` should give more points than ``points``.
        precision: number format of the forward pass; "auto" is bf16 where the device computes in
            it, else fp32.
        keep: what the forward pass keeps for the backward: "lean" computes again what is cheap to
            (less than half the memory, for methods that can), "recompute" everything inside a
            block (a tenth, at a third more time), "all" nothing.
        step: how a step runs: "eager"; "graph", captured once and replayed (NVIDIA GPUs; for small
            batches, where starting the kernels costs more than running them); "compile", by
            torch.compile, captured too where it can be (about a minute at the start, then the
            fastest); "auto" captures where it can be, and compiles in long runs.
        seed: fixes everything.
        save_every: epochs between checkpoints; the last epoch is always saved.
        resume: continue from the checkpoint in ``out``, bit for bit.
        threads: CPU threads; 0 leaves it to torch.
        tensorboard: also write TensorBoard logs, where it is installed.
        tracker: also report to these, by accelerate's names: wandb (offline, unless WANDB_MODE says
            otherwise), mlflow (in ``out``, unless MLFLOW_TRACKING_URI does), trackio and others.
        baseline: with files of your own, also fit a random forest to traits of the clouds (size,
            shape, profile), which takes seconds, and state its score beside the result.
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
    start: str = ""
    points: Fitting = 1024
    available: int = 0
    groups: Fitting = 0
    group_size: Fitting = 0
    epochs: Fitting = 20
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
    shots: int = 0
    sampling: Literal["uniform", "balanced"] = "uniform"
    votes: int = 0
    voting: Voting = "probabilities"
    precision: Precision = "fp32"
    keep: Literal["all", "lean", "recompute"] = "lean"
    step: Literal["eager", "graph", "compile", "auto"] = "eager"
    seed: int = 0
    save_every: int = 1
    resume: bool = False
    threads: int = 0
    tensorboard: bool = True
    tracker: tuple[str, ...] = ()
    baseline: bool = True
    recipe: str = ""

    def __post_init__(self) -> None:
        auto_is_zero(self, "points", "groups", "group_size", "epochs")
        at_least(self, 1, "batch_size", "accumulate", "save_every")
        at_least(self, 0, "points", "available", "groups", "group_size", "epochs")
        at_least(self, 0, "votes", "threads", "shots")
        seeds(self, "seed")
        at_least(self, 0, "min_lr", "warmup_epochs", "weight_decay")
        positive(self, "lr", "clip")
        share(self, "drop_path", "val_fraction")
        resolve(self, "root")
        resolve_backbone(self, "backbone")
        resolve_item(self, "data_options", "manifest", self.root)
        if self.available and self.available < self.points:
            raise ConfigError(
                f"available={self.available} is fewer than points={self.points}; raise the one "
                "or lower the other"
            )
