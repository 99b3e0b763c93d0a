"""Training clouds drawn as if no others had labels."""

import numpy as np

from pointadapt.data.splits import few_of_each


def test_few_of_each_class_and_more_hold_the_fewer():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [9, 3, 20]))
    two, five = few_of_each(labels, 2, seed=4), few_of_each(labels, 5, seed=4)
    assert np.bincount(labels[two]).tolist() == [2, 2, 2]
    assert np.bincount(labels[five]).tolist() == [5, 3, 5]  # all of a class that has no more
    assert set(two) <= set(five)
    assert list(five) == sorted(five)
    assert not np.array_equal(two, few_of_each(labels, 2, seed=5))
