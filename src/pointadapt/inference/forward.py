"""Predicting and scoring with a trained model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..adapters.model import PointModel, told_of
from ..core.config.words import Voting
from ..data import Clouds
from ..ops import interpolate
from .votes import Votes

Watch = Callable[[Tensor, Tensor], None]  # is shown a batch's probabilities and predictions
# Points (M, N, 3), classes (M,) and features (M, N, C), of which all but the points may be None.
Inputs = tuple[np.ndarray | Tensor, np.ndarray | Tensor | None, np.ndarray | Tensor | None]


def predict_probabilities(
    model: PointModel,
    points: np.ndarray | Tensor,
    n: int,
    *,
    votes: int = 0,
    voting: Voting = "probabilities",
    seed: int = 0,
    batch_size: int | None = None,
    on_batch: Callable[[int], None] | None = None,
    category: Tensor | None = None,
    features: np.ndarray | Tensor | None = None,
) -> Tensor:
    """What the task makes of the model's output: (M, …) of clouds or (M, N, …) of points.

    Probabilities, of tasks that have them; see :meth:`Task.activate`. On the CPU.

    Args:
        model: put in evaluation mode while predicting.
        points: (M, N, 3) clouds, N ≥ n; prepared here; farthest point sampling takes n of them.
            A task that labels points gives each of the N what its nearest three of the n have.
        n: points of a cloud that enter the network.
        votes: number of augmented copies (scale and shift) over which is averaged; 0 predicts the
            clouds as they are.
        voting: how, see :class:`pointadapt.inference.votes.Votes`.
        seed: fixes the votes.
        batch_size: clouds at a time; by default the task's.
        on_batch: called with the number of clouds done.
        category: (M,) class of each cloud, for tasks that are told it.
        features: (M, N, C) of the points, for models that take them.
    """
    out = _each_batch(
        model, (points, category, features), n, lambda p, c: p.cpu(), Votes(votes, seed, voting),
        batch_size, on_batch,
    )  # fmt: skip
    task = model.adapter.task
    return torch.cat(out) if out else torch.zeros(0, len(task.labels(model.adapter.names)))


def predict_clouds(
    model: PointModel, clouds: Clouds, n: int, *, votes: int = 0,
    voting: Voting = "probabilities", seed: int = 0,
    on_batch: Callable[[int], None] | None = None, watch: Watch | None = None,
) -> Tensor:  # fmt: skip
    """What the model's task predicts of labelled clouds, to be scored: see :meth:`Task.predict`.

    Such as (M, classes) probabilities of clouds, or (M, N) labels of points, on the CPU. ``watch``
    is shown each batch's probabilities, of the labels that compete, and what is predicted.
    """
    task, names = model.adapter.task, model.adapter.names

    def keep(probabilities: Tensor, category: Tensor | None) -> Tensor:
        predicted = task.predict(probabilities, category, names)
        if watch is not None:
            watch(task.competing(probabilities, category, names), predicted)
        return predicted.cpu()

    inputs = (clouds.points, clouds.labels, clouds.features)
    out = _each_batch(model, inputs, n, keep, Votes(votes, seed, voting), None, on_batch)
    return torch.cat(out)


@torch.no_grad()
def _each_batch(
    model: PointModel,
    inputs: Inputs,
    n: int,
    keep: Callable[[Tensor, Tensor | None], Tensor],
    votes: Votes,
    batch_size: int | None,
    on_batch: Callable[[int], None] | None,
) -> list[Tensor]:
    """What ``keep`` makes of each batch's probabilities and categories."""
    was_training, device = model.training, next(model.parameters()).device
    size, out, count = batch_size or model.adapter.task.batch, [], len(inputs[0])
    model.eval()
    for start in range(0, count, size):
        points, given, features = (
            None if x is None else torch.as_tensor(x[start : start + size]).to(device).contiguous()
            for x in inputs
        )
        assert points is not None
        batch = model.adapter.prepared(points)
        out.append(keep(_probabilities(model, batch, n, given, features, votes), given))
        if on_batch is not None:
            on_batch(min(start + size, count))
    model.train(was_training)
    return out


def _probabilities(
    model: PointModel, points: Tensor, n: int, category: Tensor | None, features: Tensor | None,
    votes: Votes,
) -> Tensor:  # fmt: skip
    """What the task makes of prepared clouds (B, N, 3), the mean over votes, on their device."""
    task = model.adapter.task
    looks = list(votes.looks(points, features, n))
    outputs = [
        model(look.seen, **told_of(model.adapter, category, look.features)).float()
        for look in looks
    ]

    def spread(values: Tensor, where: Tensor) -> Tensor:
        every = task.per_point and where is not points
        return interpolate(points, where, values) if every else values

    if votes.outputs:
        each = [spread(x, look.where) for x, look in zip(outputs, looks, strict=True)]
        return task.activate(torch.stack(each).mean(dim=0))
    mean = torch.stack([task.activate(x) for x in outputs]).mean(dim=0)
    return spread(mean, looks[0].where)
