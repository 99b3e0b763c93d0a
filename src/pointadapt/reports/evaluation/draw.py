"""Pictures of clouds: single ones as data URIs, so that a page needs no other file, and many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import PointAdaptError
from ...core.foreign_text import for_picture
from ..drawing import PLAIN, _cloud, _figure, _palette, part_grid, prediction_grid
from ..pages import data_uri
from .look import Examination

DRAWN = 2048  # points of a cloud in a picture
DPI = 100
LINE, COLUMNS = 0.17, 4  # inches between the lines of a legend, and names in one


def cloud_picture(points: np.ndarray) -> str:
    """A cloud (N, 3), z up, coloured by height, as the data URI of a PNG."""
    figure = _figure(2.2, 2.2)
    _cloud(figure.add_axes((0, 0, 1, 1)), points[_some(len(points))])
    return _data_uri(figure)


def parts_picture(points: np.ndarray, rows: dict[str, np.ndarray], names: Sequence[str]) -> str:
    """A cloud (N, 3) once for each entry of ``rows``, coloured by its labels (N,), side by side."""
    some = _some(len(points))
    known = np.all([parts >= 0 for parts in rows.values()], axis=0)
    seen = np.unique(np.concatenate([parts[known] for parts in rows.values()]))
    colors = _palette(max(len(seen), 1))
    short = [names[int(part)].rpartition("/")[2] for part in seen]
    below = 0.08 + LINE * math.ceil(len(short) / COLUMNS)  # inches
    high = 2.3 + below
    figure = _figure(2.1 * len(rows), high)
    for column, (what, parts) in enumerate(rows.items()):
        axes = figure.add_axes((column / len(rows), below / high, 1 / len(rows), 2.1 / high))
        at = some[known[some]]
        _cloud(axes, points[at], colors[np.searchsorted(seen, parts[at])])
        axes.set_title(what, fontsize=9, pad=1, color=PLAIN)
    for k, (name, color) in enumerate(zip(short, colors, strict=False)):
        line, column = divmod(k, COLUMNS)
        x, y = (column + 0.5) / COLUMNS, (below - LINE * (line + 0.3)) / high
        figure.text(
            x, y, f"● {for_picture(name[:14])}", color=color, fontsize=7.5, ha="center", va="center"
        )
    return _data_uri(figure)


def draw_examination(seen: Examination, path: Path | str, most: int = 12) -> Path:
    """Write a picture of the first clouds of ``most`` of the classes: what is said, and what is so.

    Points that are labelled are drawn with their true labels above the predicted ones.

    Raises:
        PointAdaptError: no cloud is labelled on all its points, or the picture cannot be written.
    """
    some = _first_of_classes(seen, most)
    points = seen.clouds.points[some]
    if seen.task.per_point and seen.chosen is not None:
        if not len(some):
            raise PointAdaptError("no cloud has a label on each of its points: leave out --picture")
        labels = {"true": seen.target[some].numpy(), "predicted": seen.chosen[some]}
        titles = [f"{seen.class_of(i)} {seen.cloud_scores[i]:.0f} %" for i in some]
        return part_grid(points, labels, titles, seen.task.labels(seen.names), path)
    said = [seen.task.answer(seen.predicted[i], seen.names).label for i in some]
    true = [seen.task.truth(seen.target[i], seen.names) for i in some]
    titles = [a if a == b else f"{a} (is: {b})" for a, b in zip(said, true, strict=True)]
    right = [a == b if seen.task.labels(seen.names) else None
             for a, b in zip(said, true, strict=True)]  # fmt: skip
    return prediction_grid(points, titles, right, path)


def _first_of_classes(seen: Examination, most: int) -> np.ndarray:
    """Numbers of the clouds to draw: one of each class, or the first where there is one class."""
    good = np.arange(len(seen.clouds))
    if seen.task.per_point:
        good = np.flatnonzero((seen.target.numpy() >= 0).all(axis=1))
    first = good[np.unique(seen.clouds.labels[good], return_index=True)[1]]
    if len(first) < 2:
        return good[:most]
    return first[np.linspace(0, len(first) - 1, min(most, len(first))).astype(int)]


def _some(count: int) -> np.ndarray:
    """Numbers of the points to draw, the same for the same count."""
    if count <= DRAWN:
        return np.arange(count)
    return np.random.default_rng(0).permutation(count)[:DRAWN]


def _data_uri(figure: Any) -> str:
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    return data_uri(stream.getvalue())
