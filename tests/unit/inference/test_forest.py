"""The random forest beside results: what it is told, and where it says something."""

import numpy as np
import pytest

from pointadapt.data import Clouds, load_dataset
from pointadapt.inference.forest import KEYS, baseline_of, mean_of, random_forest
from pointadapt.tasks import make_task


@pytest.fixture(autouse=True)
def few_trees():
    """As many as it has."""


def boxes(each, seed):
    """Flat, tall and large boxes."""
    rng = np.random.default_rng(seed)
    sides = np.array([(2, 2, 0.2), (0.4, 0.4, 3), (8, 8, 8)])
    labels = np.arange(3 * each) % 3
    points = rng.uniform(-0.5, 0.5, (3 * each, 64, 3)) * sides[labels][:, None]
    points = points * rng.uniform(0.8, 1.2, (3 * each, 1, 1))
    return Clouds(points.astype(np.float32), labels, ("flat", "tall", "large"))


def test_it_tells_sizes_and_shapes_and_is_the_same_again():
    train, test = boxes(10, 0), boxes(5, 1)
    first, second = random_forest(train, test), random_forest(train, test)
    assert [first[key] for key in KEYS] == [100.0] * 3
    assert {k: v for k, v in first.items() if k != "seconds"} == {
        k: v for k, v in second.items() if k != "seconds"
    }
    assert (first["traits"], first["trees"]) == (29, 300)


def test_a_class_that_is_not_in_train_is_never_right():
    train = boxes(6, 0)
    some = train.subset(np.flatnonzero(train.labels < 2))
    assert random_forest(some, boxes(4, 1))["class_accuracy"] == pytest.approx(200 / 3)


def test_it_is_for_classes_of_a_users_own_files():
    sets = boxes(4, 0), boxes(4, 1)
    own, made = load_dataset("folder"), load_dataset("shapes")
    assert baseline_of(make_task("classification"), own, *sets)["accuracy"] == 100
    assert baseline_of(make_task("classification"), made, *sets) == {}
    assert baseline_of(make_task("part_segmentation"), own, *sets) == {}


def test_the_mean_of_runs():
    one = {"name": "random forest", "class_accuracy": 50.0, "macro_f1": 40.0, "traits": 29,
           "trees": 300, "seconds": 2.0}  # fmt: skip
    runs = [{"baseline": {**one, "accuracy": a}} for a in (70.0, 80.0)]
    mean = mean_of([*runs, None, {}])
    assert (mean["accuracy"], mean["runs"], mean["seconds"]) == (75, 2, 2)
    assert mean["accuracy_sd"] == pytest.approx(np.std([70, 80], ddof=1), abs=1e-3)
    assert mean_of(runs[:1])["accuracy_sd"] is None
    assert mean_of([{}]) == {}
