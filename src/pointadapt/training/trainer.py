"""Adapting a backbone: the training loop, on accelerate."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ..adapters import folder as hub
from ..adapters.protocol import stated
from ..core.config import MAY_DIFFER, TrainConfig, other_options, save_config, to_plain
from ..core.errors import CheckpointError, ConfigError, PointAdaptError
from ..core.files import atomic, load_state, save_state, write_json
from ..core.machine import (
    derive_seed,
    describe_machine,
    keep_large_blocks,
    make_accelerator,
    peak_memory,
)
from ..core.results import TrainResults
from ..data import Clouds
from ..inference.forward import predict_clouds
from ..inference.score import score
from ..recipes.start import configured
from ..tasks.metrics import parameter_counts
from .batches import Batch, training_batch
from .device_arrays import Resident
from .epoch_order import epoch_order
from .progress import TrainingDisplay
from .sampled_once import FirstPoints
from .schedule import warmup_cosine
from .setup import (
    build_model,
    check_folder,
    check_names,
    check_splits,
    load_clouds,
    show_clouds,
    truth_of,
)
from .step import make_step


def train(config: TrainConfig | Path | str | None = None, **options: Any) -> TrainResults:
    """Adapt a backbone; returns the results that are written to ``out/results.json``.

    Args:
        config: all options, or a YAML file with some of them.
        options: options by name, as :class:`~pointadapt.core.config.train.TrainConfig` lists them;
            ``recipe`` starts from a preset.

    Raises:
        PointAdaptError: bad input, in one line.
    """
    config = configured(TrainConfig, config, options)
    check_names(config)
    check_folder(config)
    keep_large_blocks()
    if config.threads:
        torch.set_num_threads(config.threads)
    return _Run(config, make_accelerator(config.precision, config.accumulate)).run()


class _Run:
    """The state of one training run."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        self.config, self.acc = config, accelerator
        self.train_set, self.test_set, self.val_set = load_clouds(config)
        known = self.train_set
        self.model = build_model(config, known.classes, known.part_names, known.feature_names)
        task = self.model.adapter.task
        check_splits(task, config.data, train=known, test=self.test_set, val=self.val_set)
        self.task, self.truth = task.fitted(known), truth_of(task, known)
        optimizer = torch.optim.AdamW(
            self.model.parameter_groups(config.weight_decay), lr=config.lr, fused=True
        )
        self.batch_size = self._batch_size()
        self.steps = self._steps_per_epoch()
        self.net, self.optimizer = accelerator.prepare(self.model, optimizer)
        self.resident = Resident(accelerator.device)
        self.first = FirstPoints(len(self.train_set), config.points)
        self.step = make_step(
            config.step, self.model, self.net, self.optimizer, accelerator,
            clip=config.clip, accumulate=config.accumulate, task=self.task,
        )  # fmt: skip
        self.epoch, self.seconds = 0, 0.0
        self.best: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []

    def _batch_size(self) -> int:
        """Clouds of a process's step: as asked for, or its share of all where there are fewer."""
        share = len(self.train_set) // self.acc.num_processes // self.config.accumulate
        return min(self.config.batch_size, max(share, 2))  # BatchNorm needs two

    def _steps_per_epoch(self) -> int:
        """Whole batches, and whole sums of them: nothing is carried over into the next epoch."""
        c, clouds = self.config, len(self.train_set)
        steps = clouds // (self.batch_size * self.acc.num_processes) // c.accumulate * c.accumulate
        if steps == 0:
            raise ConfigError(
                f"{clouds} training clouds are too few for batches of {self.batch_size}, "
                f"{c.accumulate} accumulated, in {self.acc.num_processes} processes: give more"
            )
        return steps

    def run(self) -> TrainResults:
        c = self.config
        main = self.acc.is_main_process
        if c.resume:
            self._restore()
        elif main:
            self._start_folder()
        began = time.monotonic() - self.seconds
        if not c.resume:  # else the checkpoint holds what the method found
            show_clouds(self.model, self.train_set, c)
        with TrainingDisplay(c, self.steps, self.epoch, main) as display:
            while self.epoch < c.epochs:
                row = self._one_epoch(display)
                self.epoch += 1
                row |= self._select()
                self.seconds = time.monotonic() - began
                row["seconds"] = round(self.seconds, 2)
                self.history.append(row)
                display.epoch_done(row)
                if main and (self.epoch % c.save_every == 0 or self.epoch == c.epochs):
                    self._save()
        return self._finish()

    def _start_folder(self) -> None:
        save_config(self.config, self.config.out / "config.yaml")
        (self.config.out / "log.jsonl").unlink(missing_ok=True)

    def _rows(self, step: int, order: np.ndarray) -> np.ndarray:
        """One process's share of the clouds of a step."""
        acc = self.acc
        size = self.batch_size * acc.num_processes
        return order[step * size : (step + 1) * size][acc.process_index :: acc.num_processes]

    def _batch(self, step: int, order: np.ndarray) -> Batch:
        """A share of a step's clouds, augmented, from a generator of its own."""
        c, at = self.config, self._rows(step, order)
        seed = derive_seed(c.seed, self.epoch, step, self.acc.process_index)
        draw = torch.Generator().manual_seed(seed)
        return training_batch(
            self.train_set, self.truth, at, self.model.adapter, c.points, c.augment, draw,
            self.resident, self.first,
        )  # fmt: skip

    def _set_lr(self, step: int) -> float:
        c = self.config
        t = self.epoch + (step / self.steps if c.schedule == "step" else 0.0)
        lr = warmup_cosine(t, c.epochs, c.warmup_epochs, c.lr, c.min_lr, c.min_lr)
        self.step.set_lr(lr)
        return lr

    def _loss_scale(self) -> float:
        """What the engine multiplies a loss by before its backward pass."""
        scaler = self.acc.scaler
        return (scaler.get_scale() if scaler is not None else 1.0) / self.config.accumulate

    def _one_epoch(self, display: TrainingDisplay) -> dict[str, Any]:
        c, acc = self.config, self.acc
        order = epoch_order(self.train_set.labels, c.sampling, c.seed, self.epoch)
        # Seeding every epoch makes a resumed run equal to an uninterrupted one without storing
        # generator states; ranks differ so that their DropPath draws do.
        torch.manual_seed(derive_seed(c.seed, self.epoch, acc.process_index))
        self.net.train()
        sums: dict[str, Tensor] = {}
        lr = 0.0
        for step in range(self.steps):
            lr = self._set_lr(step)
            self.model.adapter.taps.loss_scale = self._loss_scale()
            batch = self._batch(step, order)
            loss, output = self.step(batch.points, batch.target, **batch.told)
            for name, value in {"loss": loss, **self.task.running(output, batch.target)}.items():
                sums[name] = sums[name] + value if name in sums else value.detach().clone()
            if step % 10 == 9 or step + 1 == self.steps:
                display.step_done(step + 1, float(sums["loss"]) / (step + 1))
        all_of_it: Any = acc.reduce(torch.stack(list(sums.values())), reduction="mean")
        loss_mean, *others = (all_of_it / self.steps).tolist()
        if not math.isfinite(loss_mean):
            raise PointAdaptError(
                f"the loss became {loss_mean} in epoch {self.epoch + 1}: lower --lr, "
                "or train in --precision fp32"
            )
        return {
            "epoch": self.epoch + 1,
            "loss": round(loss_mean, 6),
            **{f"train_{k}": round(v, 3) for k, v in zip(list(sums)[1:], others, strict=True)},
            "lr": lr,
        }

    def _score(self, clouds: Clouds, votes: int = 0) -> dict[str, Any]:
        c, model = self.config, self.model
        with self.acc.autocast():
            predicted = predict_clouds(model, clouds, c.points, votes=votes, seed=c.seed)
        try:
            return score(model, clouds, predicted)
        except PointAdaptError as error:
            raise PointAdaptError(
                f"{error} after epoch {self.epoch}: lower --lr, or train in --precision fp32"
            ) from error

    def _select(self) -> dict[str, Any]:
        """Score this epoch where the selection asks for it, and keep the best state."""
        c = self.config
        if c.select == "last":
            return {}
        metric = self.task.metric
        clouds = self.test_set if c.select == "test" else self.val_set
        assert clouds is not None
        value = self._score(clouds)[metric]
        if value > self.best.get("value", -math.inf):
            state = {k: v.cpu().clone() for k, v in self.model.adapter_state().items()}
            self.best = {"value": value, "epoch": self.epoch, "state": state}
        return {f"{c.select}_{metric}": value}

    def _identity(self) -> str:
        plain = {k: v for k, v in to_plain(self.config).items() if k not in MAY_DIFFER}
        plain["backbone_sha256"] = self.model.backbone.fingerprint
        plain["processes"] = self.acc.num_processes
        plain["train_clouds"] = len(self.train_set)
        return json.dumps(plain, sort_keys=True)

    def _save(self) -> None:
        state = {
            "identity": self._identity(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": json.dumps(self.history),
            "adapter": {k: v.cpu() for k, v in self.model.adapter_state().items()},
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "scaler": self.acc.scaler.state_dict() if self.acc.scaler is not None else {},
        }
        save_state(self.config.out / "checkpoint.pt", state)

    def _restore(self) -> None:
        path = self.config.out / "checkpoint.pt"
        state = load_state(path)
        try:
            # Values, not text: a whole number and the same one from a YAML file may be spelt apart.
            differ = other_options(json.loads(state["identity"]), json.loads(self._identity()))
            if differ:
                raise CheckpointError(
                    f"{path} was made with other options ({differ}): "
                    "resume with the same ones, or choose another --out"
                )
            self.model.load_adapter_state(state["adapter"], str(path))
            self.optimizer.load_state_dict(state["optimizer"])
            if self.acc.scaler is not None:
                self.acc.scaler.load_state_dict(state["scaler"])
            self.epoch, self.seconds = int(state["epoch"]), float(state["seconds"])
            self.history, self.best = json.loads(state["history"]), state["best"]
        except KeyError as error:
            raise CheckpointError(
                f"{path} is no training checkpoint: {error} is missing"
            ) from error
        if self.acc.is_main_process:
            self._tidy()

    def _tidy(self) -> None:
        """Cut the log to what the checkpoint holds; remove what a killed run half wrote."""
        out = self.config.out
        with atomic(out / "log.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in self.history))
        for part in out.glob(".*.part"):
            part.unlink(missing_ok=True)

    def _finish(self) -> TrainResults:
        c, model = self.config, self.model
        if self.best:
            model.load_adapter_state(self.best["state"], "best epoch")
        scores = self._score(self.test_set, c.votes)
        trainable, total = parameter_counts(model)
        results: Any = {
            "method": c.method,
            "task": c.task,
            "data": c.data,
            "backbone": c.backbone,
            **{k: v for k, v in scores.items() if not isinstance(v, dict)},
            "trainable_parameters": trainable,
            "total_parameters": total,
            "seconds": round(self.seconds, 1),
            "peak_memory_bytes": peak_memory(),
            "protocol": {
                **stated(c, self.best.get("epoch", c.epochs)), "batch_size": self.batch_size,
                "train_clouds": len(self.train_set), "test_clouds": len(self.test_set),
            },
            "per_class": scores.get("per_class", {}),
            "confusion": scores.get("confusion", {}),
            "machine": describe_machine(),
            "config": to_plain(c),
        }  # fmt: skip
        if self.acc.is_main_process:
            folder = hub.save_adapter(
                model, c.out / "adapter", backbone=c.backbone, points=c.points,
                results=results, dataset=c.data,
            )  # fmt: skip
            results["adapter"] = str(folder)
            results["adapter_bytes"] = (folder / hub.WEIGHTS).stat().st_size
            write_json(c.out / "results.json", results)
        return results
