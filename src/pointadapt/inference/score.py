"""Scores of a trained model on labelled clouds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..adapters.model import PointModel
from ..core.config.words import Voting
from ..core.errors import DataLayoutError, PointAdaptError
from ..data import Clouds, load_dataset
from .forward import Watch, predict_clouds


def evaluate(
    model: PointModel, clouds: Clouds, n: int, *, votes: int = 0,
    voting: Voting = "probabilities", seed: int = 0,
    on_batch: Callable[[int], None] | None = None, watch: Watch | None = None,
    truth: Clouds | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores of ``model`` on ``clouds``; see :func:`predict_clouds`.

    ``truth`` are the same clouds with all that is known of them, where ``clouds`` were changed.

    Raises:
        DataLayoutError: the clouds have other classes, parts or features of points than the model.
        PointAdaptError: the model predicts NaN.
    """
    check_names(model, clouds)
    predicted = predict_clouds(
        model, clouds, n, votes=votes, voting=voting, seed=seed, on_batch=on_batch, watch=watch
    )
    how = {"votes": votes, **({"voting": voting} if votes else {})}
    return {**score(model, truth or clouds, predicted), **how}


def score(model: PointModel, clouds: Clouds, predicted: Tensor) -> dict[str, Any]:
    """Scores of what :func:`predict_clouds` predicted.

    Raises:
        PointAdaptError: there is a NaN in it.
    """
    check_numbers(predicted)
    task = model.adapter.task
    target, category = torch.from_numpy(task.target(clouds)), torch.from_numpy(clouds.labels)
    return task.score(predicted, target, model.adapter.names, category)


def check_numbers(predicted: Tensor) -> None:
    """Refuse predictions with a NaN, or with the label -1, which stands for it.

    Raises:
        PointAdaptError: there is one.
    """
    whole = not predicted.is_floating_point()
    if not (predicted >= 0 if whole else predicted.isfinite()).all():
        raise PointAdaptError("the model predicts NaN")


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
    voting: Voting = "probabilities",
    backbone: str | None = None, on_batch: Callable[[int], None] | None = None, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Scores of the adapter in ``folder`` on a split of a data set."""
    from ..adapters import folder as adapter_folder

    model = adapter_folder.load(folder, backbone=backbone)
    about = model.adapter.about
    clouds = load_dataset(data, **{"points": about["available"], **options}).load(split)
    return evaluate(model, clouds, about["points"], votes=votes, voting=voting, on_batch=on_batch)
