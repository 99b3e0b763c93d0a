"""Predicting and scoring with a trained model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..adapters.model import PointModel, told_of
from ..core.config.words import Voting
from ..data import Clouds
from ..ops import cloud_traits, gather_points, interpolate
from ..ops.subset import take, taken_index
from .votes import Votes

Watch = Callable[[Tensor, Tensor], None]  # is shown a batch's probabilities and predictions
Values = np.ndarray | Tensor


@dataclass(frozen=True)
class Part:
    """A batch of :class:`Inputs`: prepared points, and what else there is of them."""

    points: Tensor
    category: Tensor | None
    features: Tensor | None
    traits: Tensor | None


@dataclass(frozen=True)
class Inputs:
    """What is known of clouds that are to be predicted; all but the points may be None.

    Attributes:
        points: (M, N, 3) in their own unit.
        category: (M,) class of each cloud.
        features: (M, N, C) of the points.
        traits: (M, T) of the whole clouds; by default those of ``points``.
    """

    points: Values
    category: Values | None = None
    features: Values | None = None
    traits: Values | None = None

    @classmethod
    def of(cls, clouds: Clouds, model: PointModel) -> Inputs:
        """Of labelled clouds, as much as ``model`` takes."""
        traits = clouds.known_traits if model.adapter.head.takes_traits else None
        return cls(clouds.points, clouds.labels, clouds.features, traits)

    def part(self, start: int, stop: int, model: PointModel) -> Part:
        """The clouds from ``start`` to ``stop``, where ``model`` is, their points prepared."""
        device, adapter = next(model.parameters()).device, model.adapter
        points, category, features, traits = (
            None if x is None else torch.as_tensor(x[start:stop]).to(device).contiguous()
            for x in (self.points, self.category, self.features, self.traits)
        )
        assert points is not None
        if traits is None and adapter.head.takes_traits:
            traits = cloud_traits(points.float())
        return Part(adapter.prepared(points), category, features, traits)


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
    features: Values | None = None,
    traits: Values | None = None,
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
        traits: (M, T) of the whole clouds, for models that take them, where ``points`` are not all
            of their points.
    """
    inputs = Inputs(points, category, features, traits)
    out = _each_batch(
        model, inputs, n, lambda p, c: p.cpu(), Votes(votes, seed, voting), batch_size, on_batch
    )  # fmt: skip
    task = model.adapter.task
    return torch.cat(out) if out else torch.zeros(0, len(task.labels(model.adapter.names)))


@torch.no_grad()
def mixed_probabilities(
    model: PointModel, points: np.ndarray, n: int, adapters: Sequence[str], traits: np.ndarray
) -> list[Tensor]:
    """What each cloud's own adapter makes of it, as :func:`predict_probabilities` of it alone.

    Args:
        model: in evaluation mode.
        points: (M, N, 3) clouds, N ≥ n.
        n: points of a cloud that enter the network.
        adapters: M names, of adapters that predict whole clouds.
        traits: (M, T) of the whole clouds.

    Returns:
        M tensors (1, …) on the CPU.
    """
    own, device = [model.called(name) for name in adapters], next(model.parameters()).device
    clouds, told = (torch.as_tensor(x).to(device) for x in (points, traits))
    ready = [adapter.prepared(cloud[None]) for adapter, cloud in zip(own, clouds, strict=True)]
    outputs = model.mixed(take(torch.cat(ready), n), adapters, traits=told)
    return [
        adapter.task.activate(out[None].float()).cpu()
        for adapter, out in zip(own, outputs, strict=True)
    ]


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

    inputs = Inputs.of(clouds, model)
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
    was_training = model.training
    size, out, count = batch_size or model.adapter.task.batch, [], len(inputs.points)
    model.eval()
    for start in range(0, count, size):
        part = inputs.part(start, start + size, model)
        out.append(keep(_probabilities(model, part, n, votes), part.category))
        if on_batch is not None:
            on_batch(min(start + size, count))
    model.train(was_training)
    return out


@torch.no_grad()
def head_rows(model: PointModel, clouds: Clouds, n: int) -> Tensor:
    """(M, width) float32 what the model's head is given of each cloud, on the CPU.

    Raises:
        ConfigError: the head has no linear form.
    """
    head = model.adapter.head
    return _rows(model, clouds, n, lambda x, told: head.rows(model.tokens(x), told.get("traits")))


def frozen_rows(model: PointModel, clouds: Clouds, n: int) -> Tensor:
    """(M, width) float32 what the head's ``frozen_fit`` is given of each cloud, on the CPU."""
    fit = model.adapter.head.frozen_fit
    assert fit is not None
    return _rows(model, clouds, n, lambda x, told: fit.rows(model.frozen(), x, told.get("traits")))


def _rows(
    model: PointModel, clouds: Clouds, n: int, row: Callable[[Tensor, dict[str, Tensor]], Tensor]
) -> Tensor:
    """(M, width) what ``row`` says of each cloud's n points and what else is known of it."""
    inputs, was_training, found = Inputs.of(clouds, model), model.training, []
    model.eval()
    for start in range(0, len(clouds), model.adapter.task.batch):
        part = inputs.part(start, start + model.adapter.task.batch, model)
        points, told = network_input(model, part, n)
        found.append(row(points, told).float().cpu())
    model.train(was_training)
    return torch.cat(found)


def network_input(model: PointModel, part: Part, n: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The n points (B, n, 3) of each cloud that enter the network, and what else it is told."""
    points, features, index = part.points, part.features, taken_index(part.points, n)
    if index is not None:
        points = gather_points(points, index)
        features = None if features is None else gather_points(features, index)
    return points, told_of(model.adapter, part.category, features, part.traits)


def _probabilities(model: PointModel, part: Part, n: int, votes: Votes) -> Tensor:
    """What the task makes of a batch of clouds, the mean over votes, on their device."""
    task, points = model.adapter.task, part.points
    looks = list(votes.looks(points, part.features, n))
    outputs = [
        model(look.seen, **told_of(model.adapter, part.category, look.features, part.traits))
        for look in looks
    ]
    outputs = [output.float() for output in outputs]

    def spread(values: Tensor, where: Tensor) -> Tensor:
        every = task.per_point and where is not points
        return interpolate(points, where, values) if every else values

    if votes.outputs:
        each = [spread(x, look.where) for x, look in zip(outputs, looks, strict=True)]
        return task.activate(torch.stack(each).mean(dim=0))
    mean = torch.stack([task.activate(x) for x in outputs]).mean(dim=0)
    return spread(mean, looks[0].where)
