"""Linear classifiers of a head's inputs, with a strength chosen on clouds that are held out.

All in float64, by scikit-learn, the same at every call, on inputs brought to mean 0 and deviation 1
over the training clouds, and then weighed kind by kind: all channels of a pooling together weigh 1,
whatever their number, and so do the few numbers of a cloud's size, times a factor; maps that are
found with several such factors are averaged.

A map of the inputs to a number for each class is multinomial logistic regression; one to a number
for each pair of classes, which then vote, is a linear support vector machine for each pair
(:func:`votes`). The strength C of the fit is the one that is right most often
on held-out clouds, those of one group together; of equal ones the smallest, the strongest penalty.
A factor on the output is chosen on the same clouds by the probability of their true labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from ..core.errors import DataLayoutError

Splits = list[tuple[np.ndarray, np.ndarray]]  # numbers of the clouds to fit on, and held out
MOST = 2000  # clouds that the strength is chosen on
FEW, ROUNDS = 500, 3  # where clouds are fewer, cross-validation is repeated with other folds
SURE = 50.0  # the output against a class that the training clouds lack
FACTORS = np.geomspace(0.1, 30, 41)


@dataclass(frozen=True)
class Rows:
    """What a head is fitted to.

    Attributes:
        inputs: (n, F) float64 of each training cloud.
        labels: (n,) int64.
        classes: how many there are.
        kinds: of the inputs side by side: (width, whether it is traits of clouds); the widths add
            up to F.
        pairs: a number for each pair of classes is wanted, not for each class.
        groups: (n,) what each cloud belongs with; None where each stands alone.
        emphases: what each kind of traits weighs, where a kind of tokens weighs 1; of several the
            maps are averaged, which few labels need: no single weight suits them all.
        seed: fixes the folds.
    """

    inputs: np.ndarray
    labels: np.ndarray
    classes: int
    kinds: tuple[tuple[int, bool], ...]
    pairs: bool = False
    groups: np.ndarray | None = None
    emphases: tuple[float, ...] = (1.0,)
    seed: int = 0

    def subset(self, index: np.ndarray) -> Rows:
        """The rows at ``index``."""
        groups = None if self.groups is None else self.groups[index]
        return replace(self, inputs=self.inputs[index], labels=self.labels[index], groups=groups)

    def weights(self, emphasis: float) -> np.ndarray:
        """(F,) what each input is multiplied by, traits ``emphasis`` times as much."""
        each = [(w, emphasis if traits else 1.0) for w, traits in self.kinds]
        return np.concatenate([np.full(w, weight / w**0.5) for w, weight in each])

    @property
    def outputs(self) -> int:
        """How many numbers the map gives."""
        return self.classes * (self.classes - 1) // 2 if self.pairs else self.classes


@dataclass(frozen=True)
class LinearFit:
    """A linear map of a head's inputs.

    Attributes:
        weight: (outputs, F) float64.
        bias: (outputs,) float64.
        facts: how it was found, as plain values.
    """

    weight: np.ndarray
    bias: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """(n, outputs) of inputs (n, F)."""
        return inputs @ self.weight.T + self.bias


def votes(margins: np.ndarray, classes: int) -> np.ndarray:
    """(n, classes) log-probabilities, but for a constant, of margins (n, pairs) between classes.

    Pairs are (0, 1), (0, 2) … (1, 2) …; a positive margin speaks for the first. Each gives the one
    log σ(m) and the other log σ(-m), so that a pair that knows neither class cannot outvote the
    others; the sum is divided by half the number of classes, which of two leaves σ(m) itself.
    """
    out = np.zeros((len(margins), classes))
    for k, (first, second) in enumerate(combinations(range(classes), 2)):
        out[:, first] -= np.logaddexp(0, -margins[:, k])
        out[:, second] -= np.logaddexp(0, margins[:, k])
    return out * (2 / classes)


def fit_linear(rows: Rows, strengths: Sequence[float], parts: int) -> LinearFit:
    """The classifier with the best of ``strengths``, which are C times the kinds of inputs.

    Where nothing can be held out, since no class has two clouds or groups, the middle one is taken.

    Raises:
        DataLayoutError: there are fewer than two classes.
    """
    if len(np.unique(rows.labels)) < 2:
        raise DataLayoutError("a linear fit needs training clouds of two classes or more")
    order = np.random.default_rng(rows.seed).permutation(len(rows.labels))[:MOST]
    some = rows.subset(np.sort(order))
    splits = _splits(some, parts)
    tried = {c: _try(some, c, splits) for c in sorted(strengths)} if splits else {}
    best = max(tried, key=lambda c: tried[c][0]) if tried else _middle(strengths)
    right, factor = tried.get(best, (None, 1.0))
    fit = fit_once(rows, best)
    facts = {
        "classifier": "linear SVM of each pair" if rows.pairs else "logistic regression",
        "strength": best,
        "cross_validated": right,
        "by_strength": {f"{c:g}": score for c, (score, _) in tried.items()},
        "splits": len(splits),
        "grouped": rows.groups is not None,
        "inputs": rows.inputs.shape[1],
        "factor": round(factor, 6),
    }
    return LinearFit(factor * fit.weight, factor * fit.bias, facts)


def fit_once(rows: Rows, strength: float) -> LinearFit:
    """The classifier of one strength, for inputs as they are: scaling is in its weights."""
    mean, deviation = rows.inputs.mean(axis=0), rows.inputs.std(axis=0)
    flat = deviation <= 1e-9 * np.abs(mean).clip(min=1e-3)  # an input that is always the same
    deviation = np.where(flat, np.inf, deviation)
    solve = _svms if rows.pairs else _logistic
    found = []
    for weights in map(rows.weights, rows.emphases):
        scaled = replace(rows, inputs=weights * (rows.inputs - mean) / deviation)
        weight, bias = solve(scaled, strength / len(rows.kinds))
        weight = weight * weights / deviation
        found.append((weight, bias - weight @ mean))
    weight, bias = (np.mean(each, axis=0) for each in zip(*found, strict=True))
    return LinearFit(weight, bias)


def _logistic(rows: Rows, c: float) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial logistic regression: weight (classes, F) and bias (classes,)."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # where it stops short of its tolerance, that is near enough
        found = LogisticRegression(C=c, max_iter=300).fit(rows.inputs, rows.labels)
    weight, bias = np.zeros((rows.classes, rows.inputs.shape[1])), np.full(rows.classes, -SURE)
    both = len(found.classes_) == 2  # then it gives one number: the second's
    weight[found.classes_] = (
        np.stack([-found.coef_[0], found.coef_[0]]) / 2 if both else found.coef_
    )
    bias[found.classes_] = found.intercept_ * [-0.5, 0.5] if both else found.intercept_
    return weight, bias


def _svms(rows: Rows, c: float) -> tuple[np.ndarray, np.ndarray]:
    """A linear support vector machine for each pair: weight (pairs, F) and bias (pairs,)."""
    from sklearn.svm import SVC

    weight, bias = np.zeros((rows.outputs, rows.inputs.shape[1])), np.zeros(rows.outputs)
    known = np.unique(rows.labels)
    pairs = list(combinations(range(rows.classes), 2))
    both = [k for k, pair in enumerate(pairs) if np.isin(pair, known).all()]
    if both:
        found = SVC(kernel="linear", C=c).fit(rows.inputs, rows.labels)  # all pairs in one call
        sign = 1 if len(known) > 2 else -1  # of two classes it gives the second's number
        weight[both], bias[both] = sign * found.coef_, sign * found.intercept_
    for k, pair in enumerate(pairs):
        if k not in both:
            bias[k] = SURE * np.isin(pair, known) @ [1, -1]
    return weight, bias


def _splits(rows: Rows, parts: int) -> Splits:
    """Folds that keep the shares of the classes, and groups together; none where that cannot be."""
    from sklearn.model_selection import StratifiedGroupKFold

    count = len(rows.labels)
    groups = np.arange(count) if rows.groups is None else rows.groups
    of_class = [len(np.unique(groups[rows.labels == k])) for k in np.unique(rows.labels)]
    parts = min(parts, len(np.unique(groups)), max(of_class))
    if parts < 2:
        return []
    found: Splits = []
    for number in range(ROUNDS if count < FEW else 1):
        draw = StratifiedGroupKFold(parts, shuffle=True, random_state=rows.seed + number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class may have fewer clouds than there are folds
            found += list(draw.split(rows.labels, rows.labels, groups))
    return [(fit, held) for fit, held in found if len(np.unique(rows.labels[fit])) > 1]


def _try(rows: Rows, strength: float, splits: Splits) -> tuple[float, float]:
    """Percent of the held-out clouds that are right, and the best factor, with one strength."""
    out = np.concatenate(list(_held_out(rows, strength, splits)))
    true = np.concatenate([rows.labels[held] for _, held in splits])
    likely = {factor: _log_likelihood(rows, factor * out, true) for factor in FACTORS}
    factor = max(likely, key=likely.__getitem__)
    right = _of_classes(rows, factor * out).argmax(axis=1) == true
    return round(100.0 * float(right.mean()), 4), float(factor)


def _held_out(rows: Rows, strength: float, splits: Splits) -> Iterator[np.ndarray]:
    """(m, outputs) for the clouds that each split holds out."""
    for fit, held in splits:
        yield fit_once(rows.subset(fit), strength)(rows.inputs[held])


def _of_classes(rows: Rows, out: np.ndarray) -> np.ndarray:
    """(n, classes) of outputs (n, outputs)."""
    return votes(out, rows.classes) if rows.pairs else out


def _log_likelihood(rows: Rows, out: np.ndarray, true: np.ndarray) -> float:
    """Mean log-probability that the softmax of outputs gives the true labels, each at least -20."""
    z = _of_classes(rows, out)
    z = z - z.max(axis=1, keepdims=True)
    likely = z[np.arange(len(z)), true] - np.log(np.exp(z).sum(axis=1))
    return float(likely.clip(min=-20).mean())


def _middle(strengths: Sequence[float]) -> float:
    return sorted(strengths)[len(strengths) // 2]
