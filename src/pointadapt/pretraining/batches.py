"""The batches of a pre-training run, in order and made ahead of time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core import stops
from ..core.config import PretrainConfig
from .mixture import make_source


class CloudBatches(torch.utils.data.Dataset):
    """Step to a process's share of its batch: the same step gives the same clouds, whoever asks.

    A batch is points (B, N, 3), labels (B,), -1 where there is no class, and which attributes the
    clouds have, and of which that is known, both (B, attributes) and empty for other data.

    Args:
        config: what to read.
        rank: which of the ``processes`` this is; process r has the r-th of equal parts of a batch.
        processes: how many share a batch.

    Raises:
        ConfigError: the batch cannot be shared equally.
    """

    def __init__(self, config: PretrainConfig, rank: int = 0, processes: int = 1) -> None:
        self.config, self.rank = config, rank
        self.share = config.share_of_batch(processes)
        self.source = make_source(config)
        self.classes, self.attributes = self.source.classes, self.source.attributes

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        start = step * self.config.batch_size + self.rank * self.share
        d = self.source.described(start, self.share)
        return tuple(map(torch.from_numpy, (d.points, d.labels, d.has, d.known)))

    def __len__(self) -> int:
        return self.config.steps


def loader(
    source: torch.utils.data.Dataset[Any], steps: range, workers: int, *, pin: bool
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
