"""Clouds that are in the data twice are found and told."""

import numpy as np
import pytest

from pointadapt.core.notes import PointAdaptNote
from pointadapt.data import Clouds
from pointadapt.data.checking.repeats import (
    repeated_clouds,
    shared_clouds,
    tell_repeated,
    tell_shared,
)


def clouds(*seeds, name):
    points = [np.random.default_rng(seed).random((5, 3)).astype(np.float32) for seed in seeds]
    ids = tuple(f"{name}{k}" for k in range(len(seeds)))
    return Clouds(np.stack(points), np.zeros(len(seeds), np.int64), ("cup",), ids)


def test_shared_and_repeated():
    train, test = clouds(1, 2, 3, name="train"), clouds(4, 3, 1, 3, name="test")
    assert shared_clouds(train, test) == [(2, 1), (0, 2), (2, 3)]
    assert repeated_clouds(test) == [(1, 3)] and repeated_clouds(train) == []
    with pytest.warns(PointAdaptNote, match="^3 of 4 test clouds .* too, such as test1, "):
        tell_shared(train, test)
    with pytest.warns(PointAdaptNote, match=r"^1 of 4 clouds .* such as test3, cup \(test1, "):
        tell_repeated(test)


def test_nothing_is_said_of_clouds_that_differ(recwarn):
    train, test = clouds(1, 2, name="train"), clouds(3, name="test")
    moved = Clouds(train.points + np.float32(1e-3), train.labels, train.classes, train.ids)
    tell_shared(train, test), tell_shared(train, moved), tell_repeated(train)
    assert not recwarn.list
