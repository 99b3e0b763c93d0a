"""Pre-training by masked autoencoding (Point-MAE, Pang et al., ECCV 2022).

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
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..backbones.folder import save_backbone
from ..core import console, stops
from ..core.config import PretrainConfig
from ..core.errors import PointAdaptError
from ..core.files import save_state, stored_bytes, write_json
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
from ..data.transforms import augment
from ..ops import normalize
from ..pretrained.load import load_backbone
from ..recipes.start import configured
from ..training.schedule import warmup_cosine
from .contrast import second_view
from .masked_autoencoder import MaskedAutoencoder
from .mixture import CloudBatches
from .monitor import Monitor
from .setup import identity, make_optimizer, network, resume, shared

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
        self.source = CloudBatches(config, self.rank, self.processes)
        self.net = network(config, self.source).to(self.device)
        self.optimizer = make_optimizer(config, self.net)
        main = accelerator.is_main_process
        self.monitor = Monitor(config, self.source.source) if main else None
        earlier = resume(config, self.net, self.optimizer)
        self.start = self.seen = earlier.step  # seen: steps of which the losses are here
        if self.monitor is not None:
            self.monitor.cut(self.start)
        self.began = time.monotonic() - earlier.seconds
        self.pending: list[Tensor] = []  # losses that are still on the device
        # What is minimised, and the Chamfer distance, of the last steps.
        self.losses, self.chamfers = deque(earlier.losses, LOG), deque(earlier.chamfers, LOG)

    def run(self) -> PretrainSummary:
        c, steps = self.config, range(self.start, self.config.steps)
        parallel = shared(self.net, self.acc)
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
                lr = self._step(parallel, step, *parts)
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

    def _step(
        self, net: nn.Module, step: int, clouds: Tensor, labels: Tensor, has: Tensor, known: Tensor
    ) -> float:
        """One optimizer step; returns its learning rate."""
        c = self.config
        lr = warmup_cosine(step, c.steps, c.warmup_steps, c.lr, c.min_lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        draw = torch.Generator().manual_seed(c.seed * 1_000_003 + step)
        points = self._whole(clouds, lambda x: augment(normalize(x), c.augment, draw))
        view = self._whole(clouds, lambda x: second_view(x, c, draw)) if c.views else None
        bf16 = c.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            out = net(points, draw, self.rank, self.processes, view)
        loss = chamfer = out.chamfer()
        if c.label_weight:
            loss = loss + c.label_weight * out.label_loss(labels, self._labelled(labels))
        if c.attribute_weight:
            loss = loss + c.attribute_weight * out.attribute_loss(has, known)
        if c.contrast_weight:
            loss = loss + c.contrast_weight * out.contrast_loss()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), c.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.pending.append(torch.stack([loss.detach(), chamfer.detach()]))
        return lr

    def _whole(self, points: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """The process's share, changed by the draws that it gets in the whole batch."""
        share, n = len(points), self.processes
        mine = slice(self.rank * share, (self.rank + 1) * share)
        if n > 1:
            whole = points.new_zeros(n * share, *points.shape[1:])
            whole[mine] = points
            points = whole
        return change(points)[mine]

    def _labelled(self, labels: Tensor) -> Tensor | None:
        """The mean number of labelled clouds over the processes; None for one process."""
        if self.processes == 1:
            return None
        count: Any = self.acc.reduce((labels >= 0).sum().float(), reduction="mean")
        return count.clamp(min=1 / self.processes)

    def _collect(self) -> None:
        """Fetch the losses since the last time, as means over the processes."""
        values: Any = torch.stack(self.pending)
        if self.processes > 1:
            values = self.acc.reduce(values, reduction="mean")
        self.pending = []
        for loss, chamfer in values.tolist():
            self.seen += 1
            self.losses.append(loss)
            self.chamfers.append(chamfer)
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
                "chamfer": _mean(self.chamfers),
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
            "chamfers": list(self.chamfers),
            "seconds": time.monotonic() - self.began,
            "config": json.dumps(identity(self.config)),
        }
        save_state(self.config.out / "checkpoint.pt", state)

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
            "chamfer": round(_mean(self.chamfers), 6) if self.chamfers else None,
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


def loader(
    source: CloudBatches, steps: range, workers: int, *, pin: bool
) -> torch.utils.data.DataLoader:
    """The batches of ``steps`` in order, made ahead of time by so many processes.

    Args:
        source: step to batch.
        steps: which, in order.
        workers: 0 makes the batches in this process, when they are asked for.
        pin: into page-locked memory, from which a GPU copies while it computes.
    """
    return torch.utils.data.DataLoader(
        source, batch_size=None, sampler=steps, num_workers=workers, pin_memory=pin,
        prefetch_factor=max(2, 8 // workers) if workers else None,
        worker_init_fn=_leave_signals,
    )  # fmt: skip


def _leave_signals(worker: int) -> None:
    """A signal may reach all processes of a run, and this one ends with the one that it serves."""
    del worker
    stops.ignore()


__all__ = ["MaskedAutoencoder", "pretrain"]
