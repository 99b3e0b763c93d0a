"""Learning-rate schedules as plain functions of progress, so that resuming needs no state."""

from __future__ import annotations

import math


def warmup_cosine(
    t: float, total: float, warmup: float, lr: float, min_lr: float = 1e-6, start_lr: float = 1e-6
) -> float:
    """Linear from ``start_lr`` to ``lr`` over ``warmup``, then cosine to ``min_lr`` at ``total``.

    The unit of ``t``, ``total`` and ``warmup`` is the caller's: epochs in the papers' recipes
    (one value an epoch), steps in pre-training. As in timm's ``CosineLRScheduler`` with
    ``warmup_prefix=False``, the cosine runs over the whole of ``total``: it starts at ``lr`` at
    t = 0 and the warm-up covers its beginning.
    """
    if t < warmup:
        return start_lr + (lr - start_lr) * t / warmup
    return min_lr + 0.5 * (lr - min_lr) * (1.0 + math.cos(math.pi * min(t / total, 1.0)))
