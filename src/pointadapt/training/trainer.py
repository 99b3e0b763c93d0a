"""Adapting a backbone: the training loop, on accelerate."""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from ..adapters import folder as adapter_folder
from ..adapters.protocol import stated
from ..core import stops
from ..core.config import MAY_DIFFER, TrainConfig, other_options, save_config, to_plain
from ..core.errors import CheckpointError, ConfigError, PointAdaptError
from ..core.files import (
    CHECKPOINT,
    atomic,
    load_state,
    restoring,
    save_state,
    stored_bytes,
    write_json,
)
from ..core.folders import only_run_in, reserve
from ..core.machine import (
    derive_seed,
    describe_machine,
    get_draws,
    in_any_process,
    keep_large_blocks,
    make_accelerator,
    peak_memory,
    set_draws,
    use_threads,
)
from ..core.results import TrainResults
from ..data import Clouds
from ..inference.forest import baseline_of
from ..inference.forward import predict_clouds
from ..inference.score import score
from ..recipes.start import configured
from ..tasks.inputs import size_range
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
    fitted,
    load_clouds,
    make_dataset,
    show_clouds,
    truth_of,
)
from .start import fit_beside, fit_head, kept_start, trial
from .step import make_step
from .trackers import check_trackers

AGREE = 10  # optimizer steps after which several processes ask one another whether to stop


def train(config: TrainConfig | Path | str | None = None, **options: Any) -> TrainResults:
    """Adapt a backbone; returns the results that are written to ``out/results.json``.

    Args:
        config: all options, or a YAML file with some of them.
        options: options by name, as :class:`~pointadapt.core.config.train.TrainConfig` lists them;
            ``recipe`` starts from a preset.

    Raises:
        PointAdaptError: bad input, in one line.
        Stopped: by SIGTERM, in a process that handles it (:mod:`pointadapt.core.stops`).
    """
    return train_in(configured(TrainConfig, config, options))


def train_in(config: TrainConfig, patience: float = 0.0) -> TrainResults:
    """:func:`train`; waits ``patience`` seconds for another run in ``config.out`` to end."""
    check_names(config)
    check_trackers(config.tracker)
    accelerator = make_accelerator(config.precision, config.accumulate)
    keep_large_blocks()
    use_threads(config.threads)
    main = accelerator.is_main_process
    with only_run_in(config.out, "adapter", patience=patience) if main else nullcontext():
        check_folder(config)
        config = fitted(config)
        begin: Any = train_in
        tried = trial(config, begin)
        return Run(config, accelerator, tried).run()


