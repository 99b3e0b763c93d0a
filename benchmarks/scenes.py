"""Labelled scenes of your own: the recipe beside a random forest on the same features.

    python benchmarks/scenes.py --sets NAME=DIR NAME=DIR,ignore=1 --runs RUNS --json FILE

Each DIR holds train/FILE and test/FILE, every point labelled; what follows it are options of the
data set "folder_segmentation". Trained as ``pointadapt train --recipe dapt-scenes`` does it, and
scored over every point of the test scenes as ``pointadapt score-scenes`` does, with the forest
beside it, and once more without the forest that the adapter itself holds. Nothing is chosen on the
test scenes. Runs that an earlier call finished are kept.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import pointadapt
from _sets import parse, write_record
from pointadapt.adapters.protocol import Protocol, load_ready
from pointadapt.core.files import read_json, write_json
from pointadapt.data import load_dataset
from pointadapt.inference.score_scenes import scores_of_scenes

RESULTS = Path("benchmarks/results/scenes_tiny.json")
MEASURES = ("miou", "accuracy", "class_accuracy")


def one(name: str, options: dict[str, str], seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """A run and its scores over every point of the test scenes."""
    out = args.runs / f"{name}-{seed}"
    if not (out / "results.json").exists():
        data = tuple(f"{k}={v}" for k, v in options.items() if k != "root")
        more = dict(item.split("=", 1) for item in args.more)
        pointadapt.train(
            recipe=args.recipe, root=options["root"], seed=seed, out=out, threads=args.threads,
            tensorboard=False, resume=(out / "checkpoint.pt").exists(), data_options=data, **more,
        )  # fmt: skip
    if not (out / "scores.json").exists():
        pointadapt.score_scenes(out / "adapter", out=out / "scores.json")
    if not (out / "network.json").exists():
        write_json(out / "network.json", network_alone(out / "adapter"))
    names = ("results.json", "scores.json", "network.json")
    trained, scores, network = (read_json(out / name) for name in names)
    config = trained["config"]
    return {
        "seed": seed,
        **{key: scores[key] for key in (*MEASURES, "per_class", "labelled", "confusion")},
        "network_alone": {key: network[key] for key in (*MEASURES, "per_class")},
        "forest": scores["baseline"],
        "seconds": trained["seconds"],
        "settled": trained["settled"],
        "trainable_parameters": trained["trainable_parameters"],
        "config": {key: config[key] for key in (
            "recipe", "data_options", "task_options", "options", "points", "epochs", "lr",
            "batch_size", "augment", "precision",
        )},
    }  # fmt: skip


def network_alone(adapter: Path) -> dict[str, Any]:
    """The scores without the forest that the adapter holds."""
    model = load_ready(adapter)
    head: Any = model.adapter.head
    head.forest = None
    protocol = Protocol.of(adapter, None, None, (), about=model.adapter.about)
    data: Any = load_dataset(protocol.data, **protocol.options)
    return scores_of_scenes(model, data, "test", protocol.points)


def measure(name: str, options: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    """All seeds of a set, with the means."""
    runs = [one(name, options, seed, args) for seed in args.seeds]
    return {
        "set": name,
        **{key: round(statistics.mean(run[key] for run in runs), 2) for key in MEASURES},
        **{f"{which}_{key}": round(statistics.mean(run[which][key] for run in runs), 2)
           for which in ("forest", "network_alone") for key in MEASURES},
        "runs": runs,
    }  # fmt: skip


def show(lines: list[dict[str, Any]]) -> None:
    measures = ("recipe, mIoU %", "its network alone", "forest", "recipe, points right %")
    table = Table("set", *measures, "seeds")
    for line in lines:
        keys = ("miou", "network_alone_miou", "forest_miou", "accuracy")
        cells = [f"{line[key]:.1f}" for key in keys]
        table.add_row(line["set"], *cells, str(len(line["runs"])))
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--recipe", default="dapt-scenes")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--more", nargs="*", default=[], help="other options, as epochs=1")
    parser.add_argument("--json", type=Path, default=RESULTS)
    args = parser.parse_args()
    lines = [measure(*parse(text), args) for text in args.sets]
    show(lines)
    told = f" --recipe {args.recipe} --seeds {' '.join(map(str, args.seeds))}"
    told += f" --more {' '.join(args.more)}" if args.more else ""
    write_record(args.json, "scenes.py", args.sets, lines, told)


if __name__ == "__main__":
    main()
