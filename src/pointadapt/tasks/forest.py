"""A random forest that an adapter's head holds as tensors, and answers beside the network.

Breiman, Random Forests, Machine Learning 45, 2001, or of few examples extremely randomized trees
(Geurts et al., Machine Learning 63, 2006), as scikit-learn fits them. The trees are arrays of a
size that the options alone fix, so that they are saved, loaded and exported like any other tensor,
and answer without scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import ConfigError
from ..ops import is_exporting

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

POINTS = 40_000  # of the training data that a forest is fitted to, at most
DOUBT = 0.01  # added to a forest's shares
DEPTH = 24  # decisions from the root to a leaf, at most
FEW = 2  # examples a leaf: of fewer, thresholds drawn at random are better than the best ones


def fitted_forest(
    features: np.ndarray, labels: np.ndarray, trees: int, seed: int, few: int = 0, **limits: Any
) -> tuple[RandomForestClassifier | ExtraTreesClassifier, int]:
    """A forest, and on how many points it was fitted: a sample of those that are labelled.

    Args:
        features: (m, C) of the points.
        labels: (m,) their labels, -1 where unknown.
        trees: how many.
        seed: of the sample, and of the forest.
        few: of so many points or fewer, extremely randomized trees.
        limits: scikit-learn's other options.
    """
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    known = np.flatnonzero(labels >= 0)
    some = np.random.default_rng(seed).permutation(known)[:POINTS]
    jobs = torch.get_num_threads()
    kind = ExtraTreesClassifier if len(some) <= few else RandomForestClassifier
    forest = kind(trees, random_state=seed, n_jobs=jobs, **limits)
    return forest.fit(features[some], labels[some]), len(some)


class Forest(nn.Module):
    """Shares of the labels among what had these features, points or clouds, by a forest's trees.

    All labels are as likely before :meth:`learn`. No parameter: nothing in it trains by gradients.

    Buffers: ``column`` (trees, inner nodes), the feature that a node looks at, and ``threshold``,
    above which it goes to the second of its ``below`` (trees, inner nodes, 2); a child of -1 - k
    is the leaf k, whose ``shares`` are (trees, leaves, labels).

    Args:
        labels: how many.
        trees: how many.
        leaves: of a tree, at most.
    """

    column: Tensor
    threshold: Tensor
    below: Tensor
    shares: Tensor

    def __init__(self, labels: int, trees: int, leaves: int = 1024) -> None:
        super().__init__()
        inner = leaves - 1
        self.trees, self.leaves = trees, leaves
        self.register_buffer("column", torch.zeros(trees, inner, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(trees, inner))
        self.register_buffer("below", torch.full((trees, inner, 2), -1, dtype=torch.int32))
        shares = torch.full((trees, leaves, labels), 1 / labels, dtype=torch.float16)
        self.register_buffer("shares", shares)

    @torch.no_grad()
    def learn(self, features: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        """Fit the trees to features (m, C) and labels (m,), -1 where unknown.

        Raises:
            ConfigError: nothing is labelled.
        """
        if not (labels >= 0).any():
            raise ConfigError("a forest needs labels, and there is none")
        limits = {"max_leaf_nodes": self.leaves, "max_depth": DEPTH}
        few = FEW * self.leaves
        forest, _ = fitted_forest(features, labels, self.trees, seed, few, **limits)
        for buffer, value in ((self.threshold, 0), (self.below, -1), (self.shares, 0)):
            buffer.fill_(value)
        for place, tree in enumerate(forest.estimators_):
            self._take(place, tree.tree_, np.asarray(forest.classes_))

    def _take(self, place: int, tree: Any, classes: np.ndarray) -> None:
        """Copy one of scikit-learn's trees; its nodes of both kinds have one numbering."""
        leaf = tree.children_left < 0
        number = np.where(leaf, -np.cumsum(leaf), np.cumsum(~leaf) - 1)
        nodes, leaves = np.flatnonzero(~leaf), np.flatnonzero(leaf)
        below = np.stack([tree.children_left, tree.children_right], axis=1)[nodes]
        known = torch.from_numpy(classes.astype(np.int64))
        found = torch.from_numpy(tree.value[leaves, 0])
        n = len(nodes)
        self.column[place, :n] = torch.from_numpy(tree.feature[nodes]).to(self.column)
        self.threshold[place, :n] = torch.from_numpy(_not_above(tree.threshold[nodes]))
        self.below[place, :n] = torch.from_numpy(number[below]).to(self.below)
        shares = (found / found.sum(dim=1, keepdim=True)).to(self.shares)
        self.shares[place, : len(leaves), known] = shares

    def forward(self, features: Tensor) -> Tensor:
        """(m, labels) of features (m, C): shares, which sum to 1."""
        trees, inner = self.column.shape
        first = torch.arange(trees, device=features.device) * inner
        column, threshold = self.column.flatten().long(), self.threshold.flatten()
        children = self.below.flatten().long()
        values = features.float()
        node = torch.zeros(values.shape[0], trees, dtype=torch.int64, device=features.device)
        for _ in range(DEPTH):
            at = first + node.clamp(min=0)
            second = values.gather(1, column[at]) > threshold[at]
            node = torch.where(node < 0, node, children[2 * at + second])
        leaf = -1 - node
        if is_exporting():  # one step in the place of one for each tree
            place = leaf + torch.arange(trees, device=leaf.device) * self.leaves
            return self.shares.flatten(0, 1)[place].float().mean(dim=1)
        each = (self.shares[k].float()[leaf[:, k]] for k in range(trees))
        return sum(each, torch.zeros((), device=features.device)) / trees


def mixed(output: Tensor, shares: Tensor, trust: float = 0.5) -> Tensor:
    """A network's output (…, labels) and a forest's shares as one output, of log-probabilities.

    The logarithms are averaged, ``trust`` of the network's and the rest of the forest's, to whose
    shares a little is added, so that no label is impossible.
    """
    known = (shares + DOUBT).log()
    return known + trust * (output.float().log_softmax(dim=-1) - known)


def _not_above(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each: float32 values compare with it as with that."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
