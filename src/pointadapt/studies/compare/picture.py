"""The picture of a board: the score against trainable parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import PointAdaptError
from ...core.foreign_text import for_picture
from ...reports.drawing import PLAIN, RIGHT, _figure, _save
from .tables import measure_of

# Where a label may stand, from its point, in points of 1/72 inch; the nearest first.
_DISTANCES = (7, 14, 24, 36, 50)
_TEXT: dict[str, Any] = {
    "textcoords": "offset points", "fontsize": 8.5, "color": PLAIN, "ha": "center", "va": "center",
}  # fmt: skip
_ANGLES = np.deg2rad([0, 180, 90, 270, 35, 145, 215, 325, 60, 120, 240, 300])


def trade_off(board: Mapping[str, Any], path: Path | str) -> Path:
    """Write the picture: parameters on a logarithmic axis, bars of one standard deviation.

    Methods that no other beats in both are joined by a line.

    Raises:
        PointAdaptError: nothing to draw, or it cannot be written.
    """
    from matplotlib.ticker import EngFormatter, NullFormatter

    measure = measure_of(board)
    rows = [row for row in board["methods"] if row[measure.key] is not None]
    if not rows:
        raise PointAdaptError("there is no result to draw")
    x = np.array([max(row["trainable_parameters"], 1) for row in rows], float)
    y = np.array([row[measure.key] for row in rows], float)
    figure = _figure(8.0, 5.2)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    front = _front(x, y)
    axes.plot(x[front], y[front], color=RIGHT, alpha=0.35, linewidth=1.5, zorder=1)
    bars = [row[f"{measure.key}_sd"] or 0.0 for row in rows]
    axes.errorbar(x, y, yerr=bars, fmt="none", ecolor=PLAIN, alpha=0.45, capsize=2, zorder=2)
    best = np.isin(np.arange(len(rows)), front)
    axes.scatter(x, y, s=34, c=np.where(best, RIGHT, PLAIN), zorder=3)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))  # 300 k, 1 M
    narrow = x.max() < 10 * x.min()  # a decade may hold no other labels
    axes.xaxis.set_minor_formatter(EngFormatter(sep=" ") if narrow else NullFormatter())
    axes.set_xlabel("trainable parameters")
    axes.set_ylabel(f"{measure.name} ({measure.unit})" if measure.unit else measure.name)
    p = board["protocol"]
    axes.set_title(
        f"{for_picture(board.get('title', board['data']))}, "
        f"backbone {for_picture(Path(board['backbone']).name)}: "
        f"{p['epochs']} epochs, "
        f"{p['selection']}, {len(p['seeds'])} seed{'s' if len(p['seeds']) > 1 else ''}",
        fontsize=10,
    )
    axes.grid(alpha=0.2, which="major")
    axes.spines[["top", "right"]].set_visible(False)
    room = (max(x.max() / x.min(), 2.0)) ** 0.12  # on both sides, for the labels
    axes.set_xlim(x.min() / room, x.max() * room)
    axes.margins(y=0.15)
    figure.tight_layout()
    _label(figure, axes, x, y, np.array(bars), [row["label"] for row in rows])
    return _save(figure, path)


def _front(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Indices, by x, of the points that none with fewer or as many parameters beats."""
    found: list[int] = []
    for i in np.lexsort((-y, x)):
        if not found or y[i] > y[found[-1]]:
            found.append(int(i))
    return found


def _label(
    figure: Any, axes: Any, x: np.ndarray, y: np.ndarray, bars: np.ndarray, labels: Sequence[str]
) -> None:
    """Write each label where it covers no other, no point and no bar, inside the axes."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="white")]
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72
    dots = axes.transData.transform(np.column_stack([x, y]))
    frame = axes.get_window_extent(renderer)
    inside = np.array([frame.x0, frame.y0, frame.x1, frame.y1])
    taken = [np.array([*(dot - 5 * scale), *(dot + 5 * scale)]) for dot in dots]
    ends = [axes.transData.transform(np.column_stack([x, y + way * bars])) for way in (-1, 1)]
    taken += [np.array([*(a - 2 * scale), *(b + 2 * scale)]) for a, b in zip(*ends, strict=True)]
    crowd = ((np.abs(dots[:, None] - dots) < 60 * scale).all(axis=2)).sum(axis=1)
    for i in np.argsort(-crowd, kind="stable"):  # the most crowded first: it has fewest places
        text = axes.annotate(
            for_picture(labels[int(i)]), (x[i], y[i]), (0, 0), zorder=4, path_effects=halo, **_TEXT
        )
        box = text.get_window_extent(renderer)
        half = np.array([box.width, box.height]) / 2
        offset = _place(dots[i], half, scale, [b for k, b in enumerate(taken) if k != i], inside)
        text.set_position(tuple(offset / scale))
        taken.append(np.array([*(dots[i] + offset - half), *(dots[i] + offset + half)]))
        gap = np.maximum(np.abs(offset) - half, 0)
        if np.linalg.norm(gap) > 9 * scale:  # far away: a thin line tells whose it is
            axes.annotate("", (x[i], y[i]), offset / scale, textcoords="offset points",
                          arrowprops={"arrowstyle": "-", "color": PLAIN, "alpha": 0.4,
                                      "linewidth": 0.7, "shrinkB": 3})  # fmt: skip


def _place(
    dot: np.ndarray, half: np.ndarray, scale: float, taken: Sequence[np.ndarray], inside: np.ndarray
) -> np.ndarray:
    """The offset (2,), in pixels, of the label's middle that covers least; near ones first."""
    best, cost = np.zeros(2), np.inf
    for far in _DISTANCES:
        for angle in _ANGLES:
            way = np.array([np.cos(angle), np.sin(angle)])
            offset = way * (far * scale + half)
            box = np.array([*(dot + offset - half), *(dot + offset + half)])
            over = sum(_overlap(box, other) for other in taken)
            out = (
                np.maximum(inside[:2] - box[:2], 0).sum()
                + np.maximum(box[2:] - inside[2:], 0).sum()
            )
            total = over + 50 * out + 0.02 * far
            if total < cost:
                best, cost = offset, total
    return best


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(np.maximum(sides, 0)))