def add(sums: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Add what a step gave to an epoch's sums."""
    for name, value in values.items():
        before = sums.get(name)
        now = value.detach().float()
        sums[name] = now.clone() if before is None else before + now


class Run:
    """The state of one training run.

    Args:
        config: what to train.
        accelerator: the engine.
        tried: what :func:`.start.trial` found.
        like: a run of the same clouds, which need not be read again.

    Attributes:
        together: how many runs take the same steps at once (:mod:`.together`).
    """

    together = 1

    def __init__(
        self, config: TrainConfig, accelerator: Accelerator, tried: dict[str, Any] | None = None,
        like: Run | None = None,
    ) -> None:  # fmt: skip
        self.config, self.acc, self.tried = config, accelerator, tried or {}
        if like is None:
            self.data = make_dataset(config)
            self.train_set, self.test_set, self.val_set = load_clouds(config, self.data)
        else:
            self.data, self.train_set = like.data, like.train_set
            self.test_set, self.val_set = like.test_set, like.val_set
        known = self.train_set
        self.model = build_model(
            config, known.classes, known.part_names, known.feature_names, known.normalise
        )
        if self.data.origin().own_files:
            self.model.adapter.sizes = size_range(known.known_traits)
        task = self.model.adapter.task
        check_splits(task, config.data, train=known, test=self.test_set, val=self.val_set)
        self.task, self.truth = task.fitted(known), truth_of(task, known)
        optimizer = torch.optim.AdamW(
            self.model.parameter_groups(config.weight_decay), lr=config.lr, fused=True
        )
        self.batch_size = self._batch_size()
        self.steps = self._steps_per_epoch()
        self.net, self.optimizer = accelerator.prepare(self.model, optimizer)
        self.resident = like.resident if like else Resident(accelerator.device)
        self.first = like.first if like else FirstPoints(len(known), config.points)
        self.step = make_step(
            config.step, self.model, self.net, self.optimizer, accelerator,
            clip=config.clip, accumulate=config.accumulate, task=self.task,
            clouds=config.epochs * len(self.train_set),
        )  # fmt: skip
        self.epoch, self.done, self.seconds = 0, 0, 0.0  # done: steps of this epoch
        self.sums: dict[str, Tensor] = {}  # of what these steps gave: loss, accuracy
        self.inside: dict[str, Any] = {}  # what to go on from in the middle of an epoch
        self.began = time.monotonic()
        idle = task.begins_linear and (self.model.adapter.method.fits or kept_start(self.tried))
        self.epochs = 0 if idle else config.epochs
        self.fit: dict[str, Any] = {}  # how the head was fitted, if it was
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
        self.start()
        main = self.acc.is_main_process
        with TrainingDisplay(self.config, self.steps, self.epoch, main) as display, stops.later():
            while self.epoch < self.epochs:
                try:
                    self.epoch_over(self._train_epoch(display), display)
                except stops.Stopped as stopped:
                    self._save()
                    where = f"step {self.done} of {self.steps} of epoch {self.epoch + 1}"
                    raise stops.Stopped(f"saved after {where}") from stopped
        return self.finish()

    def start(self) -> None:
        """All that comes before the first epoch, or where a stopped run goes on."""
        c, main = self.config, self.acc.is_main_process
        if main:
            self._reserve()
        if c.resume:
            self._restore()
        elif main:
            self._start_folder()
        self.began = time.monotonic() - self.seconds
        if not c.resume:  # else the checkpoint holds what was found
            self._begin()

    def _begin(self) -> None:
        """What comes before the first epoch: the method looks at the clouds, a head is fitted."""
        show_clouds(self.model, self.train_set, self.config)
        with self.acc.autocast():
            fit_beside(self.model, self.train_set, self.config)
            self.fit = fit_head(self.model, self.train_set, self.config)
        if self.fit:
            row = {"epoch": 0, **self._select()}
            self.seconds = time.monotonic() - self.began
            self.history.append({**row, "seconds": round(self.seconds, 2)})
            self._save()

    def epoch_over(self, row: dict[str, Any], display: TrainingDisplay) -> None:
        """Score an epoch whose steps are done, log its ``row`` and save."""
        c = self.config
        row |= self._select()
        self.epoch, self.done = self.epoch + 1, 0
        self.seconds = (time.monotonic() - self.began) / self.together
        row["seconds"] = round(self.seconds, 2)
        self.history.append(row)
        display.epoch_done(row)
        alone = self.together == 1
        if alone and (self.epoch % c.save_every == 0 or self.epoch == c.epochs):
            self._save()

    def _reserve(self) -> None:
        """See that the disk has room for two checkpoints (one replaces the other) and the adapter.

        AdamW has two numbers for each that trains, and the best epoch may be kept beside the last.
        """
        state = stored_bytes(self.model.adapter_state().values())
        trained = stored_bytes(p for p in self.model.parameters() if p.requires_grad)
        checkpoint = state * (1 if self.config.select == "last" else 2) + 2 * trained
        reserve(self.config.out, 2 * checkpoint + state, "checkpoints and the adapter")

    def _start_folder(self) -> None:
        save_config(self.config, self.config.out / "config.yaml")
        (self.config.out / "log.jsonl").unlink(missing_ok=True)

    def _rows(self, step: int, order: np.ndarray) -> np.ndarray:
        """One process's share of the clouds of a step."""
        acc = self.acc
        size = self.batch_size * acc.num_processes
        return order[step * size : (step + 1) * size][acc.process_index :: acc.num_processes]

    def batch(self, step: int, order: np.ndarray) -> Batch:
        """A share of a step's clouds, augmented, from a generator of its own."""
        c, at = self.config, self._rows(step, order)
        seed = derive_seed(c.seed, self.epoch, step, self.acc.process_index)
        draw = torch.Generator().manual_seed(seed)
        return training_batch(
            self.train_set, self.truth, at, self.model.adapter, c.points, c.augment, draw,
            self.resident, self.first,
        )  # fmt: skip

    def lr(self, step: int) -> float:
        """The learning rate of a step of this epoch."""
        c = self.config
        t = self.epoch + (step / self.steps if c.schedule == "step" else 0.0)
        return warmup_cosine(t, c.epochs, c.warmup_epochs, c.lr, c.min_lr, c.min_lr)

    def _loss_scale(self) -> float:
        """What the engine multiplies a loss by before its backward pass."""
        scaler = self.acc.scaler
        return (scaler.get_scale() if scaler is not None else 1.0) / self.config.accumulate

    def _train_epoch(self, display: TrainingDisplay) -> dict[str, Any]:
        """The steps of this epoch that are left; its line of the log."""
        order = self.begin_epoch()
        for step in range(self.done, self.steps):
            self.step.set_lr(self.lr(step))
            self.model.adapter.taps.loss_scale = self._loss_scale()
            batch = self.batch(step, order)
            loss, output = self.step(batch.points, batch.target, **batch.told)
            add(self.sums, {"loss": loss, **self.task.running(output, batch.target)})
            self.done = step + 1
            if step % 10 == 9 or step + 1 == self.steps:
                display.step_done(step + 1, float(self.sums["loss"]) / (step + 1))
            if self._asked_to_stop():
                raise stops.Stopped
        return self.epoch_row()

    def begin_epoch(self) -> np.ndarray:
        """Be ready for the steps of this epoch that are left; the order of its clouds."""
        c = self.config
        order = epoch_order(self.train_set.labels, c.sampling, c.seed, self.epoch)
        self.net.train()
        self._begin_or_go_on()
        return order

    def epoch_row(self) -> dict[str, Any]:
        """What the log says of an epoch whose steps are done.

        Raises:
            PointAdaptError: the loss is no number any more.
        """
        all_of_it: Any = self.acc.reduce(torch.stack(list(self.sums.values())), reduction="mean")
        loss_mean, *others = (all_of_it / self.steps).tolist()
        if not math.isfinite(loss_mean):
            raise PointAdaptError(
                f"the loss became {loss_mean} in epoch {self.epoch + 1}: lower --lr, "
                "or train in --precision fp32"
            )
        return {
            "epoch": self.epoch + 1,
            "loss": round(loss_mean, 6),
            **{f"train_{k}": round(v, 3) for k, v in zip(list(self.sums)[1:], others, strict=True)},
            "lr": self.lr(self.steps - 1),
        }

    def _begin_or_go_on(self) -> None:
        """Random draws and sums as they are before the next step.

        Seeding every epoch makes a resumed run equal to an uninterrupted one without storing
        generator states, except where it was stopped inside an epoch. Processes differ so that
        their DropPath draws do.
        """
        if self.done:
            set_draws(self.inside["draws"], self.acc.device)
            self.sums = {k: v.to(self.acc.device) for k, v in self.inside["sums"].items()}
            if "deciding" in self.inside:  # else of a version that asked in every step
                self.model.adapter.taps.decide(tuple(self.inside["deciding"]))
            return
        torch.manual_seed(derive_seed(self.config.seed, self.epoch, self.acc.process_index))
        self.sums = {}

    def _asked_to_stop(self) -> bool:
        """Whether the run ends after this step, in which the optimizer must have moved.

        Several processes must agree, or some would wait for the others for ever.
        """
        moved, rest = divmod(self.done, self.config.accumulate)
        if rest or self.acc.num_processes == 1:
            return stops.asked() and not rest
        if moved % AGREE:
            return False
        return in_any_process(self.acc, stops.asked())

    @property
    def trained(self) -> int:
        """Epochs of which all steps are done."""
        return self.epoch + (self.done == self.steps)

    def _score(self, clouds: Clouds, votes: int = 0) -> dict[str, Any]:
        c, model = self.config, self.model
        watch = stops.check if self.acc.num_processes == 1 else None  # others would go on alone
        with self.acc.autocast():
            predicted = predict_clouds(
                model, clouds, c.points, votes=votes, voting=c.voting, seed=c.seed, on_batch=watch
            )
        try:
            return score(model, clouds, predicted)
        except PointAdaptError as error:
            raise PointAdaptError(
                f"{error} after epoch {self.trained}: lower --lr, or train in --precision fp32"
            ) from error

    def _select(self) -> dict[str, Any]:
        """Score this epoch where the selection asks for it, and keep the best state."""
        c = self.config
        if c.select == "last":
            return {}
        metric = self.task.metric
        value = self._score(self._chosen_on())[metric]
        if value > self.best.get("value", -math.inf):
            state = {k: v.cpu().clone() for k, v in self.model.adapter_state().items()}
            self.best = {"value": value, "epoch": self.trained, "state": state}
        return {f"{c.select}_{metric}": value}

    def _chosen_on(self) -> Clouds:
        """The clouds that the epoch is selected on."""
        clouds = self.test_set if self.config.select == "test" else self.val_set
        assert clouds is not None
        return clouds

    def _identity(self) -> str:
        plain = {k: v for k, v in to_plain(self.config).items() if k not in MAY_DIFFER}
        plain["backbone_sha256"] = self.model.backbone.fingerprint
        plain["processes"] = self.acc.num_processes
        plain["train_clouds"] = len(self.train_set)
        return json.dumps(plain, sort_keys=True)

    def _save(self) -> None:
        sums = {k: v.cpu() for k, v in self.sums.items()}
        deciding = list(self.model.adapter.taps.deciding())
        own = {"draws": get_draws(self.acc.device), "sums": sums, "deciding": deciding}
        inside = gather_object([own]) if self.done else []
        if not self.acc.is_main_process:
            return
        state = {
            "identity": self._identity(),
            "epoch": self.epoch,
            "done": self.done,
            "inside": inside,
            "seconds": time.monotonic() - self.began,
            "history": json.dumps(self.history),
            "fit": json.dumps(self.fit),
            "adapter": {k: v.cpu() for k, v in self.model.adapter_state().items()},
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "normalise": self.model.adapter.normalise,
            "scaler": self.acc.scaler.state_dict() if self.acc.scaler is not None else {},
        }
        save_state(self.config.out / CHECKPOINT, state)

    def _restore(self) -> None:
        path = self.config.out / CHECKPOINT
        state = load_state(path)
        with restoring(path):
            # Values, not text: a whole number and the same one from a YAML file may be spelt apart.
            differ = other_options(json.loads(state["identity"]), json.loads(self._identity()))
            if differ:
                raise CheckpointError(
                    f"{path} was made with other options ({differ}): "
                    "resume with the same ones, or choose another --out"
                )
            self.model.load_adapter_state(state["adapter"], str(path))
            self.model.adapter.normalise = state.get("normalise", True)  # as it began
            self.optimizer.load_state_dict(state["optimizer"])
            if self.acc.scaler is not None:
                self.acc.scaler.load_state_dict(state["scaler"])
            self.epoch, self.seconds = int(state["epoch"]), float(state["seconds"])
            self.history = [dict(row) for row in json.loads(state["history"])]
            self.best = dict(state["best"])
            self.fit = dict(json.loads(state.get("fit", "{}")))
            self.done = int(state.get("done", 0))  # checkpoints of old are of whole epochs
            if self.done:
                self.inside = dict(state["inside"][self.acc.process_index])
                self._begin_or_go_on()  # tries whether it can be used
        if self.acc.is_main_process:
            self._tidy()

    def _tidy(self) -> None:
        """Cut the log to what the checkpoint holds."""
        out = self.config.out
        with atomic(out / "log.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in self.history))

    def _how(self) -> dict[str, Any]:
        """How the result came about, and what a forest does, where there is more to be said."""
        c, said = self.config, {"fit": self.fit, "trial": self.tried}
        if c.select != "last":
            scores = [row[f"{c.select}_{self.task.metric}"] for row in self.history]
            said["held_out"] = {"clouds": len(self._chosen_on()), "scores": scores}
        if c.baseline and self.acc.is_main_process:
            sets = self.train_set, self.test_set
            said["baseline"] = baseline_of(self.task, self.data, *sets, c.seed)
        return {name: values for name, values in said.items() if values}

    def finish(self) -> TrainResults:
        c, model = self.config, self.model
        if self.best:
            model.load_adapter_state(self.best["state"], "best epoch")
        scores = self._score(self.test_set, c.votes)
        trainable, total = parameter_counts(model)
        results: Any = {
            "method": c.method,
            "task": c.task,
            "data": c.data,
            "title": self.data.title(),
            "backbone": c.backbone,
            "head_inputs": list(model.adapter.head_inputs),
            **{k: v for k, v in scores.items() if not isinstance(v, dict)},
            "trainable_parameters": trainable,
            "total_parameters": total,
            "seconds": round(self.seconds + self.tried.get("seconds", 0.0), 1),
            "peak_memory_bytes": peak_memory(),
            "protocol": {
                **stated(c, self.best.get("epoch", self.epochs)), "epochs": self.epochs,
                "batch_size": self.batch_size,
                "normalised": model.adapter.normalise,
                "train_clouds": len(self.train_set), "test_clouds": len(self.test_set),
                **({"trained_together": self.together} if self.together > 1 else {}),
            },
            **self._how(),
            "settled": self.data.settled(),
            "per_class": scores.get("per_class", {}),
            "confusion": scores.get("confusion", {}),
            "machine": describe_machine(),
            "config": to_plain(c),
        }  # fmt: skip
        files = self._files()
        if self.acc.is_main_process:
            folder = adapter_folder.save_adapter(
                model, c.out / "adapter", backbone=c.backbone, points=c.points,
                results=results, dataset=results["title"], available=self.train_set.points.shape[1],
            )  # fmt: skip
            results["adapter"] = str(folder)
            results["adapter_bytes"] = (folder / adapter_folder.WEIGHTS).stat().st_size
            results |= files  # which are nobody's concern who gets the adapter
            write_json(c.out / "results.json", results)
        return results

    def _files(self) -> dict[str, Any]:
        """Which of a user's files were held out, for the score or the selection, or left out."""
        files = self.data.told()
        if self.val_set is not None and self.data.origin().own_files:
            files |= {"validation_files": list(self.val_set.ids)}
        return files
