"""Predicting a split once, and keeping what an examination needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...adapters.model import PointModel
from ...core.config import Voting
from ...data import Clouds
from ...inference.score import evaluate
from ...tasks import Names, Task


@dataclass(frozen=True)
class Examination:
    """A model's predictions on a split beside the truth.

    Attributes:
        task: what is predicted.
        names: what its labels are called.
        scores: what :func:`pointadapt.inference.score.evaluate` gives.
        clouds: the split.
        target: (n, …) of clouds or (n, N) of points, the truth; labels that are not known are -1.
        predicted: (n, …) what :meth:`Task.predict` gave.
        cloud_scores: (n,) how well each cloud does.
        chosen: of the shape of ``target``, the predicted labels, of tasks that choose one of
            several; None for others.
        confidence: of that shape, the probability of what is chosen.
    """

    task: Task
    names: Names
    scores: dict[str, Any]
    clouds: Clouds
    target: Tensor
    predicted: Tensor
    cloud_scores: np.ndarray
    chosen: np.ndarray | None = None
    confidence: np.ndarray | None = None

    def name_of(self, index: int) -> str:
        """The cloud's identifier, or its number where it has none."""
        return self.clouds.ids[index] if self.clouds.ids else f"cloud {index}"

    def class_of(self, index: int) -> str:
        """The name of the cloud's class."""
        return self.clouds.classes[self.clouds.labels[index]]


def examine(
    model: PointModel, clouds: Clouds, n: int, *, votes: int = 0,
    voting: Voting = "probabilities", seed: int = 0,
    on_batch: Callable[[int], None] | None = None,
) -> Examination:  # fmt: skip
    """Score ``model`` on ``clouds`` as :func:`evaluate` does, in one pass, and keep the answers.

    Memory besides the clouds: 16 bytes a label of points, or what the task predicts of clouds.

    Raises:
        DataLayoutError, PointAdaptError: as :func:`evaluate`.
    """
    task, names = model.adapter.task, model.adapter.names
    kept: list[Tensor] = []
    sure: list[Tensor] = []

    def watch(probabilities: Tensor, predicted: Tensor) -> None:
        kept.append(predicted.cpu())
        chosen = task.chosen(predicted)
        if chosen is not None:  # NaN has the label -1; evaluate refuses it in the end
            at = chosen.clamp(min=0).unsqueeze(-1)
            sure.append(probabilities.gather(-1, at).squeeze(-1).float().cpu())

    scores = evaluate(
        model, clouds, n, votes=votes, voting=voting, seed=seed, on_batch=on_batch, watch=watch
    )
    predicted, target = torch.cat(kept), torch.from_numpy(task.target(clouds))
    each = task.cloud_scores(predicted, target, names, torch.from_numpy(clouds.labels))
    chosen = task.chosen(predicted)
    return Examination(
        task, names, scores, clouds, target, predicted, each.double().numpy(),
        None if chosen is None else chosen.numpy(), torch.cat(sure).numpy() if sure else None,
    )  # fmt: skip
