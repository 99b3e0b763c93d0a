"""Predicting and scoring with a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data import Clouds, load_dataset
from .data.transforms import scale_shift
from .errors import DataLayoutError, PointCloudError
from .model import PointModel
from .ops import farthest_point_sample, gather_points, normalize


@torch.no_grad()
def predict_probabilities(
    model: PointModel,
    points: np.ndarray | Tensor,
    n: int,
    *,
    votes: int = 0,
    seed: int = 0,
    batch_size: int = 64,
    on_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """(M, classes) softmax of the model's logits, on the CPU.

    Args:
        model: put in evaluation mode while predicting.
        points: (M, N, 3) clouds, N ≥ n; normalised here; farthest point sampling takes n of them.
        n: points of a cloud that enter the network.
        votes: number of augmented copies (scale and shift) whose probabilities are averaged;
            0 predicts the clouds as they are.
        seed: fixes the votes.
        batch_size: clouds at a time.
        on_batch: called with the number of clouds done.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    out = []
    for start in range(0, len(points), batch_size):
        batch = torch.as_tensor(points[start : start + batch_size]).to(device).float()
        batch = take(normalize(batch), n)
        if votes == 0:
            logits = [model(batch)]
        else:
            draws = [torch.Generator().manual_seed(seed * 1009 + vote) for vote in range(votes)]
            logits = [model(scale_shift(batch, draw)) for draw in draws]
        out.append(torch.stack([x.float().softmax(dim=-1) for x in logits]).mean(dim=0).cpu())
        if on_batch is not None:
            on_batch(min(start + batch_size, len(points)))
    model.train(was_training)
    return torch.cat(out) if out else torch.zeros(0, len(model.classes))


def take(points: Tensor, n: int) -> Tensor:
    """(B, N, 3) to (B, n, 3) by farthest point sampling; as they are where N = n.

    Raises:
        PointCloudError: N < n.
    """
    have = points.shape[1]
    if have < n:
        raise PointCloudError(f"clouds of {have} points, but the model was trained with {n}")
    if have == n:
        return points
    return gather_points(points, farthest_point_sample(points, n, check=False))


def evaluate(
    model: PointModel, clouds: Clouds, n: int, *, votes: int = 0, seed: int = 0,
    on_batch: Callable[[int], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores of ``model`` on ``clouds``; see :func:`predict_probabilities`.

    Raises:
        DataLayoutError: the clouds have other classes than the model.
    """
    if clouds.classes != model.classes:
        odd = sorted(set(clouds.classes) ^ set(model.classes))
        raise DataLayoutError(
            f"the data has {len(clouds.classes)} classes and the adapter {len(model.classes)}; "
            f"they differ in {', '.join(odd[:5]) or 'their order'}"
        )
    probabilities = predict_probabilities(
        model, clouds.points, n, votes=votes, seed=seed, on_batch=on_batch
    )
    scores = model.adapter.task.score(
        probabilities, torch.from_numpy(clouds.labels), clouds.classes
    )
    return {**scores, "votes": votes}


def evaluate_dataset(
    folder: Path | str, data: str, *, split: str = "test", votes: int = 0,
    backbone: str | None = None, on_batch: Callable[[int], None] | None = None, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Scores of the adapter in ``folder`` on a split of a data set."""
    from . import hub

    n = hub.read_adapter_config(folder)["points"]
    model = hub.load(folder, backbone=backbone)
    clouds = load_dataset(data, **{"points": n, **options}).load(split)
    return evaluate(model, clouds, n, votes=votes, on_batch=on_batch)
