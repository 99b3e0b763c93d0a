"""Predicting and scoring with a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..adapters.model import PointModel
from ..core.errors import DataLayoutError, PointAdaptError, PointCloudError
from ..data import Clouds, load_dataset
from ..data.transforms import scale_shift
from ..ops import farthest_point_sample, gather_points, interpolate, normalize
from ..training.batches import told_of

Watch = Callable[[Tensor, Tensor], None]  # is shown a batch's probabilities and predictions
# Points (M, N, 3), classes (M,) and features (M, N, C), of which all but the points may be None.
Inputs = tuple[np.ndarray | Tensor, np.ndarray | Tensor | None, np.ndarray | Tensor | None]


def predict_probabilities(
    model: PointModel,
    points: np.ndarray | Tensor,
    n: int,
    *,
    votes: int = 0,
    seed: int = 0,
    batch_size: int | None = None,
    on_batch: Callable[[int], None] | None = None,
    category: Tensor | None = None,
    features: np.ndarray | Tensor | None = None,
) -> Tensor:
    """(M, classes) softmax of the model's logits, or (M, N, names) of points, on the CPU.

    Args:
        model: put in evaluation mode while predicting.
        points: (M, N, 3) clouds, N ≥ n; normalised here; farthest point sampling takes n of them.
            A task that labels points gives each of the N what its nearest three of the n have.
        n: points of a cloud that enter the network.
        votes: number of augmented copies (scale and shift) whose probabilities are averaged;
            0 predicts the clouds as they are.
        seed: fixes the votes.
        batch_size: clouds at a time; by default the task's.
        on_batch: called with the number of clouds done.
        category: (M,) class of each cloud, for tasks that are told it.
        features: (M, N, C) of the points, for models that take them.
    """
    out = _each_batch(
        model, (points, category, features), n, lambda p, c: p.cpu(), votes, seed, batch_size,
        on_batch,
    )  # fmt: skip
    return torch.cat(out) if out else torch.zeros(0, len(model.classes))


def predict_clouds(
    model: PointModel, clouds: Clouds, n: int, *, votes: int = 0, seed: int = 0,
    on_batch: Callable[[int], None] | None = None, watch: Watch | None = None,
) -> Tensor:  # fmt: skip
    """What the model's task predicts of labelled clouds, to be scored: see :meth:`Task.predict`.

    (M, classes) probabilities of clouds, or (M, N) labels of points, on the CPU. ``watch`` is shown
    each batch's probabilities, of the labels that compete, and what is predicted from them.
    """
    task, names = model.adapter.task, model.adapter.names

    def keep(probabilities: Tensor, category: Tensor | None) -> Tensor:
        predicted = task.predict(probabilities, category, names)
        if watch is not None:
            watch(task.competing(probabilities, category, names), predicted)
        return predicted.cpu()

    inputs = (clouds.points, clouds.labels, clouds.features)
    out = _each_batch(model, inputs, n, keep, votes, seed, None, on_batch)
    return torch.cat(out)


@torch.no_grad()
def _each_batch(
    model: PointModel,
    inputs: Inputs,
    n: int,
    keep: Callable[[Tensor, Tensor | None], Tensor],
    votes: int,
    seed: int,
    batch_size: int | None,
    on_batch: Callable[[int], None] | None,
) -> list[Tensor]:
    """What ``keep`` makes of each batch's probabilities and categories."""
    was_training, device = model.training, next(model.parameters()).device
    size, out, count = batch_size or model.adapter.task.batch, [], len(inputs[0])
    model.eval()
    for start in range(0, count, size):
        points, given, features = (
            None if x is None else torch.as_tensor(x[start : start + size]).to(device)
            for x in inputs
        )
        assert points is not None
        batch = normalize(points.float())
        out.append(keep(_probabilities(model, batch, n, given, features, votes, seed), given))
        if on_batch is not None:
            on_batch(min(start + size, count))
    model.train(was_training)
    return out


