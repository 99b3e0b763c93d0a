"""What pre-training looks like: reconstructions, and the loss and score over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import PointAdaptError
from ..reports.drawing import _figure, _save, project

TITLES = ("input", "visible patches", "reconstruction")
KNOWN, NEW = "#b8bcc2", "#d9480f"  # points that were given, and that the network made
COLUMNS = 6  # two clouds in a row, three pictures of each


def reconstruction_grid(
    clouds: np.ndarray, visible: np.ndarray, predicted: np.ndarray, path: Path | str,
    heading: str = "",
) -> Path:  # fmt: skip
    """Write a picture of clouds, what the network saw of them, and what it made of that.

    Args:
        clouds: (n, N, 3), z up.
        visible: (n, P, 3) points of the visible patches, grey in the reconstruction.
        predicted: (n, H, 3) points that the network made, orange.
        path: where to write, ``.png``, ``.pdf`` or ``.svg``.
        heading: what stands above all.

    Raises:
        PointAdaptError: nothing to draw, or it cannot be written.
    """
    if not len(clouds):
        raise PointAdaptError("there is no cloud to draw")
    rows = math.ceil(3 * len(clouds) / COLUMNS)
    figure = _figure(2.1 * COLUMNS, 2.25 * rows + 0.5)
    for k, triple in enumerate(zip(clouds, visible, predicted, strict=True)):
        # All three are seen in the input's frame, whatever part of the cloud they are.
        frame = triple[0].astype(np.float64)
        cloud, given, made = (project(p.astype(np.float64), frame=frame) for p in triple)
        layers = ([(cloud, KNOWN)], [(given, KNOWN)], [(given, KNOWN), (made, NEW)])
        for j, (title, layer) in enumerate(zip(TITLES, layers, strict=True)):
            axes = figure.add_subplot(rows, COLUMNS, 3 * k + j + 1)
            _scatter(axes, layer, shaded=j < 2)
            if k < COLUMNS // 3:
                axes.set_title(title, fontsize=9, color="#333333")
    top = 1 - 0.6 / (2.25 * rows + 0.5)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=top, wspace=0.02, hspace=0.06)
    figure.text(0.5, 1 - 0.3 / (2.25 * rows + 0.5), heading, ha="center", fontsize=11)
    return _save(figure, path)


def _scatter(axes: Any, layers: Sequence[tuple[np.ndarray, str]], shaded: bool) -> None:
    """Layers of seen points in one picture, far points first; shaded: coloured by height."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    points = np.concatenate([points for points, _ in layers])
    colors = np.concatenate([np.tile(to_rgba(color), (len(p), 1)) for p, color in layers])
    if shaded:
        colors = colormaps["viridis"](0.45 + 0.4 * points[:, 1])
    depth = (points[:, 2] - points[:, 2].min()) / max(float(np.ptp(points[:, 2])), 1e-9)
    colors[:, :3] += (1 - colors[:, :3]) * (0.45 * (1 - depth))[:, None]  # far is paler
    order = np.argsort(depth)
    axes.scatter(points[order, 0], points[order, 1], c=colors[order], s=2.5, linewidths=0)
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    axes.axis("off")


def curves(lines: Mapping[str, tuple[Sequence[int], Sequence[float]]], path: Path | str) -> Path:
    """Write a picture with a panel for each entry: its steps and the values at them.

    Raises:
        PointAdaptError: nothing to draw, or it cannot be written.
    """
    lines = {name: line for name, line in lines.items() if line[0]}
    if not lines:
        raise PointAdaptError("there is no curve to draw")
    figure = _figure(5.0 * len(lines), 3.4)
    for k, (name, (steps, values)) in enumerate(lines.items()):
        axes = figure.add_subplot(1, len(lines), k + 1)
        axes.plot(steps, values, linewidth=1.6, marker="o" if len(steps) < 30 else None, ms=3)
        if min(values) > 0 and max(values) > 5 * min(values):
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return _save(figure, path)
