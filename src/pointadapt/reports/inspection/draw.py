"""Pictures of what is seen inside an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core.foreign_text import for_picture
from ...ops import knn
from ..drawing import PLAIN, WRONG, _cloud, _figure, _palette, _save
from .clouds import UNKNOWN
from .measure import Seen

BLUE, ORANGE, GREY, IDLE = "#2563eb", "#d97706", "#8a94a6", "#c9ced8"
CELL = 1.3  # inches of a cloud
BRIGHT = 0.95  # the colours end at this quantile of the scales
MOST_CLASSES = 20  # in a legend


def draw_scales(seen: Seen, which: Sequence[int], titles: Sequence[str], path: Path) -> Path:
    """Clouds below each other, block by block: each point in the colour of its patch's scale.

    Points whose patch has the scale 0 are grey.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    blocks, rows = sorted(seen.scales), len(which)
    above = np.concatenate([seen.scales[b].ravel() for b in blocks])
    above = above[above > 0]
    span = Normalize(0, float(np.quantile(above, BRIGHT)) if len(above) else 1.0)
    wide, high = CELL * len(blocks) + 2.2, CELL * rows + 0.75
    figure = _figure(wide, high)
    for row, k in enumerate(which):
        patch = nearest_patch(seen.points[k], seen.centers[k])
        bottom = (CELL * (rows - row - 1) + 0.05) / high
        figure.text(0.1 / wide, bottom + CELL / 2 / high, for_picture(titles[row]), fontsize=8,
                    va="center", color=PLAIN)  # fmt: skip
        for column, block in enumerate(blocks):
            scale = seen.scales[block][k][patch]
            colors = np.array(colormaps["viridis_r"](span(scale)))[:, :3]
            colors[scale == 0] = np.array([int(IDLE[i : i + 2], 16) for i in (1, 3, 5)]) / 255
            left = (1.25 + CELL * column) / wide
            axes = figure.add_axes((left, bottom, 0.97 * CELL / wide, 0.97 * CELL / high))
            _cloud(axes, seen.points[k], colors, fade=0.15)
    for column, block in enumerate(blocks):
        mean, moved = seen.kinds[block]["patches"]
        text = f"block {block}\nmean {mean:.2g}\nmoves {moved:.0f} %"
        middle = (1.25 + CELL * (column + 0.48)) / wide
        figure.text(middle, 1 - 0.1 / high, text, ha="center", va="top", fontsize=8, color=PLAIN)
    bar = figure.add_axes((1 - 0.75 / wide, 0.2 / high, 0.14 / wide, 1 - 1.1 / high))
    figure.colorbar(ScalarMappable(span, "viridis_r"), cax=bar, extend="max")
    bar.set_title("scale", fontsize=8)
    bar.tick_params(labelsize=7)
    return _save(figure, path)


