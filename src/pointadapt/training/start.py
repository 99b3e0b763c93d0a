"""Where training begins: a head that is fitted first, and whether going on from it pays.

First the head, then the rest (LP-FT: Kumar et al., Fine-Tuning can Distort Pretrained Features and
Underperform Out-of-Distribution, ICLR 2022, arXiv 2202.10054).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..adapters.model import PointModel
from ..core.config import TrainConfig, other_options, to_plain
from ..core.errors import ConfigError
from ..core.files import CHECKPOINT, read_json
from ..data import Clouds
from ..inference.forward import frozen_rows, head_rows
from ..methods import make_method
from ..methods.linear_fit import Rows

TRIAL = "trial"  # folder of the run before, inside the run's


def fit_head(model: PointModel, clouds: Clouds, config: TrainConfig) -> dict[str, Any]:
    """Fit the head of ``model`` where method or start do; how it was found, or nothing.

    Raises:
        DataLayoutError, ConfigError: it cannot be fitted.
    """
    method = model.adapter.method if not config.start else make_method(config.start)
    if not method.fits:
        return {}
    began, head = time.monotonic(), model.adapter.head
    found = head_rows(model, clouds, config.points)
    fit = method.fit(_rows(found, clouds, head.kinds, head.pairs, config.seed))
    head.begin_at(torch.from_numpy(fit.weight), torch.from_numpy(fit.bias))
    return {"method": method.name, "seconds": round(time.monotonic() - began, 2), **fit.facts}


def fit_beside(model: PointModel, clouds: Clouds, config: TrainConfig) -> None:
    """Fit what answers from the frozen backbone beside the network, if anything does."""
    beside = model.adapter.head.frozen_fit
    if beside is not None:
        found = frozen_rows(model, clouds, config.points)
        rows = _rows(found, clouds, beside.given.kinds, beside.pairs, config.seed)
        fit = beside.method.fit(rows)
        beside.become(torch.from_numpy(fit.weight), torch.from_numpy(fit.bias))


def _rows(
    inputs: Tensor, clouds: Clouds, kinds: tuple[tuple[int, bool], ...], pairs: bool, seed: int
) -> Rows:
    """What a method fits to: the ``inputs`` (n, F) of labelled clouds."""
    groups = np.unique(clouds.together, return_inverse=True)[1] if clouds.together else None
    wide = inputs.numpy().astype(np.float64)
    return Rows(wide, clouds.labels, len(clouds.classes), kinds, pairs, groups, seed=seed)


def trial(config: TrainConfig, train: Callable[[TrainConfig], dict[str, Any]]) -> dict[str, Any]:
    """Whether training goes beyond the fit it starts from: a run on a part of the training clouds.

    Of the same length, without ``val_fraction`` of them, on which the start and the end are scored.
    The end is kept where it is right at least as often. Nothing for runs that need no trial: those
    without a start, and those that select their epoch themselves, of which the start is one.

    Args:
        config: of the run.
        train: trains.

    Returns:
        ``start``, ``end`` (percent right of the held-out clouds), ``held_out`` (how many), ``kept``
        ("start" or "end") and ``seconds``; or nothing.
    """
    if not config.start or config.select != "last":
        return {}
    out = config.out / TRIAL
    changes = {
        "out": out, "select": "val", "baseline": False, "tensorboard": False, "tracker": (),
        "votes": 0,
    }  # fmt: skip
    own = replace(config, resume=(out / CHECKPOINT).exists(), **changes)
    found = _finished(own) or train(own)
    first, last = found["held_out"]["scores"][0], found["held_out"]["scores"][-1]
    return {
        "start": first, "end": last, "held_out": found["held_out"]["clouds"],
        "kept": "end" if last >= first else "start", "seconds": found["seconds"],
    }  # fmt: skip


def kept_start(tried: dict[str, Any]) -> bool:
    """Whether a trial says that what is trained from the start falls below it."""
    return tried.get("kept") == "start"


def _finished(config: TrainConfig) -> dict[str, Any]:
    """The results of a trial that an earlier call finished; none where there is more to do.

    Raises:
        ConfigError: it was made with other options.
    """
    path = config.out / "results.json"
    if not path.exists():
        return {}
    found = read_json(path)
    differ = other_options(found["config"], to_plain(config))
    if differ:
        raise ConfigError(
            f"{config.out} was made with other options ({differ}): use the same ones, or choose "
            "another --out"
        )
    return found
