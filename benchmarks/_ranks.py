"""Whether methods differ over many data sets: ranks, tests, and the picture of both.

After Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Scores = Mapping[str, Mapping[str, Sequence[float]]]  # set -> method -> a score for each seed


def whole(scores: Scores) -> tuple[list[str], list[str], np.ndarray]:
    """Sets and methods that have all scores, and their means (sets, methods)."""
    methods = list(dict.fromkeys(m for of in scores.values() for m in of))
    sets = [s for s in scores if all(scores[s].get(m) for m in methods)]
    means = [[statistics.mean(scores[s][m]) for m in methods] for s in sets]
    return sets, methods, np.array(means).reshape(len(sets), len(methods))


def ranks(scores: Scores) -> dict[str, Any]:
    """Mean rank of each method (1 is best, equals share), Friedman's test, Nemenyi's difference.

    Two methods whose mean ranks differ by less than ``critical_difference`` cannot be told apart at
    the level of 5 % (§3.2.2): q √(k (k + 1) / 6N), q of the studentized range over √2.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    sets, methods, means = whole(scores)
    k, n = len(methods), len(sets)
    if k < 3 or n < 2:
        return {"sets": sets, "mean_ranks": {}}
    each = np.array([rankdata(-row) for row in means])
    q = float(studentized_range.ppf(0.95, k, np.inf)) / 2**0.5
    return {
        "sets": sets,
        "mean_ranks": dict(zip(methods, each.mean(axis=0).round(4).tolist(), strict=True)),
        "friedman_p": float(friedmanchisquare(*means.T).pvalue),
        "critical_difference": round(q * (k * (k + 1) / (6 * n)) ** 0.5, 4),
    }


def against(scores: Scores, one: str) -> dict[str, dict[str, Any]]:
    """What ``one`` has more than every other method: mean over sets, Wilcoxon's signed-rank test.

    On each set the mean of the seeds' differences, with its standard error.
    """
    from scipy.stats import wilcoxon

    sets, methods, means = whole(scores)
    found: dict[str, dict[str, Any]] = {}
    for m in (m for m in methods if m != one and one in methods):
        more = means[:, methods.index(one)] - means[:, methods.index(m)]
        tested = len(sets) > 1 and bool(more.any())
        found[m] = {
            "mean": round(float(more.mean()), 3),
            "wilcoxon_p": float(wilcoxon(more).pvalue) if tested else None,
            "sets": {s: paired(scores[s][one], scores[s][m]) for s in sets},
        }
    return found


def paired(one: Sequence[float], other: Sequence[float]) -> dict[str, float | None]:
    """Mean of the differences, seed by seed, and its standard error."""
    more = [a - b for a, b in zip(one, other, strict=True)]
    error = statistics.stdev(more) / len(more) ** 0.5 if len(more) > 1 else None
    return {
        "mean": round(statistics.mean(more), 3),
        "standard_error": None if error is None else round(error, 3),
    }


def picture(found: Mapping[str, Any], path: Path) -> None:
    """The methods on an axis of mean ranks; bars join those that cannot be told apart (§3.2.4)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    of = sorted(found["mean_ranks"].items(), key=lambda item: item[1])
    k, cd = len(of), found["critical_difference"]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.3 * k))
    half = (k + 1) // 2
    for i, (name, rank) in enumerate(of):
        left = i < half
        y = -1.2 - (i if left else k - 1 - i)
        end = 0.7 if left else k + 0.3
        axes.plot([rank, rank, end], [0, y, y], color="0.3", linewidth=1)
        axes.text(end, y, f"{name} {rank:.2f}", ha="right" if left else "left", va="center")
    for row, (first, last) in enumerate(_alike([rank for _, rank in of], cd)):
        axes.plot([first - 0.03, last + 0.03], [-0.25 - 0.2 * row] * 2, color="C0", linewidth=4)
    axes.plot([1, k], [0, 0], color="0.3")
    axes.set_xticks(range(1, k + 1))
    axes.xaxis.tick_top()
    axes.set_xlim(-0.9, k + 1.9)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(f"mean rank over {len(found['sets'])} sets; critical difference {cd:.2f}")
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _alike(values: Sequence[float], cd: float) -> list[tuple[float, float]]:
    """The longest runs, of two or more, of sorted ranks that differ by less than ``cd``."""
    runs: list[tuple[float, float]] = []
    for first in values:
        last = max(v for v in values if v - first < cd)
        if last > first and not any(a <= first and last <= b for a, b in runs):
            runs.append((first, last))
    return runs
