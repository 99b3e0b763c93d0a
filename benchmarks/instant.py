"""Instant adapters beside a random forest and a trained probe, on folders of files with two splits.

    python benchmarks/instant.py --sets NAME=DIR NAME=DIR,up=y,group=PATTERN --json FILE

Each DIR holds train/CLASS/FILE and test/CLASS/FILE; what follows it are options of the data set
"folder". Everything is chosen on the training clouds; the test clouds are scored once. Features are
computed once a set, of clouds that are not augmented, and every method gets the same ones:

- instant: as ``pointadapt train --method instant`` fits it, from ``--backbone`` (``tiny``);
- instant, forest: the same with the forest beside it, as the recipe keeps it (``forest=100``);
- its parts: tokens alone, traits alone (the same linear fit), and tokens of random weights;
- forest: as ``--baseline`` has it;
- probe: the usual three-layer head on CLS and patch_max, AdamW at the rate of
  ``linear-probe-folder`` for 30 epochs, on these features, so without augmentation.

With all labels, and with five of each class drawn by the seed; five seeds, which also fix the folds
that choose the strength, the forest and the probe's start. A minute or two a thousand clouds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from _sets import parse, write_record
from pointadapt.core.config import TrainConfig
from pointadapt.data import Clouds, load_dataset
from pointadapt.inference.forest import random_forest
from pointadapt.inference.forward import head_rows
from pointadapt.inference.linear_svm import random_twin
from pointadapt.methods import make_method
from pointadapt.methods.linear_fit import LinearFit, Rows, votes
from pointadapt.tasks.classification import LEAVES
from pointadapt.tasks.forest import Forest, mixed
from pointadapt.tasks.metrics import classification_scores
from pointadapt.training.schedule import warmup_cosine
from pointadapt.training.setup import build_model, fitted

RESULTS = Path("benchmarks/results/instant_tiny.json")
EPOCHS, BATCH, RATE = 30, 32, 1e-2  # of the probe
TREES = 100  # of the forest beside the instant fit, as the recipe has it
METHODS = (
    "instant",
    "instant, forest",
    "tokens alone",
    "traits alone",
    "tokens, random weights",
    "forest",
    "probe",
)


class Features:
    """What heads are given of a set's clouds, computed once."""

    def __init__(self, train: Clouds, test: Clouds, chosen: TrainConfig) -> None:
        self.train, self.test, points = train, test, chosen.points
        began = time.monotonic()
        model = build_model(replace(chosen, method="instant"), train.classes)
        model.adapter.head.see(torch.from_numpy(train.known_traits))
        self.kinds = model.adapter.head.kinds
        self.instant = self.rows(model, points)
        self.seconds = round(time.monotonic() - began, 1)
        model.backbone.load_state_dict(random_twin(model.backbone).state_dict())
        self.random = self.rows(model, points)
        own = replace(chosen, method="linear_probe", head=())
        self.probe = self.rows(build_model(own, train.classes), points)

    def rows(self, model: Any, points: int) -> tuple[np.ndarray, np.ndarray]:
        train, test = (head_rows(model, c, points).numpy() for c in (self.train, self.test))
        return train.astype(np.float64), test.astype(np.float64)


def scores(probabilities: np.ndarray, clouds: Clouds) -> dict[str, Any]:
    found = classification_scores(
        torch.from_numpy(probabilities), torch.from_numpy(clouds.labels), clouds.classes
    )
    return {key: found[key] for key in ("accuracy", "class_accuracy")}


def linear(f: Features, name: str, at: np.ndarray, seed: int) -> dict[str, Any]:
    """The linear fit on all inputs, or on some kinds of them."""
    wanted = {"tokens alone": (False,), "traits alone": (True,), "tokens, random weights": (False,)}
    kept = wanted.get(name, (False, True))
    kinds = tuple(kind for kind in f.kinds if kind[1] in kept)
    columns = np.concatenate([np.full(width, traits in kept) for width, traits in f.kinds])
    x, y = f.random if name.endswith("random weights") else f.instant
    groups = np.array(f.train.groups)[at] if f.train.groups else None
    classes = len(f.train.classes)
    rows = Rows(x[at][:, columns], f.train.labels[at], classes, kinds, True, groups, seed=seed)
    fit: LinearFit = make_method("instant").fit(rows)
    said = torch.from_numpy(votes(fit(y[:, columns]), classes))
    if name == "instant, forest":
        forest = Forest(classes, TREES, LEAVES)
        forest.learn(f.train.known_traits[at], f.train.labels[at], seed)
        said = mixed(said, forest(torch.from_numpy(f.test.known_traits)))
    found = scores(said.numpy(), f.test)
    return {**found, "strength": fit.facts["strength"]}


