"""Pictures, with matplotlib's file backend: no window, no display needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import PointAdaptError
from ..core.files import atomic, check_target
from ..core.foreign_text import for_picture

RIGHT, WRONG, PLAIN = "#1a7f4b", "#c62828", "#333333"


def prediction_grid(
    points: np.ndarray,
    titles: Sequence[str],
    ok: Sequence[bool | None],
    path: Path | str,
    *,
    columns: int = 6,
    heading: str = "",
) -> Path:
    """Write a picture of clouds, each with its title in green, red, or grey.

    Args:
        points: (n, N, 3) clouds, z up; each is scaled to its cell.
        titles: (n,) what stands above each.
        ok: (n,) right (green), wrong (red), or not known (None).
        path: where to write, ``.png``, ``.pdf`` or ``.svg``.
        columns: clouds in a row.
        heading: what stands above all.

    Raises:
        PointAdaptError: nothing to draw, an ending that is none of the three, or a folder that
            cannot be written.
    """
    if not len(points):
        raise PointAdaptError("there is no cloud to draw")
    columns = min(columns, len(points))
    rows = math.ceil(len(points) / columns)
    top = 0.55 if heading else 0.1  # inches
    figure = _figure(2.0 * columns, 2.25 * rows + top)
    for k, (cloud, title, right) in enumerate(zip(points, titles, ok, strict=True)):
        axes = figure.add_subplot(rows, columns, k + 1)
        _cloud(axes, cloud)
        color = PLAIN if right is None else RIGHT if right else WRONG
        axes.set_title(for_picture(title), color=color, fontsize=9, pad=4, fontweight="bold")
    figure.subplots_adjust(
        left=0.01, right=0.99, bottom=0.01, top=1 - (top + 0.3) / (2.25 * rows + top),
        wspace=0.02, hspace=0.22,
    )  # fmt: skip
    if heading:
        figure.text(
            0.5, 1 - 0.3 / (2.25 * rows + top), for_picture(heading), ha="center", fontsize=12
        )
    return _save(figure, path)


def part_grid(
    points: np.ndarray,
    rows: Mapping[str, np.ndarray],
    titles: Sequence[str],
    names: Sequence[str],
    path: Path | str,
    *,
    columns: int = 6,
) -> Path:
    """Write a picture of clouds coloured by part, say the true ones above the predicted ones.

    Args:
        points: (n, N, 3) clouds, z up.
        rows: what is drawn of each cloud, below each other: its name to parts (n, N).
        titles: (n,) what stands above each cloud.
        names: of the parts, "class/part"; those of a cloud stand below it in their colours.
        path: where to write, ``.png``, ``.pdf`` or ``.svg``.
        columns: clouds in a line.

    Raises:
        PointAdaptError: as :func:`prediction_grid`.
    """
    if not len(points):
        raise PointAdaptError("there is no cloud to draw")
    columns = min(columns, len(points))
    lines, high = math.ceil(len(points) / columns), len(rows)
    figure = _figure(2.1 * columns + 0.3, (2.0 * high + 1.1) * lines)
    heights = [*([2.0] * high), 1.1] * lines
    grid = figure.add_gridspec(
        len(heights), columns, height_ratios=heights, left=0.3 / (2.1 * columns + 0.3), right=0.99,
        bottom=0.01, top=1 - 0.25 / sum(heights), wspace=0.02, hspace=0.05,
    )  # fmt: skip
    for k, cloud in enumerate(points):
        line, column = divmod(k, columns)
        seen = np.unique(np.concatenate([parts[k] for parts in rows.values()]))
        colors = _part_colors(names, seen)
        for i, (what, parts) in enumerate(rows.items()):
            axes = figure.add_subplot(grid[line * (high + 1) + i, column])
            _cloud(axes, cloud, colors[np.searchsorted(seen, parts[k])])
            if i == 0:
                axes.set_title(
                    for_picture(titles[k]), fontsize=9, pad=2, fontweight="bold", color=PLAIN
                )
            if column == 0:
                axes.text(-1.12, 0, what, rotation=90, va="center", ha="right", fontsize=9)
        _legend(
            figure.add_subplot(grid[line * (high + 1) + high, column]),
            [names[int(part)].rpartition("/")[2] for part in seen], colors,
        )  # fmt: skip
    return _save(figure, path)


def _part_colors(names: Sequence[str], seen: np.ndarray) -> np.ndarray:
    """(k, 3) colours of the parts ``seen``; of one class, the same ones on every cloud."""
    kinds = [name.rpartition("/")[0] for name in names]
    if len({kinds[part] for part in seen}) > 1:
        return _palette(len(seen))
    own = [part for part, kind in enumerate(kinds) if kind == kinds[seen[0]]]
    return _palette(len(own))[np.searchsorted(own, seen)]


def _palette(count: int) -> np.ndarray:
    """(count, 3) colours that are told apart."""
    from matplotlib import colormaps

    name, size = ("tab10", 10) if count <= 10 else ("tab20", 20)
    return colormaps[name](np.arange(count) % size)[:, :3]


def _legend(axes: Any, names: Sequence[str], colors: np.ndarray) -> None:
    """Names in their colours, three in a line."""
    axes.axis("off")
    for k, (name, color) in enumerate(zip(names, colors, strict=True)):
        line, column = divmod(k, 3)
        axes.text(
            (column + 0.5) / 3, 0.98 - 0.17 * line, for_picture(name), color=color, fontsize=6.5,
            ha="center", va="top", transform=axes.transAxes,
        )  # fmt: skip


def curve(
    lines: Mapping[str, Sequence[float]], path: Path | str, *, x: str = "epoch", y: str = ""
) -> Path:
    """Write a picture of one line for each entry: its values at 1, 2, 3 and so on.

    Raises:
        PointAdaptError: nothing to draw, or it cannot be written.
    """
    if not lines:
        raise PointAdaptError("there is no curve to draw")
    figure = _figure(6.0, 3.6)
    axes = figure.add_subplot()
    for name, values in lines.items():
        axes.plot(range(1, len(values) + 1), values, label=name, linewidth=1.8)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    return _save(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def project(
    cloud: np.ndarray, turn: float = -55.0, tilt: float = 22.0, frame: np.ndarray | None = None
) -> np.ndarray:
    """A cloud (N, 3), z up, as seen from the side and above: right, up, towards the viewer.

    Args:
        cloud: any coordinates; the result is centred and at most 1 from the middle.
        turn: degrees about z.
        tilt: degrees of the view from above.
        frame: a cloud whose middle and size are taken in place of its own.
    """
    a, b = math.radians(turn), math.radians(tilt)
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    near = np.array([math.cos(b) * math.cos(a), math.cos(b) * math.sin(a), math.sin(b)])
    view = np.stack([right, np.cross(near, right), near], axis=1)
    whole = (cloud if frame is None else frame) @ view
    middle = (whole.min(axis=0) + whole.max(axis=0)) / 2
    size = max(float(np.linalg.norm((whole - middle)[:, :2], axis=1).max()), 1e-9)
    return (cloud @ view - middle) / size


def _cloud(axes: Any, cloud: np.ndarray, own: np.ndarray | None = None, fade: float = 0.5) -> None:
    """Draw the cloud orthographically, far points first, paler far away.

    Coloured by height, or each point in its ``own`` colour (N, 3); the furthest points are turned
    to white by ``fade``.
    """
    from matplotlib import colormaps

    seen = project(np.asarray(cloud, dtype=np.float64))
    order = np.argsort(seen[:, 2])
    height = np.asarray(cloud, dtype=np.float64)[order, 2]
    height = (height - height.min()) / max(float(np.ptp(height)), 1e-9)
    depth = (seen[order, 2] - seen[:, 2].min()) / max(float(np.ptp(seen[:, 2])), 1e-9)
    colors = colormaps["viridis"](0.05 + 0.8 * height) if own is None else own[order]
    white = (fade * (1 - depth))[:, None]
    colors = colors[:, :3] * (1 - white) + white
    size = 3.2 * math.sqrt(1024 / len(seen)) * (0.6 + 1.2 * depth)
    axes.scatter(seen[order, 0], seen[order, 1], c=colors, s=size, linewidths=0)
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-1.05, 1.05)
    axes.set_aspect("equal")
    axes.axis("off")


def check_picture(path: Path | str) -> None:
    """Refuse a picture that could not be written, before the work that it is to show.

    Raises:
        PointAdaptError: its name has another ending, or it cannot be written.
    """
    if Path(path).suffix.lower() not in (".png", ".pdf", ".svg"):
        raise PointAdaptError(f"{path}: a picture's name must end in .png, .pdf or .svg")
    check_target(path)


def _save(figure: Any, path: Path | str) -> Path:
    path = Path(path)
    check_picture(path)
    with atomic(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower().lstrip("."), dpi=130)
    return path
