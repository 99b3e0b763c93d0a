"""Scoring whole scenes: every point is predicted, and overlapping blocks vote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ..adapters.model import PointModel
from ..adapters.protocol import Protocol, autocast, load_ready
from ..core.config import Precision
from ..core.errors import ConfigError, PointAdaptError
from ..core.files import read_json, write_json
from ..core.results import Scores
from ..data import load_dataset
from ..data.reading.block_data import BlockData
from ..tasks.metrics import confusion_matrix, segmentation_scores
from .forward import predict_clouds
from .point_forest import forest_on_scenes
from .score import check_names


def score_scenes(
    adapter: Path | str, *, data: str | None = None, root: Path | str | None = None,
    data_options: tuple[str, ...] = (), split: Literal["train", "test"] = "test",
    backbone: str | None = None, precision: Precision | None = None, out: Path | str | None = None,
    on_scene: Callable[[int], None] | None = None, baseline: bool = True,
) -> Scores:  # fmt: skip
    """Score an adapter that labels points on every point of whole scenes.

    Args:
        adapter: the folder that training wrote, or hf://owner/name.
        data: name of a data set of scenes; by default the one it was trained on.
        root: its folder on disk.
        data_options: its other options, as key=value.
        split: which part of it.
        backbone: where the backbone is now, if the adapter does not find it.
        precision: number format of the forward pass; by default as in training.
        out: also write the scores, with the confusion matrix, to this JSON file.
        on_scene: called with the number of scenes done.
        baseline: with scenes of your own, also fit a random forest to the points of the training
            scenes, which takes seconds, and state its score on the same points.

    Raises:
        PointAdaptError: as :func:`scores_of_scenes`.
    """
    model, place = load_ready(adapter, backbone), None if root is None else Path(root)
    protocol = Protocol.of(adapter, data, place, data_options, about=model.adapter.about)
    scenes: Any = load_dataset(protocol.data, **protocol.options)
    with autocast(model, precision or protocol.precision):
        scores = scores_of_scenes(model, scenes, split, protocol.points, on_scene=on_scene)
    scores |= {
        "adapter": str(adapter),
        "data": protocol.data,
        "split": split,
        "title": scenes.title(),
    }
    if baseline and split == "test" and scenes.own_scenes and model.adapter.names.features:
        scores["baseline"] = forest_on_scenes(scenes)
    if out is not None:
        write_json(out, scores)
    return cast(Scores, scores)


def scores_of_scenes(
    model: PointModel, data: BlockData, split: str, n: int, *,
    on_scene: Callable[[int], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores over all points of the scenes of a split, each point counted once.

    Blocks lie on the data's grid (``stride``) and hold every point, some several times; each casts
    a vote, and ties go to the class with the lower number: the field's way of scoring S3DIS
    (PointNet++'s released code). Memory is bounded by the largest scene, not by the split.

    Args:
        model: with an adapter that labels points.
        data: s3dis, folder_segmentation, or another data set of scenes.
        split: "train" or "test".
        n: points of a block that enter the network.
        on_scene: called with the number of scenes done.

    Raises:
        ConfigError: the model labels no points, or the data set has no scenes.
        DataLayoutError: the data have other labels or features than the model.
        PointAdaptError: the model predicts NaN.
    """
    names = model.adapter.names
    if not isinstance(data, BlockData) or not names.parts:
        wrong = "its data has no scenes" if names.parts else "the adapter gives clouds classes"
        raise ConfigError(
            f"whole scenes cannot be scored, since {wrong}: pass an adapter trained with --task "
            "scene_segmentation, and data of scenes (s3dis, folder_segmentation)"
        )
    matrix, count = torch.zeros(len(names.parts), len(names.parts), dtype=torch.int64), 0
    for scene, blocks in data.whole_scenes(split):
        votes = np.zeros((len(scene), len(names.parts)), np.uint16)
        for index, clouds in blocks:
            check_names(model, clouds)
            found = predict_clouds(model, clouds, n).numpy()
            if not (found >= 0).all():
                raise PointAdaptError(f"{scene.name}: the model predicts NaN")
            np.add.at(votes, (index, found), 1)
        labels = torch.from_numpy(scene.labels.astype(np.int64))
        known = labels >= 0
        best = torch.from_numpy(votes.argmax(axis=1))
        matrix += confusion_matrix(best[known], labels[known], len(names.parts))
        count += 1
        if on_scene is not None:
            on_scene(count)
    return {**segmentation_scores(matrix, names.parts), "count": count}


def pool_scores(results: Iterable[Path | str]) -> dict[str, Any]:
    """Scores from the sum of the confusion matrices in result files: six-fold S3DIS.

    Args:
        results: files that ``score-scenes`` wrote.

    Raises:
        ConfigError: there is no file, one without a confusion matrix, or of other classes.
    """
    total: Tensor | None = None
    names: tuple[str, ...] = ()
    count = 0
    for path in results:
        values = read_json(path)
        rows = values.get("confusion") if isinstance(values, Mapping) else None
        if not isinstance(rows, Mapping) or not rows:
            raise ConfigError(f"{path}: has no confusion matrix: give what score-scenes wrote")
        if names and tuple(rows) != names:
            raise ConfigError(f"{path}: has other classes than the files before it")
        names, matrix = tuple(rows), _matrix(path, rows)
        total = matrix if total is None else total + matrix
        count += int(values.get("count") or 0)
    if total is None:
        raise ConfigError("there is no file to pool")
    return {**segmentation_scores(total, names), "count": count}


def _matrix(path: Path | str, rows: Mapping[str, Any]) -> Tensor:
    """The rows by name as (K, K) counts."""
    try:
        matrix = torch.tensor(list(rows.values()))
    except (ValueError, TypeError):  # rows of different lengths, or no numbers
        matrix = torch.empty(0)
    if matrix.shape != (len(rows), len(rows)) or matrix.dtype != torch.int64:
        raise ConfigError(f"{path}: its confusion matrix is not one of counts, a row a class")
    return matrix
