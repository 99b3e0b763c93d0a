"""One picture of a data set: clouds of each class, and how many of what there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..core.errors import PointAdaptError
from ..core.foreign_text import for_picture
from ..data import Clouds
from ..data.checking.checks import describe
from ..data.checking.verify import about, open_dataset
from ..data.sets.folder import upright
from .drawing import PLAIN, _cloud, _figure, _palette, _save

CELL, COLUMNS = 1.35, 10  # inches, cells in a row
MOST = 120  # cells
NARROW = 3.0  # inches, a histogram's height
SHADES = ("#35618f", "#e08a3c", "#777777")  # of splits
UNKNOWN = (0.75, 0.75, 0.75)


def data_sheet(
    splits: Mapping[str, Clouds], stored: Mapping[str, np.ndarray | None], path: Path | str,
    heading: str,
) -> Path:  # fmt: skip
    """Write the picture.

    Args:
        splits: name -> its clouds, z up; examples are of the first.
        stored: name -> (n,) points of each cloud on disk, or None.
        path: where to write, ``.png``, ``.pdf`` or ``.svg``.
        heading: what stands above all.

    Raises:
        PointAdaptError: nothing to draw, or it cannot be written.
    """
    clouds = next(iter(splits.values()), None)
    if clouds is None or not len(clouds):
        raise PointAdaptError("there is no cloud to draw")
    cells = examples(clouds)
    rows, panels = math.ceil(len(cells) / COLUMNS), _panels(splits, stored)
    heights = [0.45, *([CELL + 0.2] * rows), *([NARROW] * len(panels))]
    figure = _figure(CELL * COLUMNS, sum(heights))
    figure.text(0.5, 1 - 0.28 / sum(heights), for_picture(heading), ha="center", fontsize=12)
    place = _Places(heights)
    for k, i in enumerate(cells):
        row, column = divmod(k, COLUMNS)
        _example(figure.add_axes(place.cell(1 + row, column)), clouds, i)
    for k, (draw, *arguments) in enumerate(panels):
        draw(figure.add_axes(place.panel(1 + rows + k)), *arguments)
    return _save(figure, path)


class _Places:
    """Where things stand: bands of the given heights (inches) below each other."""

    def __init__(self, heights: Sequence[float]) -> None:
        self.heights, self.total = heights, sum(heights)

    def _band(self, row: int) -> tuple[float, float]:
        """Lower edge and height, as shares of the whole."""
        return 1 - sum(self.heights[: row + 1]) / self.total, self.heights[row] / self.total

    def cell(self, row: int, column: int) -> tuple[float, float, float, float]:
        low, high = self._band(row)
        return column / COLUMNS, low, 1 / COLUMNS, high * CELL / self.heights[row]

    def panel(self, row: int) -> tuple[float, float, float, float]:
        low, high = self._band(row)
        return 0.055, low + 0.42 * high, 0.93, 0.46 * high


def examples(clouds: Clouds) -> list[int]:
    """Indices of clouds to draw: of each class the first ones, spread over its clouds."""
    present = np.unique(clouds.labels)[:MOST]
    each = max(1, min(5, 40 // len(present)))
    chosen: list[int] = []
    for label in present:
        own = np.flatnonzero(clouds.labels == label)
        chosen += own[np.unique(np.linspace(0, len(own) - 1, each).astype(int))].tolist()
    return chosen


def _example(axes: Any, clouds: Clouds, i: int) -> None:
    cloud, own = clouds.points[i], None
    if len(cloud) > 4096:
        keep = np.random.default_rng(0).permutation(len(cloud))[:4096]
    else:
        keep = np.arange(len(cloud))
    if clouds.parts is not None:
        seen, place = np.unique(clouds.parts[i][keep], return_inverse=True)
        own = np.where(seen[place][:, None] < 0, UNKNOWN, _palette(len(seen))[place])
    _cloud(axes, cloud[keep], own)
    title = str(clouds.classes[clouds.labels[i]]).replace("_", " ")
    axes.set_title(for_picture(_short(title, 22)), fontsize=7.5, pad=1, color=PLAIN)


def _panels(
    splits: Mapping[str, Clouds], stored: Mapping[str, np.ndarray | None]
) -> list[tuple[Any, ...]]:
    """The histograms that tell something: what draws each, and its arguments."""
    first = next(iter(splits.values()))
    counts = {
        name: np.bincount(c.labels, minlength=len(first.classes)) for name, c in splits.items()
    }
    panels: list[tuple[Any, ...]] = [(_bars, first.classes, counts, "clouds of each class")]
    if first.parts is not None:
        parts = {
            name: np.bincount(c.parts[c.parts >= 0], minlength=len(first.part_names))
            for name, c in splits.items() if c.parts is not None
        }  # fmt: skip
        panels.append((_bars, first.part_names, parts, "points of each part"))
    known = {name: counts for name, counts in stored.items() if counts is not None}
    if any(np.ptp(counts) for counts in known.values()):
        panels.append((_spread, known))
    return panels


def _bars(axes: Any, names: Sequence[str], counts: Mapping[str, np.ndarray], title: str) -> None:
    """Bars beside each other for each name, one a split."""
    x, width = np.arange(len(names)), 0.8 / len(counts)
    for k, (split, values) in enumerate(counts.items()):
        label = f"{split} ({values.sum():,})"
        axes.bar(x + (k - (len(counts) - 1) / 2) * width, values, width, label=label,
                 color=SHADES[k % len(SHADES)])  # fmt: skip
    size = float(np.clip(420 / max(len(names), 1), 4.0, 8.0))
    axes.set_xticks(
        x, [for_picture(_short(name, 20)) for name in names], rotation=90, fontsize=size
    )
    axes.set_xlim(-0.6, len(names) - 0.4)
    _finish(axes, title)


def _spread(axes: Any, stored: Mapping[str, np.ndarray]) -> None:
    """How many clouds have how many points on disk."""
    every = np.concatenate(list(stored.values()))
    low, high = max(int(every.min()), 1), int(every.max())
    wide = high > 20 * low
    edges = np.geomspace(low, high + 1, 40) if wide else np.linspace(low, high + 1, 40)
    if wide:
        axes.set_xscale("log")
    names = [f"{split} ({len(v):,})" for split, v in stored.items()]
    axes.hist(list(stored.values()), bins=edges, label=names, color=SHADES[: len(names)])
    _finish(axes, "clouds by their number of stored points")


def _finish(axes: Any, title: str) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_title(title, fontsize=9, loc="left", color=PLAIN)
    axes.tick_params(axis="y", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=3, bbox_to_anchor=(1, 1.2))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def show_data(
    name: str, root: Path | str | None = None, *, data_options: Sequence[str] = (),
    out: Path | str = "data-sheets", up: Literal["x", "y", "z"] = "z",
    on_split: Callable[[int], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Draw a data set to ``out/NAME.png`` and count it.

    Args:
        name: of the data set.
        root: its folder, or file.
        data_options: its other options, as key=value.
        out: folder for the picture.
        up: the axis of its clouds that points up; it becomes the picture's vertical.
        on_split: called with the number of splits that are loaded.

    Returns:
        ``data``, ``root``, ``licence``, ``citation``, ``picture``, and facts of each of ``splits``.

    Raises:
        PointAdaptError: no such data set or option, or it cannot be read.
    """
    place = None if root is None else Path(root)
    dataset = open_dataset(name, place, data_options)
    splits, stored = {}, {}
    for done, split in enumerate(dataset.splits):
        clouds = dataset.load(split)
        splits[split] = replace(clouds, points=upright(clouds.points, up))
        stored[split] = dataset.point_counts(split)
        if on_split is not None:
            on_split(done + 1)
    facts = {split: describe(clouds, stored[split]) for split, clouds in splits.items()}
    count = sum(len(clouds) for clouds in splits.values())
    classes = len(next(iter(splits.values())).classes)
    heading = f"{dataset.title()}: {count:,} clouds of {classes} classes"
    picture = data_sheet(splits, stored, Path(out) / f"{name}.png", heading)
    return {**about(name, place), "picture": str(picture), "splits": facts}
