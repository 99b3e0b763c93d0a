"""Running a board, method by method, seed by seed; what is finished stays."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...core import console
from ...core.config import to_plain
from ...core.config.compare import CompareConfig
from ...core.errors import PointAdaptError
from ...core.files import write_json
from ...core.folders import only_run_in
from ...core.results import Board
from ...recipes.start import configured
from ..jobs import Job, Outcome
from ..many import run_many

if TYPE_CHECKING:
    from .entries import Entry
    from .tune import Tuned

NAME = "board"  # of the files: board.json, board.csv, board.md, board.png


def compare(
    config: CompareConfig | Path | str | None = None,
    *,
    on_done: Callable[[Outcome], None] | None = None,
    **options: Any,
) -> Board:
    """Train every method with every seed; returns the board, which is written to ``out``.

    ``board.json``, ``board.csv`` and ``board.md`` are written anew after every run, and at the end
    ``board.png``. A method that fails has its reason in the table; the others go on. Called again,
    it repeats what failed and goes on with what was cut off; more methods and seeds may be added.

    Args:
        config: all options, or a YAML file with some of them.
        options: options by name, as :class:`~pointadapt.core.config.CompareConfig` lists them.
        on_done: called with the outcome of each run.

    Raises:
        PointAdaptError: bad input, in one line, or every method failed.
    """
    config = configured(CompareConfig, config, options)
    with only_run_in(config.out, "tuning/*"):
        return _run(config, on_done)


def _run(config: CompareConfig, on_done: Callable[[Outcome], None] | None) -> Board:
    from ...training.setup import fitted
    from .entries import make_entries
    from .picture import trade_off
    from .tune import Tuned, tune

    config = fitted(config)
    entries = make_entries(config.methods, config.method_options, config.methods_file, config)
    lines = tune(entries, config) if config.lrs else [Tuned(entry, {}) for entry in entries]
    jobs = {(line.entry.label, s): _job(line.entry, config, s)
            for line in lines if not line.error for s in config.seeds}  # fmt: skip
    done: dict[str, Outcome] = {}

    def one_done(outcome: Outcome) -> None:
        done[outcome.job.name] = outcome
        _write(_board(config, lines, jobs, done), config.out)
        if on_done is not None:
            on_done(outcome)

    run_many(config, list(jobs.values()), "comparing", keep_going=True, on_done=one_done)
    board = _board(config, lines, jobs, done)
    if not any(row["scores"] for row in board["methods"]):
        raise PointAdaptError(f"every method failed; the first: {board['methods'][0]['error']}")
    trade_off(board, config.out / f"{NAME}.png")
    return cast(Board, board)


def _job(entry: Entry, config: CompareConfig, seed: int) -> Job:
    job = entry.train_config(config, seed, config.out)
    return Job(f"{entry.label}, seed {seed}", job, timed=True)


def _board(
    config: CompareConfig, lines: Sequence[Tuned], jobs: Mapping[tuple[str, int], Job],
    done: Mapping[str, Outcome],
) -> dict[str, Any]:  # fmt: skip
    from ...inference.forest import mean_of

    rows, baselines = [], []
    for line in lines:
        of = [done.get(jobs[line.entry.label, seed].name) for seed in config.seeds
              if not line.error]  # fmt: skip
        rows.append(_row(line, config, [outcome for outcome in of if outcome]))
        baselines.append(mean_of([outcome.results for outcome in of if outcome]))
    first = next((o.results for o in done.values() if o.results), None)
    protocol = {"batch_size": config.batch_size, **(first["protocol"] if first else {})}
    for key in ("selected_epoch", "seed", "trained_together"):
        protocol.pop(key, None)
    protocol |= {"epochs": config.epochs}  # the first may have had none
    return {
        "finished": len(done) == len(jobs),
        "task": config.task,
        "data": config.data,
        "title": first.get("title", config.data) if first else config.data,
        "data_options": list(config.data_options),
        "backbone": config.backbone,
        "protocol": protocol | {"seeds": list(config.seeds),
                                "sd": "of the seeds, divided by their number less 1",
                                "lrs": list(config.lrs), "tune_epochs": config.tune_epochs,
                                "val_fraction": config.val_fraction,
                                "jobs": config.jobs, "together": config.together},
        "machine": first["machine"] if first else {},
        "methods": rows,
        "baseline": max(baselines, key=lambda b: b.get("runs", 0)),  # each method's is the same
        "command": console.invocation("compare", config),
        "config": to_plain(config),
    }  # fmt: skip


def _row(line: Tuned, config: CompareConfig, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A line of the table; None where nothing is known yet."""
    from ...tasks import TASKS

    entry, metric = line.entry, TASKS[config.task].metric
    good = [o.results for o in outcomes if o.results]
    scores = [r[metric] for r in good]
    sizes = ("trainable_parameters", "total_parameters", "adapter_bytes")
    timing = [r["timing"] for r in good]
    return {
        "label": entry.label,
        "method": entry.method,
        "options": list(entry.options),
        "lr": entry.changes.get("lr", config.lr),
        "own": entry.stated,
        "head_inputs": good[0].get("head_inputs", []) if good else [],
        "fit": good[0].get("fit", {}) if good else {},
        "tuned": {f"{lr:g}": score for lr, score in line.scores.items()},
        metric: round(statistics.mean(scores), 4) if good else None,
        f"{metric}_sd": round(statistics.stdev(scores), 4) if len(good) > 1 else None,
        "scores": scores,
        **{key: good[0][key] if good else None for key in sizes},
        "seconds": round(statistics.mean(r["seconds"] for r in good), 2) if good else None,
        "peak_memory_bytes": max(r["peak_memory_bytes"] for r in good) if good else None,
        "inference_seconds": min(t["seconds_per_cloud"] for t in timing) if good else None,
        "inference_batch": timing[0]["batch_size"] if good else None,
        "runs": [str(o.job.config.out) for o in outcomes if o.results],
        "error": next((o.error for o in outcomes if o.error), line.error),
    }


def _write(board: Mapping[str, Any], out: Path) -> None:
    from ...core.files import atomic
    from .tables import to_csv, to_markdown

    write_json(out / f"{NAME}.json", board)
    for ending, text in (("csv", to_csv(board)), ("md", to_markdown(board))):
        with atomic(out / f"{NAME}.{ending}") as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
