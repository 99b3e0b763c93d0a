"""How long a trained model takes to predict."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch

from ..adapters.protocol import autocast, load_ready
from ..core.config import TrainConfig
from ..core.machine import use_threads
from .forward import predict_probabilities

BATCH, REPEATS = 32, 7


def inference_time(folder: Path | str, config: TrainConfig) -> dict[str, Any]:
    """Seconds a cloud, from coordinates in memory to probabilities, grouping included.

    The clouds are random: the time does not depend on what they show. Median of ``REPEATS`` batches
    of ``BATCH``, after two that warm up.

    Args:
        folder: an adapter.
        config: how it was trained: points of a cloud, threads and number format.

    Returns:
        ``seconds_per_cloud``, ``batch_size``, ``repeats``, ``threads`` and ``device``.
    """
    use_threads(config.threads)
    model = load_ready(folder, config.backbone if Path(config.backbone).exists() else None)
    device = next(model.parameters()).device
    task, names = model.adapter.task, model.adapter.names
    given: dict[str, Any] = {**task.example(names, BATCH, config.points)}
    seconds = []
    with autocast(model, config.precision):
        for _ in range(2 + REPEATS):
            began = time.perf_counter()
            predict_probabilities(model, n=config.points, batch_size=BATCH, **given)  # to the CPU
            seconds.append(time.perf_counter() - began)
    return {
        "seconds_per_cloud": statistics.median(seconds[2:]) / BATCH,
        "batch_size": BATCH,
        "repeats": REPEATS,
        "threads": torch.get_num_threads(),
        "device": device.type,
    }
