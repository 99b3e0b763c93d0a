"""A forest as tensors: scikit-learn's answers, without scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from pointadapt.core.errors import ConfigError
from pointadapt.tasks.forest import DEPTH, FEW, Forest, fitted_forest, mixed


def points(count=400, seed=0):
    """Features on a coarse grid, so that some lie on thresholds, and labels 0, 2, 3 or -1."""
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 12, (count, 4)).astype(np.float32) / 7
    labels = np.where(features[:, 0] > 0.8, 2, 0)
    labels[features[:, 1] * features[:, 2] > 0.9] = 3
    labels[rng.random(count) < 0.1] = -1
    return features, labels


def learned(trees=5, seed=3, leaves=1024):
    features, labels = points()
    forest = Forest(4, trees, leaves)
    forest.learn(features, labels, seed)
    return forest


@pytest.mark.parametrize(
    ("leaves", "kind"), [(3, RandomForestClassifier), (1024, ExtraTreesClassifier)]
)
def test_it_answers_as_scikit_learn_does(leaves, kind):
    limits = {"max_leaf_nodes": leaves, "max_depth": DEPTH}
    theirs, used = fitted_forest(*points(), 5, 3, few=FEW * leaves, **limits)
    assert type(theirs) is kind
    features, _ = points(300, seed=1)
    ours = learned(leaves=leaves)(torch.from_numpy(features)).numpy()
    assert used == (points()[1] >= 0).sum()
    assert theirs.classes_.tolist() == [0, 2, 3]
    np.testing.assert_allclose(ours[:, [0, 2, 3]], theirs.predict_proba(features), atol=1e-3)
    assert not ours[:, 1].any()  # a label that no training point had


def test_before_it_has_learned_all_labels_are_as_likely():
    said = Forest(4, 2)(torch.randn(3, 5))
    assert torch.equal(said, torch.full((3, 4), 0.25))


def test_it_goes_through_a_file():
    forest, other = learned(), Forest(4, 5)
    other.load_state_dict(forest.state_dict())
    features = torch.from_numpy(points(seed=2)[0])
    assert torch.equal(forest(features), other(features))


def test_learning_again_leaves_nothing_of_before():
    forest, features = Forest(4, 3), points(seed=2)[0]
    forest.learn(*points(seed=5))
    forest.learn(*points()[:1], np.full(400, 1))  # one label alone: trees of one leaf
    said = forest(torch.from_numpy(features))
    assert torch.equal(said, torch.eye(4)[1].expand(400, 4))


def test_points_without_labels_teach_nothing():
    with pytest.raises(ConfigError, match="needs labels"):
        Forest(4, 3).learn(points()[0], np.full(400, -1))


def test_what_is_mixed_is_a_weighted_mean_of_logarithms():
    output, shares = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    p = output.softmax(dim=1)
    want = 0.25 * p.log() + 0.75 * torch.tensor([[0.01, 1.01]]).log()
    torch.testing.assert_close(mixed(output, shares, 0.25), want)
    torch.testing.assert_close(mixed(output, shares, 1.0).softmax(dim=1), p)
