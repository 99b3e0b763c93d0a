"""Running the runs of a study as its configuration says, and what they have in common."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.config import TrainConfig, to_plain
from ..core.config.study import StudyConfig
from .jobs import Job, Outcome, run_all
from .on_ray import executor

SPREAD = "of the folds, divided by their number less 1"


def run_many(
    config: StudyConfig, jobs: Sequence[Job], what: str, *, keep_going: bool = False,
    on_done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:  # fmt: skip
    """:func:`~.jobs.run_all`, so many at a time, in one process and where ``config`` says."""
    return run_all(
        jobs, what=what, at_once=config.jobs, keep_going=keep_going, on_done=on_done,
        executor=executor(config.cluster), together=config.together,
    )  # fmt: skip


def of_folds(
    config: TrainConfig, folds: Sequence[Mapping[str, Any]], metric: str,
    columns: Callable[[Mapping[str, Any]], Mapping[str, Any]], protocol: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The results of several runs of one configuration as one.

    Args:
        config: what all share.
        folds: the results of each run.
        metric: whose mean and standard deviation is told.
        columns: what of a run's results its row has besides.
        protocol: what is to be said besides that of the first run.
    """
    first, values = folds[0], [run[metric] for run in folds]
    told = dict(first["protocol"])
    selected = told.pop("selected_epoch")
    rows = [
        {
            "fold": number, metric: run[metric], **columns(run),
            "selected_epoch": run["protocol"].get("selected_epoch", selected),
            "seconds": run["seconds"], "adapter": run["adapter"],
        }
        for number, run in enumerate(folds)
    ]  # fmt: skip
    same = ("trainable_parameters", "total_parameters", "adapter_bytes", "head_inputs", "machine")
    return {
        "method": config.method, "options": list(config.options), "task": config.task,
        "data": config.data, "title": first.get("title", config.data), "backbone": config.backbone,
        "metric": metric,
        metric: round(statistics.mean(values), 4),
        f"{metric}_sd": round(statistics.stdev(values), 4) if len(values) > 1 else None,
        **{key: first[key] for key in same},
        "seconds": round(sum(run["seconds"] for run in folds), 1),
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in folds),
        "fit": first.get("fit", {}),
        "protocol": {**told, "sd": SPREAD, "lr": config.lr, **protocol},
        "folds": rows,
        "config": to_plain(config),
    }  # fmt: skip
