"""Calibration error against its definition, prediction by prediction, and scikit-learn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from pointadapt.reports.calibration import calibration


def brute_force_ece(confidence, right, bins):
    """Guo et al., Eq. 3, one bin after another."""
    total = 0.0
    for k in range(bins):
        low, high = k / bins, (k + 1) / bins
        inside = [
            i for i, c in enumerate(confidence) if low < c <= high or (k == 0 and c == 0)
        ]  # fmt: skip
        if inside:
            accuracy = sum(bool(right[i]) for i in inside) / len(inside)
            sure = sum(float(confidence[i]) for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - sure)
    return 100 * total


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("seed", [0, 1])
def test_ece_is_its_definition(bins, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.1, 1, 400)
    right = rng.uniform(size=400) < confidence**2
    got = calibration(confidence, right, bins)
    assert got["ece"] == pytest.approx(brute_force_ece(confidence, right, bins), abs=1e-3)
    share, mean = calibration_curve(right, confidence, n_bins=bins)
    full = [b for b in got["bins"] if b["count"]]
    assert [b["accuracy"] for b in full] == pytest.approx(100 * share, abs=1e-3)
    assert [b["confidence"] for b in full] == pytest.approx(100 * mean, abs=1e-3)
    assert sum(b["count"] for b in got["bins"]) == got["count"] == 400
    assert sum(b["right"] for b in got["bins"]) == right.sum()


def test_bins_take_their_upper_limit():
    counts = [
        b["count"] for b in calibration(np.array([0.0, 0.2, 0.2001, 1.0]), np.ones(4), 5)["bins"]
    ]
    assert counts == [2, 1, 0, 0, 1]


def test_by_hand():
    """Sure at 80 % and right half the time: off by 30 points."""
    got = calibration(np.full((2, 2), 0.8, np.float32), np.array([[1, 0], [0, 1]]))
    assert got["ece"] == pytest.approx(30, abs=1e-3)
    assert (got["confidence"], got["accuracy"]) == (pytest.approx(80, abs=1e-3), 50)
    assert calibration(np.ones(3), np.ones(3))["ece"] == 0


def test_what_is_kept():
    got = calibration(np.array([0.4, 0.7, 0.9, 0.99]), np.array([0, 0, 1, 1]))["kept"]
    at = {row["above"]: (row["share"], row["accuracy"]) for row in got}
    assert at[0.5] == (75, pytest.approx(66.6667, abs=1e-3))
    assert at[0.9] == (50, 100)
    nothing = calibration(np.array([0.4]), np.array([1]))["kept"][-1]
    assert (nothing["share"], nothing["accuracy"]) == (0, None)
