"""In which order an epoch takes the training clouds; it depends on the seed and the epoch alone.

So a resumed run needs no stored generator state, and every process of several works out the same
order and takes its own share of each step from it.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ..core.errors import ConfigError, UnknownNameError

ClassSampling = Literal["uniform", "balanced"]


def epoch_order(labels: np.ndarray, sampling: str, seed: int, epoch: int) -> np.ndarray:
    """(n,) indices of the clouds that an epoch takes, in order; n = len(labels).

    Args:
        labels: (n,) class of each cloud.
        sampling: "uniform" takes every cloud once. "balanced" takes as many clouds of each class,
            give or take one: all of a rare class several times, and of a frequent one a part, which
            is another one in every epoch.
        seed: of the run.
        epoch: counted from 0.

    Raises:
        UnknownNameError: another sampling.
        ConfigError: "balanced", and there is one class.
    """
    if sampling not in get_args(ClassSampling):
        raise UnknownNameError("sampling", sampling, get_args(ClassSampling))
    rng = np.random.default_rng((seed, epoch))
    if sampling == "uniform":
        return rng.permutation(len(labels))
    if len(np.unique(labels)) < 2:
        raise ConfigError("sampling balanced needs clouds of two classes or more: use uniform")
    classes = rng.permutation(np.unique(labels))  # so that chance decides who gets one more
    share, rest = divmod(len(labels), len(classes))
    picks = [
        _cycled(np.flatnonzero(labels == label), share + (k < rest), rng)
        for k, label in enumerate(classes)
    ]
    return rng.permutation(np.concatenate(picks))


def _cycled(members: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` of ``members``, each as often as any other, give or take once."""
    rounds = -(-count // len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count]
