"""The heat map of a robustness run: the score for each corruption and severity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.foreign_text import for_picture
from ..tasks import TASKS
from ..tasks.answers import Measure
from .drawing import PLAIN, _figure, _save


def heat_map(results: Mapping[str, Any], path: Path | str) -> Path:
    """Write the picture: a row a corruption, a column a severity, and the mean.

    Raises:
        PointAdaptError: it cannot be written.
    """
    cells, clean = results["cells"], results["clean"]
    measure = TASKS[results["task"]].measures[0]
    values = np.array([[score[measure.key] for score in row] for row in cells.values()])
    values = np.column_stack([values, values.mean(axis=1)])
    figure = _figure(6.4, 1.5 + 0.3 * len(values))
    axes = figure.add_subplot()
    low, high = _scale(values, clean, measure)
    image = axes.imshow(values, cmap="RdYlGn", vmin=low, vmax=high, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        bold = "bold" if column == values.shape[1] - 1 else "normal"
        text, color = measure.number(value, 1), _ink((value - low) / (high - low))
        axes.text(column, row, text, ha="center", va="center", fontsize=8, weight=bold, color=color)
    axes.set_yticks(range(len(values)), list(cells), fontsize=8)
    axes.set_xticks(range(6), ["1", "2", "3", "4", "5", "mean"], fontsize=8)
    axes.set_xlabel("severity", fontsize=8)
    axes.axvline(4.5, color="white", linewidth=3)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.03)
    bar.set_label(measure.head, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    axes.set_title(_title(results, measure), fontsize=9, color=PLAIN)
    figure.tight_layout()
    return _save(figure, path)


def _scale(values: np.ndarray, clean: float, measure: Measure) -> tuple[float, float]:
    """The values of red and green: of percentages from 0, of others from the worst, to clean."""
    if measure.unit == "%":
        return 0.0, max(clean, 1.0)
    low, high = float(values.min()), max(float(values.max()), clean)
    return low, high if high > low else low + 1.0


def _ink(share: float) -> str:
    """Dark text on the middle of the scale, white on its ends."""
    return "white" if share < 0.15 or share > 0.9 else "#222222"


def _title(results: Mapping[str, Any], measure: Measure) -> str:
    s, about = results["summary"], results["settings"]
    if "mean_error" in s:
        figures = f"clean {s['clean_accuracy']:.1f} %, mean error {s['mean_error']:.1f} %"
    else:
        figures = f"clean {measure.text(s['clean'], 1)}, mean {measure.text(s['mean'], 1)}"
    figures += f", mCE {s['mce']:.3f}" if "mce" in s else ""
    title = for_picture(results.get("title", about["data"]))
    where = title if about["data"] == about["suite"] else f"{title}, made here"
    return f"{results['method']}: {about['suite']} ({where}), {about['clouds']:,} clouds\n{figures}"
