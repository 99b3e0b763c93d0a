"""Choosing each method's learning rate before the comparison, with the same effort for all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.config import TrainConfig
from ...core.errors import PointAdaptError
from ...core.files import read_json, write_json
from ...methods import METHODS
from ..jobs import Job, Outcome
from ..many import run_many

if TYPE_CHECKING:
    from ...core.config.compare import CompareConfig
    from .entries import Entry


@dataclass(frozen=True)
class Tuned:
    """What the short runs of one method found.

    Attributes:
        entry: the method, with the best learning rate where one was found.
        scores: learning rate to the score on the held-out clouds; None where the run failed.
        error: why none was found, in one line; empty if one was.
    """

    entry: Entry
    scores: dict[float, float | None]
    error: str = ""


def tune(entries: Sequence[Entry], config: CompareConfig) -> list[Tuned]:
    """Train each entry that takes a learning rate and has none once for each of ``config.lrs``.

    The runs are ``tune_epochs`` long, on the training clouds less ``val_fraction`` of them, which
    score the last epoch; the test clouds have no part in it. All with the first of the seeds. What
    is chosen is written down and stays, so that a board goes on as it began.

    Raises:
        ConfigError: a folder holds a run with other options.
    """
    kept = {entry.label: _kept(entry, config) for entry in entries}
    fixed = {e.label for e in entries if "lr" in e.changes or METHODS[e.method].fits}
    open_ = [e for e in entries if e.label not in fixed and kept[e.label] is None]
    wanted = [(entry, lr) for entry in open_ for lr in config.lrs]
    jobs = [_job(entry, lr, config) for entry, lr in wanted]
    outcomes = run_many(config, jobs, "choosing learning rates", keep_going=True)
    found: dict[str, dict[float, Outcome]] = {}
    for (entry, lr), outcome in zip(wanted, outcomes, strict=True):
        found.setdefault(entry.label, {})[lr] = outcome
    lines = []
    for entry in entries:
        line = kept[entry.label] or Tuned(entry, {})
        if entry.label in found:
            line = _best(entry, found[entry.label])
            _keep(line, config)
        lines.append(line)
    return lines


def _file(entry: Entry, config: CompareConfig) -> Path:
    return config.out / "tuning" / entry.folder / "choice.json"


def _keep(line: Tuned, config: CompareConfig) -> None:
    if line.error:
        return  # it is tried again
    scores = {str(lr): score for lr, score in line.scores.items()}
    write_json(_file(line.entry, config), {"lr": line.entry.changes["lr"], "scores": scores})


def _kept(entry: Entry, config: CompareConfig) -> Tuned | None:
    """What an earlier call chose among the same rates; None where there is nothing to keep."""
    path = _file(entry, config)
    if "lr" in entry.changes or not path.exists():
        return None
    choice = read_json(path)
    scores = {float(lr): score for lr, score in choice["scores"].items()}
    if set(scores) != set(config.lrs):
        return None
    return Tuned(replace(entry, changes={**entry.changes, "lr": choice["lr"]}), scores)


def _job(entry: Entry, lr: float, config: CompareConfig) -> Job:
    run = entry.train_config(config, config.seeds[0], config.out)
    changes = {
        "lr": lr,
        "out": config.out / "tuning" / entry.folder / f"lr{lr:g}",
        "epochs": config.tune_epochs,
        "warmup_epochs": min(run.warmup_epochs, config.tune_epochs / 2),
        "select": "val",
    }
    return Job(f"{entry.label}, lr {lr:g}", replace(run, **changes))


def _best(entry: Entry, outcomes: dict[float, Outcome]) -> Tuned:
    scores = {lr: _score(o.job.config) if o.results else None for lr, o in outcomes.items()}
    good = {lr: score for lr, score in scores.items() if score is not None}
    if not good:
        return Tuned(entry, scores, next(o.error for o in outcomes.values()))
    best = max(good, key=lambda lr: good[lr])
    return Tuned(replace(entry, changes={**entry.changes, "lr": best}), scores)


def _score(config: TrainConfig) -> float:
    """The last epoch's score on the held-out clouds, from the run's log."""
    path = Path(config.out) / "log.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    scores = [value for key, value in (rows[-1] if rows else {}).items() if key.startswith("val_")]
    if not scores:
        raise PointAdaptError(f"{path} holds no score: delete {path.parent}, then start again")
    return float(scores[0])