def probe(f: Features, at: np.ndarray, seed: int) -> dict[str, Any]:
    """The three-layer head, trained on frozen features."""
    config = TrainConfig(data="folder", method="linear_probe", seed=seed)
    head = build_model(config, f.train.classes).adapter.head.layers  # type: ignore[union-attr]
    x, y = (torch.from_numpy(rows).float() for rows in f.probe)
    x, labels = x[at], torch.from_numpy(f.train.labels[at])
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.05)
    draw, size = torch.Generator().manual_seed(seed), min(BATCH, len(at))
    steps = len(at) // size
    for epoch in range(EPOCHS):
        order = torch.randperm(len(at), generator=draw)
        for step in range(steps):
            t = epoch + step / steps
            optimizer.param_groups[0]["lr"] = warmup_cosine(t, EPOCHS, 1.0, RATE, 1e-6, 1e-6)
            some = order[step * size : (step + 1) * size]
            loss = torch.nn.functional.cross_entropy(head(x[some]), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    head.eval()
    with torch.no_grad():
        return scores(head(y).softmax(dim=1).numpy(), f.test)


def one(f: Features, name: str, at: np.ndarray, seed: int) -> dict[str, Any]:
    began = time.process_time()
    if name == "forest":
        found = random_forest(f.train.subset(at), f.test, seed)
        found = {key: found[key] for key in ("accuracy", "class_accuracy")}
    else:
        found = probe(f, at, seed) if name == "probe" else linear(f, name, at, seed)
    return {**found, "cpu_seconds": round(time.process_time() - began, 2)}


def drawn(clouds: Clouds, shots: int, seed: int) -> np.ndarray:
    """Numbers of the training clouds: all, or ``shots`` of each class."""
    if not shots:
        return np.arange(len(clouds))
    rng, labels = np.random.default_rng(seed), clouds.labels
    return np.concatenate([
        rng.permutation(np.flatnonzero(labels == k))[:shots] for k in range(len(clouds.classes))
    ])  # fmt: skip


def measure(name: str, options: dict[str, str], args: argparse.Namespace) -> list[dict[str, Any]]:
    given = tuple(f"{k}={v}" for k, v in options.items() if k != "root")
    chosen = fitted(
        TrainConfig(
            data="folder",
            root=Path(options["root"]),
            data_options=given,
            points=args.points,
            backbone=args.backbone,
        )
    )
    data = load_dataset("folder", points=chosen.points, **options)
    train, test = data.load("train"), data.load("test")
    f, lines = Features(train, test, chosen), []
    about = {
        "set": name, "train": len(train), "test": len(test), "classes": list(train.classes),
        "groups": len(set(train.groups)), "feature_seconds": f.seconds, "points": chosen.points,
        "majority": round(100 * float(np.bincount(test.labels).max() / len(test)), 2),
    }  # fmt: skip
    for shots in args.shots:
        for method in args.methods:
            runs = [one(f, method, drawn(train, shots, seed), seed) for seed in args.seeds]
            lines.append({**about, "shots": shots, "method": method, **summary(runs)})
    return lines


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key in ("accuracy", "class_accuracy"):
        values = [run[key] for run in runs]
        out[key] = round(statistics.mean(values), 2)
        out[f"{key}_sd"] = round(statistics.stdev(values), 2) if len(values) > 1 else None
    out["cpu_seconds"] = round(statistics.mean(run["cpu_seconds"] for run in runs), 2)
    return {**out, "runs": runs}


def show(lines: list[dict[str, Any]]) -> None:
    table = Table("set", "labels a class", "method", "accuracy %", "mean of classes %", "CPU s")
    for line in lines:
        cells = [
            f"{line[k]:.1f} ± {line[f'{k}_sd'] or 0:.1f}" for k in ("accuracy", "class_accuracy")
        ]
        shots = str(line["shots"] or "all")
        table.add_row(line["set"], shots, line["method"], *cells, f"{line['cpu_seconds']:.1f}")
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--shots", nargs="+", type=int, default=[0, 5], help="0 for all labels")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--backbone", default="tiny")
    parser.add_argument("--points", type=int, default=0, help="0 chooses them by the clouds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = [line for text in args.sets for line in measure(*parse(text), args)]
    show(lines)
    write_record(args.json, "instant.py", args.sets, lines, points=args.points, seeds=args.seeds,
                 backbone=args.backbone)  # fmt: skip


if __name__ == "__main__":
    main()
