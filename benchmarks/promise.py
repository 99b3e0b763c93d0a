"""What the methods promise: all of them on many data sets, with the same effort, and tests.

    python benchmarks/promise.py --sets shapes=,data=shapes modelnet40=DIR,data=modelnet40,shots=30
    python benchmarks/promise.py --sets few=DIR,data=modelnet40,way=5,shot=10 scans=DIR,up=y

What follows a set's folder are values of the training configuration (points, epochs, shots …), for
all methods alike, or options of the data set, which is "folder" unless ``data`` names another.
``way`` makes it few-shot episodes, one for each seed.

Each line of promise.yaml chooses its learning rate among ``--lrs``, by a short run with each on a
part of the training clouds that is held out; of episodes, by two that are not among those scored.
Then it is trained once for each of ``--seeds`` and scored on the test clouds after the last epoch.
A random forest on traits of the clouds (size, shape, profile) stands beside them. "-forest" is a
network whose answers are joined with those of a forest kept beside it, "-three" with those of a
forest and of ``instant``, as the recipes for your own files do it: stem-adapter-three is their
preset.

The record is written anew after every set. Called again, it goes on where it was stopped; more
sets, methods and seeds may be added. ``--join`` puts sets that other machines measured beside them.
Ranks and tests are of ``--rows``, over the sets that have them all.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import pointadapt
from _ranks import against, picture, ranks, whole
from _sets import parse, write_record
from _voices import PRESET, joined_rows
from pointadapt.core.config import TrainConfig
from pointadapt.core.fields import build
from pointadapt.core.files import read_json
from pointadapt.studies.compare.entries import Entry, make_entries

LINES = Path(__file__).with_name("promise.yaml")
RESULTS = Path("benchmarks/results/promise_tiny_v2.json")
PROTOCOL: dict[str, Any] = {
    "data": "folder", "backbone": "tiny-v2", "points": 256, "groups": 16, "epochs": 0,
    "warmup_epochs": 1,
    "schedule": "step", "drop_path": 0.0, "augment": ("scale_shift", "rotate_z"),
    "precision": "fp32", "tensorboard": False, "baseline": False, "val_fraction": 0.25,
}  # fmt: skip
EPISODE = ("way", "shot", "queries", "pool")
Found = dict[str, dict[str, Any]]  # method -> its scores, one for each seed, and more


def protocol(options: dict[str, str]) -> dict[str, Any]:
    """The training configuration of a set, and its data options."""
    known = {f.name for f in fields(TrainConfig)} | set(EPISODE)
    own = {k: v for k, v in options.items() if k in known and (k, v) != ("root", "")}
    data = tuple(f"{k}={v}" for k, v in options.items() if k not in known and k != "root")
    return {**PROTOCOL, **own, "data_options": data}


def full_data(name: str, given: dict[str, Any], args: argparse.Namespace) -> Found:
    """A set with two splits: a board."""
    board = pointadapt.compare(
        **given, out=args.runs / name, methods_file=LINES, methods=tuple(args.methods),
        seeds=tuple(args.seeds), lrs=tuple(args.lrs), tune_epochs=args.tune_epochs,
        threads=args.threads, jobs=args.jobs, together=args.together,
    )  # fmt: skip
    kept = ("accuracy", "accuracy_sd", "lr", "tuned", "trainable_parameters", "seconds", "error")
    rows: Found = {
        row["label"]: {"scores": row["scores"], **{k: row[k] for k in kept}, "runs": row["runs"]}
        for row in board["methods"]
    }
    return rows


def episodes(name: str, given: dict[str, Any], args: argparse.Namespace) -> Found:
    """Few-shot: an episode for each seed, the same for all methods."""
    plain = {k: v for k, v in given.items() if k not in EPISODE}
    entries = make_entries(args.methods, (), LINES, TrainConfig(**_typed(plain)))
    found: Found = {}
    for entry in entries:
        own = {**given, "method": entry.method, "options": entry.options, **entry.changes}
        own |= {"threads": args.threads, "jobs": args.jobs, "together": args.together}
        fits = pointadapt.make_method(entry.method).fits
        tuned = {} if fits else tune_episodes(name, entry, own, args)
        lr = {"lr": max(tuned, key=lambda rate: tuned[rate])} if tuned else {}
        done = pointadapt.few_shot(
            **{**own, **lr}, out=args.runs / name / entry.folder, folds=len(args.seeds)
        )
        runs = args.runs / name / entry.folder / "folds"
        found[entry.label] = {
            "scores": [fold["accuracy"] for fold in done["folds"]],
            "accuracy": done["accuracy"], "accuracy_sd": done["accuracy_sd"], **lr,
            "tuned": tuned, "trainable_parameters": done["trainable_parameters"],
            "seconds": done["seconds"] / len(args.seeds),
            "runs": [str(runs / str(k)) for k in range(len(args.seeds))],
        }  # fmt: skip
    return found


def tune_episodes(
    name: str, entry: Entry, own: dict[str, Any], args: argparse.Namespace
) -> dict[float, float]:
    """Learning rate -> accuracy on two episodes of another seed."""
    return {
        lr: pointadapt.few_shot(
            **{**own, "lr": lr, "epochs": args.tune_epochs, "seed": 1000}, folds=2,
            out=args.runs / name / "tuning" / f"{entry.folder}-{lr:g}",
        )["accuracy"]
        for lr in args.lrs
    }  # fmt: skip


def _typed(given: dict[str, Any]) -> dict[str, Any]:
    """Values as text, as the command line gives them, in their own types."""
    made = build(TrainConfig, given, "a set")
    return {key: getattr(made, key) for key in given}


def measure(name: str, options: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    given = protocol(options)
    found = (episodes if "way" in given else full_data)(name, given, args)
    found |= joined_rows(found, args.seeds)
    for row in found.values():
        row.pop("runs", None)
    return {"set": name, "protocol": {k: v for k, v in given.items() if k != "root"},
            "methods": found}  # fmt: skip


def joined(paths: list[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The sets of other records, and where each record comes from."""
    records = [read_json(path) for path in paths]
    about = [{key: r[key] for key in ("command", "commit", "machine")} for r in records]
    return [one for record in records for one in record["results"]], about