def nearest_patch(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(n,) number of the patch whose centre is nearest to each point."""
    one, other = (torch.from_numpy(x)[None].float() for x in (points, centers))
    return knn(one, other, 1, check=False)[1][0, :, 0].numpy()


def draw_scale_means(seen: Seen, path: Path) -> Path:
    """Two charts, block by block: the share of tokens that are moved, and the mean scale."""
    figure = _figure(9, 3)
    blocks = sorted(seen.kinds)
    names = {"patches": (BLUE, "patches"), "prompts": (ORANGE, "prompts"),
             "first": (GREY, "first tokens (CLS)")}  # fmt: skip
    for number, (title, y) in enumerate((("tokens with a scale above 0", "%"), ("mean scale", ""))):
        axes = _axes(figure, 1, 2, number + 1, title, y)
        for place, (kind, (color, label)) in enumerate(names.items()):
            own = [(b, seen.kinds[b][kind]) for b in blocks if kind in seen.kinds[b]]
            if own:
                at = np.array([b for b, _ in own]) + 0.27 * (place - 1)
                heights = [values[1 - number] for _, values in own]
                axes.bar(at, heights, 0.25, color=color, label=label)
        axes.set_xticks(blocks)
        axes.set_xlabel("block")
        if number == 0:
            axes.set_ylim(0, 100)
    _legend_below(figure)
    return _save(figure, path)


def draw_changes(seen: Seen, path: Path) -> Path:
    """Three charts, block by block: what it adds, what is new in it, and where the tokens are."""
    figure = _figure(11, 3.1)
    at = np.arange(len(seen.changes))
    value = {key: np.array([row[key] for row in seen.changes]) for key in seen.changes[0]}
    axes = _axes(figure, 1, 3, 1, "size of what a block adds", "% of the token")
    axes.bar(at - 0.2, 100 * value["bare_change"], 0.38, color=GREY, label="frozen backbone alone")
    axes.bar(at + 0.2, 100 * value["change"], 0.38, color=BLUE, label="with the adapter")
    other = _axes(figure, 1, 3, 2, "the adapter's part in it", "% of what the frozen block adds")
    other.bar(at, 100 * value["own"], 0.6, color=ORANGE)
    third = _axes(figure, 1, 3, 3, "distance from the frozen backbone", "% of the token")
    third.plot([-1, *at], 100 * np.array([seen.entry, *value["apart"]]), "o-", color=BLUE, ms=4)
    for each in (axes, other, third):
        each.set_xlabel("block")
        each.set_xticks(at)
        each.set_ylim(bottom=0)
    third.set_xticks([-1, *at], ["start", *map(str, at)])
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="lower left", ncols=2, frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return _save(figure, path)


def draw_worth(
    prompts: Sequence[Mapping[str, Any]], inputs: Sequence[Mapping[str, Any]], score: float,
    measure: str, path: Path,
) -> Path:  # fmt: skip
    """The score by number of prompts, and without or with nothing but one input of the head."""
    panels = [name for name, rows in (("prompts", prompts), ("inputs", inputs)) if rows]
    high = max(3.0, 0.42 * len(inputs) + 1.4)
    figure = _figure(4.8 * len(panels), high)
    for place, name in enumerate(panels, 1):
        if name == "prompts":
            axes = _axes(figure, 1, len(panels), place, "newest prompts that are left", measure)
            at = [row["prompts"] for row in prompts]
            axes.plot(at, [row["score"] for row in prompts], "o-", color=BLUE, ms=4)
            axes.set_xticks(at)
            axes.margins(y=0.25)
        else:
            axes = _axes(figure, 1, len(panels), place, "inputs of the head", "")
            rows = list(reversed(inputs))
            at = np.arange(len(rows))
            axes.barh(at + 0.2, [r["without"]["score"] for r in rows], 0.38, color=GREY,
                      label="without it")  # fmt: skip
            axes.barh(at - 0.2, [r["alone"]["score"] for r in rows], 0.38, color=ORANGE,
                      label="alone")  # fmt: skip
            axes.axvline(score, color=BLUE, lw=1.2, label="all")
            axes.set_yticks(at, [for_picture(row["input"]) for row in rows])
            axes.set_xlabel(measure)
            axes.grid(axis="y", alpha=0)
    _legend_below(figure)
    return _save(figure, path)


def draw_features(
    maps: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str],
    wrong: np.ndarray, path: Path,
) -> Path:  # fmt: skip
    """Maps (M, 2) side by side, a colour for each class; errors have a ring in the last one."""
    figure = _figure(4.6 * len(maps), 5.0)
    present = [k for k in np.unique(labels) if k != UNKNOWN]
    colors = _palette(max(len(present), 1))
    last = len(maps)
    for place, (title, at) in enumerate(maps.items(), 1):
        axes = figure.add_subplot(1, len(maps), place)
        axes.set_title(title, fontsize=9, color=PLAIN)
        for k, color in zip(present, colors, strict=True):
            own = labels == k
            name = for_picture(str(classes[k])[:18]) if place == last else None
            axes.scatter(*at[own].T, s=16, color=color, linewidths=0, label=name)
        other = labels == UNKNOWN
        if other.any():
            name = "not known" if place == last else None
            axes.scatter(*at[other].T, s=14, color=IDLE, linewidths=0, label=name)
        if place == last and wrong.any():
            axes.scatter(*at[wrong].T, s=60, facecolors="none", edgecolors=WRONG, linewidths=1.1,
                         label="predicted wrongly")  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(IDLE)
    _legend_below(figure, MOST_CLASSES + 1)
    return _save(figure, path)


def _axes(figure: Any, rows: int, columns: int, place: int, title: str, y: str) -> Any:
    axes = figure.add_subplot(rows, columns, place)
    axes.set_title(title, fontsize=9, color=PLAIN)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(8)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _legend_below(figure: Any, most: int = 8) -> None:
    """One legend for all charts, below them."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    names = list(found)[-most:]
    lines = -(-len(names) // 6)
    room = 0.22 * lines / figure.get_figheight()
    if names:
        handles = [found[name] for name in names]
        figure.legend(handles, names, loc="lower center", ncols=min(6, len(names)), frameon=False,
                      fontsize=8)  # fmt: skip
    figure.tight_layout(rect=(0, room, 1, 1))
