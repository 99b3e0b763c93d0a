"""The order of an epoch: every cloud once, or classes equally often; the same at every call."""

from collections import Counter

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.training.epoch_order import epoch_order

LABELS = np.array([0] * 20 + [1] * 7 + [3] * 2)  # no cloud of class 2


def test_uniform_is_a_permutation():
    order = epoch_order(LABELS, "uniform", 0, 0)
    assert sorted(order) == list(range(29))
    np.testing.assert_array_equal(order, np.random.default_rng((0, 0)).permutation(29))


def test_balanced_takes_classes_equally_often():
    extra = Counter()
    for epoch in range(30):
        order = epoch_order(LABELS, "balanced", 0, epoch)
        counts = Counter(LABELS[order].tolist())
        assert len(order) == 29 and sorted(counts.values()) == [9, 10, 10]
        extra.update(label for label, n in counts.items() if n == 10)
    assert set(extra) == {0, 1, 3}  # chance decides which class has one less


def test_balanced_takes_the_clouds_of_a_class_equally_often():
    for epoch in range(5):
        counts = Counter(epoch_order(LABELS, "balanced", 0, epoch).tolist())
        for label, most in ((0, 1), (1, 2), (3, 5)):
            times = [counts[i] for i in np.flatnonzero(label == LABELS)]
            assert max(times) == most and max(times) - min(times) <= 1


def test_every_cloud_of_a_frequent_class_has_its_turn():
    seen = set()
    for epoch in range(12):
        seen |= set(epoch_order(LABELS, "balanced", 0, epoch).tolist())
    assert seen == set(range(29))


def test_it_depends_on_seed_and_epoch_alone():
    for sampling in ("uniform", "balanced"):
        first = epoch_order(LABELS, sampling, 1, 2)
        np.random.default_rng(5).random(9)
        np.testing.assert_array_equal(first, epoch_order(LABELS, sampling, 1, 2))
        assert not np.array_equal(first, epoch_order(LABELS, sampling, 1, 3))
        assert not np.array_equal(first, epoch_order(LABELS, sampling, 2, 2))


def test_an_unknown_sampling():
    with pytest.raises(UnknownNameError, match="did you mean 'balanced'"):
        epoch_order(LABELS, "balance", 0, 0)


def test_one_class_cannot_be_balanced():
    with pytest.raises(ConfigError, match="two classes or more"):
        epoch_order(np.zeros(5, dtype=np.int64), "balanced", 0, 0)