def _probabilities(
    model: PointModel, points: Tensor, n: int, category: Tensor | None, features: Tensor | None,
    votes: int, seed: int,
) -> Tensor:  # fmt: skip
    """Softmax for normalised clouds (B, N, 3), the mean over votes, on their device."""
    task, some, index = model.adapter.task, points, _taken(points, n)
    if index is not None:
        some = gather_points(points, index)
        features = None if features is None else gather_points(features, index)
    told = told_of(model.adapter, category, features)
    if votes == 0:
        logits = [model(some, **told)]
    else:
        draws = [torch.Generator().manual_seed(seed * 1009 + vote) for vote in range(votes)]
        logits = [model(scale_shift(some, draw), **told) for draw in draws]
    mean = torch.stack([x.float().softmax(dim=-1) for x in logits]).mean(dim=0)
    return interpolate(points, some, mean) if task.per_point and some is not points else mean


def take(points: Tensor, n: int) -> Tensor:
    """(B, N, 3) to (B, n, 3) by farthest point sampling; as they are where N = n.

    Raises:
        PointCloudError: N < n.
    """
    index = _taken(points, n)
    return points if index is None else gather_points(points, index)


def _taken(points: Tensor, n: int) -> Tensor | None:
    """(B, n) indices of the points that :func:`take` takes; None for all of them."""
    have = points.shape[1]
    if have < n:
        raise PointCloudError(f"clouds of {have} points, but the model was trained with {n}")
    return None if have == n else farthest_point_sample(points, n, check=False)


def evaluate(
    model: PointModel, clouds: Clouds, n: int, *, votes: int = 0, seed: int = 0,
    on_batch: Callable[[int], None] | None = None, watch: Watch | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores of ``model`` on ``clouds``; see :func:`predict_clouds`.

    Raises:
        DataLayoutError: the clouds have other classes, parts or features of points than the model.
        PointAdaptError: the model predicts NaN.
    """
    check_names(model, clouds)
    predicted = predict_clouds(
        model, clouds, n, votes=votes, seed=seed, on_batch=on_batch, watch=watch
    )
    return {**score(model, clouds, predicted), "votes": votes}


def score(model: PointModel, clouds: Clouds, predicted: Tensor) -> dict[str, Any]:
    """Scores of what :func:`predict_clouds` predicted.

    Raises:
        PointAdaptError: there is a NaN in it.
    """
    if not (predicted >= 0).all():  # NaN, or the label -1 that stands for it
        raise PointAdaptError("the model predicts NaN")
    task = model.adapter.task
    target, category = torch.from_numpy(task.target(clouds)), torch.from_numpy(clouds.labels)
    return task.score(predicted, target, model.adapter.names, category)


def check_names(model: PointModel, clouds: Clouds) -> None:
    """Refuse clouds with other classes, parts or features of points than the model's."""
    task, own = model.adapter.task, model.adapter.names
    names = task.names(clouds.classes, clouds.part_names, clouds.feature_names)
    _check_same("classes", names.classes, own.classes)
    _check_same("parts", names.parts, own.parts)
    _check_same("features of points", names.features, own.features)


def _check_same(what: str, theirs: tuple[str, ...], ours: tuple[str, ...]) -> None:
    if theirs != ours:
        odd = sorted(set(theirs) ^ set(ours))
        raise DataLayoutError(
            f"the data has {len(theirs)} {what} and the adapter {len(ours)}; "
            f"they differ in {', '.join(odd[:5]) or 'their order'}"
        )


def evaluate_dataset(
    folder: Path | str, data: str, *, split: str = "test", votes: int = 0,
    backbone: str | None = None, on_batch: Callable[[int], None] | None = None, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Scores of the adapter in ``folder`` on a split of a data set."""
    from ..adapters import folder as hub

    n = hub.read_adapter_config(folder)["points"]
    model = hub.load(folder, backbone=backbone)
    clouds = load_dataset(data, **{"points": n, **options}).load(split)
    return evaluate(model, clouds, n, votes=votes, on_batch=on_batch)
