"""Training several runs at once: their steps are one step, on stacked tensors.

On a GPU a step of small clouds is bound by starting its kernels, not by what they compute. Each run
is what it is alone: its own clouds, order, augmentation, learning rate, scores and files. Only what
a network draws in its forward pass (dropout, DropPath) comes from another place. Nothing is saved
before the end: what was stopped is begun again.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ..core import console, stops
from ..core.config import TrainConfig, to_plain
from ..core.folders import only_run_in
from ..core.machine import keep_large_blocks, make_accelerator, use_threads
from ..core.results import TrainResults
from ..methods import METHODS
from ..tasks import Task
from .capture import GraphStep, Result, Step, why_not_capture
from .progress import TrainingDisplay
from .setup import check_folder, check_names, fitted
from .stacked import Stacked, tensors
from .step import why_not_this
from .trainer import Run, add

OWN = (
    "seed", "lr", "min_lr", "warmup_epochs", "weight_decay", "out", "data", "root", "data_options",
    "resume",
)  # fmt: skip
"""Options in which runs that are trained together may differ."""

CLOUDS = ("data", "root", "data_options", "points", "available", "shots", "select")
"""Options that choose the clouds, with the seed where it draws some of them."""


def why_alone(config: TrainConfig) -> str:
    """Why a run cannot be trained together with others; "" if it may be."""
    method = METHODS[config.method]
    if not method.trains_together:
        return f"{config.method} is not written to be stacked"
    reasons = {
        f"{config.method} trains nothing in epochs": method.fits,
        "--start tries each run first": config.start,
        "--accumulate makes steps differ": config.accumulate > 1,
        "--keep recompute does not stack": config.keep == "recompute",
        "--precision fp16 looks at its gradients in every step": config.precision == "fp16",
        "--tracker follows one run at a time": config.tracker,
    }
    return next((why for why, so in reasons.items() if so), "")


def alike(config: TrainConfig) -> Hashable:
    """What runs must have in common to be trained together, as far as options tell."""
    return str({k: v for k, v in to_plain(config).items() if k not in OWN})


def train_together(configs: Sequence[TrainConfig], patience: float = 0.0) -> list[TrainResults]:
    """Train several runs, together where they can be; their results, in order.

    Args:
        configs: of runs that are :func:`alike`, with a folder of its own each.
        patience: seconds to wait for another run in one of the folders to end.

    Raises:
        PointAdaptError: bad input, or a run failed; others may be finished.
        Stopped: by SIGTERM; nothing of the runs under way is saved.
    """
    accelerator = make_accelerator(configs[0].precision)
    keep_large_blocks()
    use_threads(configs[0].threads)
    with ExitStack() as folders:
        for config in configs:
            check_names(config)
            folders.enter_context(only_run_in(config.out, "adapter", patience=patience))
            check_folder(config)
        runs = _runs(configs, accelerator)
        kinds: dict[Hashable, list[Run]] = {}
        for run in runs:
            kinds.setdefault(_kind(run), []).append(run)
        done = {id(run): r for same in kinds.values() for run, r in _train(same)}
    return [done[id(run)] for run in runs]


def _runs(configs: Sequence[TrainConfig], accelerator: Accelerator) -> list[Run]:
    """The runs, of which those of the same clouds share them."""
    known: dict[str, Run] = {}
    runs = []
    for config in map(fitted, configs):
        drawn = config.seed if config.shots or config.select == "val" else 0
        clouds = str([getattr(config, name) for name in CLOUDS] + [drawn])
        runs.append(Run(config, accelerator, like=known.get(clouds)))
        known.setdefault(clouds, runs[-1])
    return runs


def _kind(run: Run) -> Hashable:
    """What runs must have in common to be trained together, as they are built."""
    model, adapter = run.model, run.model.adapter
    shapes = tuple((k, x.shape, x.dtype, x.requires_grad) for k, x in tensors(model))
    sizes = run.steps, run.batch_size, run.epochs
    backbone = repr(adapter.backbone.config)
    return adapter.method, repr(run.task), adapter.head_inputs, backbone, shapes, sizes


def _train(runs: Sequence[Run]) -> list[tuple[Run, TrainResults]]:
    why = _why_not(runs)
    if not why:
        return list(zip(runs, Together(runs).run(), strict=True))
    console.note_line(f"{runs[0].config.out} is trained alone: {why}")
    return [(run, run.run()) for run in runs]


def _why_not(runs: Sequence[Run]) -> str:
    run = runs[0]
    if len(runs) == 1:
        return "no other has as many clouds, and tensors of the same shapes"
    if run.acc.num_processes > 1:
        return "several processes share its batches"
    return why_not_this(run.model)


class Together:
    """Runs whose steps are one.

    Args:
        runs: of one kind, two or more.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs

    def run(self) -> list[TrainResults]:
        """Train them all.

        Raises:
            Stopped: by SIGTERM, after a step.
        """
        began, runs, first = time.monotonic(), self.runs, self.runs[0]
        for run in runs:
            run.start()
            run.began, run.together = began, len(runs)
        stacked = Stacked([run.model for run in runs])
        self.step = _make_step(runs, stacked)
        with ExitStack() as open_, stops.later():
            displays = [
                open_.enter_context(
                    TrainingDisplay(run.config, run.steps, 0, main=True, shown=run is first)
                )
                for run in runs
            ]
            for _ in range(first.epochs):
                self._one_epoch(displays)
        stacked.release()
        return [run.finish() for run in runs]

    def _one_epoch(self, displays: Sequence[TrainingDisplay]) -> None:
        runs, steps = self.runs, self.runs[0].steps
        orders = [run.begin_epoch() for run in runs]
        sums: dict[str, Tensor] = {}
        for step in range(steps):
            self.step.set_lrs([run.lr(step) for run in runs])
            each = [run.batch(step, order) for run, order in zip(runs, orders, strict=True)]
            target = torch.stack([batch.target for batch in each])
            told = {k: torch.stack([batch.told[k] for batch in each]) for k in each[0].told}
            loss, output = self.step(torch.stack([b.points for b in each]), target, **told)
            add(sums, {"loss": loss, **self._running(output, target)})
            if step % 10 == 9 or step + 1 == steps:
                displays[0].step_done(step + 1, float(sums["loss"].mean()) / (step + 1))
            if stops.asked():
                raise stops.Stopped("nothing saved: runs trained together are begun again")
        for k, (run, display) in enumerate(zip(runs, displays, strict=True)):
            run.sums, run.done = {name: values[k] for name, values in sums.items()}, steps
            run.epoch_over(run.epoch_row(), display)

    def _running(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return torch.func.vmap(self.runs[0].task.running)(output, target)


class StackedLosses:
    """The loss (K,) and the output (K, B, …) of stacked models for a batch each.

    Args:
        net: the models.
        task: gives the loss.
        acc: accelerate's engine.
    """

    def __init__(self, net: Stacked, task: Task, acc: Accelerator) -> None:
        self.net, self.task, self.acc = net, task, acc

    def __call__(self, points: Tensor, target: Tensor, **told: Tensor) -> Result:
        return self.net.losses(self.task.loss, points, target, told, self.acc.autocast)

    def compile(self, must: bool) -> None:
        """A stack is never compiled."""

    def deciding(self) -> Any:
        return ()


class StackedStep(Step):
    """One step of several models: points (K, B, N, 3) to losses (K,) and outputs (K, B, …).

    Args:
        losses: of the models.
        optimizers: one for each model.
        acc: accelerate's engine.
        clip: largest gradient norm of each.
    """

    net: Stacked

    def __init__(
        self, losses: StackedLosses, optimizers: Sequence[Any], acc: Accelerator, clip: float
    ) -> None:
        super().__init__(losses, losses.net, None, acc, clip)
        self.optimizers = list(optimizers)

    def set_lrs(self, lrs: Sequence[float]) -> None:
        """The learning rate of each run's next step."""
        for optimizer, lr in zip(self.optimizers, lrs, strict=True):
            self.set_lr_of(optimizer, lr)

    def forget(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Result:
        losses, output = self.losses(*inputs, **named)
        self.net.backward(losses)
        for parameters, optimizer in zip(self.net.trained, self.optimizers, strict=True):
            self.acc.clip_grad_norm_(parameters, self.clip)
            optimizer.step()
        self.forget()
        return losses.detach(), output.detach()


class StackedGraphStep(GraphStep, StackedStep):
    """The same, captured."""


def _make_step(runs: Sequence[Run], stacked: Stacked) -> StackedStep:
    """Captured unless the runs are to be eager, where it can be."""
    first, optimizers = runs[0], [run.optimizer for run in runs]
    captured = first.config.step != "eager" and not why_not_capture(first.acc)
    losses = StackedLosses(stacked, first.task, first.acc)
    make = StackedGraphStep if captured else StackedStep
    return make(losses, optimizers, first.acc, first.config.clip)


__all__ = [
    "StackedGraphStep", "StackedLosses", "StackedStep", "Together", "alike", "train_together",
    "why_alone",
]  # fmt: skip
