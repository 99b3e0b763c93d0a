"""Predicting a split once, and keeping what an examination needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...adapters.model import PointModel
from ...data import Clouds
from ...inference.score import evaluate


@dataclass(frozen=True)
class Examination:
    """A model's predictions on a split beside the truth.

    Attributes:
        scores: what :func:`pointadapt.inference.forward.evaluate` gives.
        clouds: the split.
        names: of the labels: classes, or parts where points are labelled.
        target: (n,) or (n, N) the true labels; -1 where it is not known.
        predicted: of that shape, the predicted labels.
        confidence: of that shape, the probability of what is predicted.
        cloud_scores: (n,) percent, where points are labelled; empty otherwise.
    """

    scores: dict[str, Any]
    clouds: Clouds
    names: tuple[str, ...]
    target: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    cloud_scores: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def per_point(self) -> bool:
        """Whether points are labelled, not clouds."""
        return self.target.ndim == 2

    @property
    def known(self) -> np.ndarray:
        """Of the shape of ``target``: where the truth is known."""
        return self.target >= 0

    def name_of(self, index: int) -> str:
        """The cloud's identifier, or its number where it has none."""
        return self.clouds.ids[index] if self.clouds.ids else f"cloud {index}"


def examine(
    model: PointModel, clouds: Clouds, n: int, *, votes: int = 0, seed: int = 0,
    on_batch: Callable[[int], None] | None = None,
) -> Examination:  # fmt: skip
    """Score ``model`` on ``clouds`` as :func:`evaluate` does, in one pass, and keep the labels.

    Memory: 12 bytes a label besides the clouds.

    Raises:
        DataLayoutError, PointAdaptError: as :func:`evaluate`.
    """
    task, own = model.adapter.task, model.adapter.names
    labels: list[Tensor] = []
    sure: list[Tensor] = []

    def watch(probabilities: Tensor, predicted: Tensor) -> None:
        # NaN has the label -1; evaluate refuses it in the end.
        found = (predicted if task.per_point else predicted.argmax(dim=-1)).clamp(min=0)
        labels.append(found.cpu())
        sure.append(probabilities.gather(-1, found.unsqueeze(-1)).squeeze(-1).float().cpu())

    scores = evaluate(model, clouds, n, votes=votes, seed=seed, on_batch=on_batch, watch=watch)
    predicted, target = torch.cat(labels), torch.from_numpy(task.target(clouds))
    each = np.zeros(0)
    if task.per_point:
        category = torch.from_numpy(clouds.labels)
        each = task.cloud_scores(predicted, target, own, category).numpy()
    names = own.parts if task.per_point else own.classes
    return Examination(
        scores, clouds, tuple(names), target.numpy(), predicted.numpy(), torch.cat(sure).numpy(),
        each,
    )  # fmt: skip
