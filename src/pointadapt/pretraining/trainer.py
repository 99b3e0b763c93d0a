"""Pre-training: by masked autoencoding (Point-MAE, Pang et al., ECCV 2022), or on made-up scenes.

Several processes (``torchrun --nproc-per-node N -m pointadapt pretrain ...``) share each batch and
see what one process would: the same clouds, augmentation and masks. BatchNorm alone differs: each
process normalises by its own share. A patch encoder's batch is every point of every visible patch,
thousands even of a small share, so SyncBatchNorm's two exchanges a layer would change next to
nothing. A loss that contrasts views compares the clouds of a process's share alone. Running
statistics are averaged over the processes before anything reads them.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ..backbones.folder import save_backbone
from ..core import console, stops
from ..core.config import PretrainConfig
from ..core.errors import PointAdaptError
from ..core.files import CHECKPOINT, save_state, stored_bytes, write_json
from ..core.folders import only_run_in, reserve
from ..core.machine import (
    describe_machine,
    in_any_process,
    keep_large_blocks,
    make_accelerator,
    peak_memory,
    use_threads,
)
from ..core.results import PretrainSummary
from ..pretrained.load import load_backbone
from ..recipes.start import configured
from ..training.schedule import warmup_cosine
from .batches import loader
from .objectives import make_objective
from .setup import identity, make_optimizer, resume, shared
from .step import make_step

LOG = 50  # steps between lines of the log, and of which it and the summary tell the mean
AGREE = 10  # steps after which several processes ask one another whether to stop


def pretrain(config: PretrainConfig | Path | str | None = None, **options: Any) -> PretrainSummary:
    """Run or resume pre-training; writes ``backbone/`` under ``config.out`` and returns a summary.

    Only the main one of several processes writes; the others return an empty summary.

    Args:
        config: all options, or a YAML file with some of them.
        options: options by name, as :class:`~pointadapt.core.config.PretrainConfig` lists them.

    Raises:
        ConfigError: ``config.out`` holds an earlier run, which is not to be resumed.
        CheckpointError: the checkpoint to resume belongs to another configuration.
        PointAdaptError: the loss is no number any more, or the disk is full.
        Stopped: by SIGTERM, in a process that handles it (:mod:`pointadapt.core.stops`).
    """
    config = configured(PretrainConfig, config, options)
    keep_large_blocks()
    use_threads(config.threads)
    accelerator = make_accelerator(config.precision)
    main = accelerator.is_main_process
    with only_run_in(config.out, "backbone", "pictures") if main else nullcontext():
        return _Run(config, accelerator).run()


class _Run:
    """The state of one pre-training run."""

    def __init__(self, config: PretrainConfig, accelerator: Accelerator) -> None:
        torch.manual_seed(config.seed)
        self.config, self.acc, self.device = config, accelerator, accelerator.device
        self.rank, self.processes = accelerator.process_index, accelerator.num_processes
        self.objective = make_objective(config, accelerator)
        self.source, self.figure = self.objective.source, self.objective.figure
        self.net = self.objective.net.to(self.device)
        self.optimizer = make_optimizer(config, self.net)
        self.monitor = self.objective.monitor() if accelerator.is_main_process else None
        earlier = resume(config, self.net, self.optimizer)
        net = shared(self.net, accelerator)
        self.step = make_step(config, self.objective, net, self.optimizer, accelerator)
        self.start = self.seen = earlier.step  # seen: steps of which the losses are here
        if self.monitor is not None:
            self.monitor.cut(self.start)
        self.began = time.monotonic() - earlier.seconds
        self.pending: list[Tensor] = []  # losses that are still on the device
        # What is minimised, and the objective's second figure, of the last steps.
        self.losses, self.figures = deque(earlier.losses, LOG), deque(earlier.figures, LOG)

    def run(self) -> PretrainSummary:
        c, steps = self.config, range(self.start, self.config.steps)
        self.net.train()
        if self.monitor is not None:
            self._reserve()
        batches = loader(self.source, steps, c.workers, pin=self.device.type == "cuda")
        shown = console.progress(
            "pre-training", c.steps, unit="steps", done=self.start, shown=self.acc.is_main_process
        )
        with shown as tell, stops.later():
            for step, batch in zip(steps, batches, strict=True):
                parts = (part.to(self.device, non_blocking=True) for part in batch)
                lr = self._step(step, *parts)
                # Asking a GPU for the loss makes it wait, so it is asked now and then.
                if self.device.type == "cpu" or self._due(step, LOG) or self._due(step):
                    self._collect()
                    tell(step + 1, f" · loss {self.losses[-1]:.5f}")
                if self._due(step, LOG):
                    self._log(step, lr)
                if self._due(step):
                    self._stop_over(step)
                if self._asked_to_stop(step):
                    self._save_and_stop(step)
        return self._finish()

    def _reserve(self) -> None:
        """See that the disk has room for two checkpoints (one replaces the other) and the end."""
        net = stored_bytes(self.net.state_dict().values())
        checkpoint = net + 2 * stored_bytes(p for p in self.net.parameters() if p.requires_grad)
        reserve(self.config.out, 2 * checkpoint + net, "checkpoints and the backbone")

    def _due(self, step: int, *every: int) -> bool:
        """Whether one of ``every`` so many steps is over (by default: any but the log's)."""
        c = self.config
        every = every or (c.save_every, c.probe_every, c.picture_every, c.steps)
        return any(n and (step + 1) % n == 0 for n in every)

    def _step(self, step: int, *batch: Tensor) -> float:
        """One optimizer step; returns its learning rate."""
        c = self.config
        lr = warmup_cosine(step, c.steps, c.warmup_steps, c.lr, c.min_lr)
        self.step.set_lr(lr)
        losses = self.step(**self.objective.inputs(step, *batch))
        self.pending.append(torch.stack(losses))  # a copy: a captured step overwrites them
        return lr

    def _collect(self) -> None:
        """Fetch the losses since the last time, as means over the processes."""
        values: Any = torch.stack(self.pending)
        if self.processes > 1:
            values = self.acc.reduce(values, reduction="mean")
        self.pending = []
        for loss, figure in values.tolist():
            self.seen += 1
            self.losses.append(loss)
            self.figures.append(figure)
            if not math.isfinite(loss):
                raise PointAdaptError(
                    f"the loss became {loss} in step {self.seen}: "
                    "lower --lr, or train in --precision fp32"
                )

    def _log(self, step: int, lr: float) -> None:
        if self.monitor is not None:
            self.monitor.log({
                "step": step + 1,
                "loss": _mean(self.losses),
                self.figure: _mean(self.figures),
                "lr": lr,
                "seconds": round(time.monotonic() - self.began, 1),
            })  # fmt: skip

    def _asked_to_stop(self, step: int) -> bool:
        """Whether the run ends after this step; several processes must agree."""
        if self.processes == 1:
            return stops.asked()
        if (step + 1) % AGREE:
            return False
        return in_any_process(self.acc, stops.asked())

    def _save_and_stop(self, step: int) -> None:
        if self.pending:
            self._collect()
        self._share_statistics()
        self._save(step)
        raise stops.Stopped(f"saved after step {step + 1} of {self.config.steps}")

    def _stop_over(self, step: int) -> None:
        """Look at the network, then save: what the log has of a step is there once it is saved."""
        c = self.config
        self._share_statistics()
        if self.monitor is not None:
            self.monitor.look(self.net, step + 1)
        if self._due(step, c.save_every, c.steps):
            self._save(step)

    def _share_statistics(self) -> None:
        if self.processes > 1:
            for name, buffer in self.net.named_buffers():
                if "running_" in name:
                    buffer.copy_(self.acc.reduce(buffer, reduction="mean"))  # type: ignore[arg-type]

    def _save(self, step: int) -> None:
        if self.monitor is None:  # not the main one of several processes
            return
        state = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": step + 1,
            "losses": list(self.losses),
            "chamfers": list(self.figures),
            "seconds": time.monotonic() - self.began,
            "config": json.dumps(identity(self.config)),
        }
        save_state(self.config.out / CHECKPOINT, state)

    def _finish(self) -> PretrainSummary:
        if self.monitor is None:
            return PretrainSummary()  # type: ignore[typeddict-item]
        c = self.config
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[c.save_precision]
        self.net.backbone.seal()
        folder = save_backbone(self.net.backbone, c.out / "backbone", dtype, c.shard_mb * 10**6)
        summary: Any = {
            "backbone": str(folder),
            "sha256": load_backbone(folder).fingerprint,  # of what was stored, maybe rounded
            "loss": round(_mean(self.losses), 6) if self.losses else None,
            self.figure: round(_mean(self.figures), 6) if self.figures else None,
            **self.monitor.summary(),
            "clouds": c.steps * c.batch_size,
            "seconds": round(time.monotonic() - self.began, 1),
            "processes": self.processes,
            "peak_memory_bytes": peak_memory(),
            "machine": describe_machine(),
            "config": identity(c),
        }
        write_json(c.out / "summary.json", summary)
        return summary


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


__all__ = ["pretrain"]