def show(scores: dict[str, dict[str, list[float]]]) -> None:
    sets, methods, means = whole(scores)
    table = Table("method", *sets, "mean")
    for j, method in enumerate(methods):
        table.add_row(method, *(f"{v:.1f}" for v in means[:, j]), f"{means[:, j].mean():.1f}")
    Console(width=40 + 14 * len(sets)).print(table)


def scores_of(results: list[dict[str, Any]], shown: list[str]) -> dict[str, dict[str, list[float]]]:
    """Set -> row -> scores by seed; of all rows, or of ``shown``."""
    return {
        one["set"]: {name: row["scores"] for name, row in one["methods"].items()
                     if not shown or name in shown}
        for one in results
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=[])
    parser.add_argument(
        "--join", nargs="+", type=Path, default=[], metavar="RECORD", help="sets measured elsewhere"
    )
    parser.add_argument("--methods", nargs="+", default=[], help="default: all of promise.yaml")
    parser.add_argument("--rows", nargs="+", default=[], help="ranked and tested; default: all")
    parser.add_argument("--preset", default=PRESET, help="the row that others are tested against")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--lrs", nargs="+", type=float, default=[1e-3, 3e-3, 1e-2])
    parser.add_argument("--tune-epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--together", type=int, default=1, help="runs in one step, on a GPU")
    parser.add_argument("--runs", type=Path, default=Path("runs/promise"))
    parser.add_argument("--json", type=Path, default=RESULTS)
    args = parser.parse_args()
    results, about = joined(args.join)
    if results and not args.sets:
        record(results, about, args)
    for name, options in map(parse, args.sets):
        results.append(measure(name, options, args))
        record(results, about, args)


def record(
    results: list[dict[str, Any]], about: list[dict[str, Any]], args: argparse.Namespace
) -> None:
    """Write and show what is known."""
    scores = scores_of(results, args.rows)
    found = ranks(scores)
    if found["mean_ranks"]:
        picture(found, args.json.with_suffix(".png"))
    seeds = " --seeds " + " ".join(map(str, args.seeds))
    write_record(
        args.json, "promise.py", args.sets, results, seeds,
        **({"joined": about} if about else {}),
        lrs=args.lrs, tune_epochs=args.tune_epochs, ranks=found,
        preset={"method": args.preset, "against": against(scores, args.preset)},
    )  # fmt: skip
    show(scores)


if __name__ == "__main__":
    main()
