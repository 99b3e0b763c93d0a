"""What a network, a forest on the traits and a fit of the frozen backbone say together.

The network trains the same with and without the other two (``--task-options forest=100
instant=true``), so that each network is trained once, alone. Its answers on the test clouds are
kept, and joined with the others' afterwards, as the recipes for your own files do it.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointadapt.adapters.protocol import Protocol, load_ready
from pointadapt.core.config import TrainConfig
from pointadapt.core.fields import build
from pointadapt.core.files import atomic, read_json, write_json
from pointadapt.data import Clouds
from pointadapt.inference.forest import random_forest
from pointadapt.inference.forward import predict_clouds
from pointadapt.tasks.classification import LEAVES
from pointadapt.tasks.forest import Forest, mixed
from pointadapt.tasks.metrics import classification_scores
from pointadapt.training.setup import load_clouds

FIT, FOREST, PRESET = "instant", "forest", "stem-adapter-three"
TREES = 100  # of the forest that answers beside a network
WITH_FOREST, WITH_BOTH = "-forest", "-three"
Row = dict[str, Any]


def joined_rows(found: dict[str, Row], seeds: list[int]) -> dict[str, Row]:
    """Rows of the forest alone, of each network with it, and of networks with forest and fit.

    Those whose parts have all their runs.
    """
    whole = {name: row for name, row in found.items() if len(row.get("runs", ())) == len(seeds)}
    if not whole:
        return {}
    first = next(iter(whole.values()))["runs"]
    began = time.process_time()
    forests = [_forest(Path(run), seed) for run, seed in zip(first, seeds, strict=True)]
    spent = (time.process_time() - began) / len(seeds)
    alone = [one["accuracy"] for one in forests]
    rows = {FOREST: {"trainable_parameters": 0, "seconds": round(spent, 2), **_spread(alone)}}
    shares = [Path(run) / "forest.npy" for run in first]
    fits = whole.get(FIT, {}).get("runs")
    for name, row in whole.items():
        about = {k: row[k] for k in ("lr", "trainable_parameters") if k in row}
        networks = list(map(Path, row["runs"]))
        both = [_accuracy(*parts) for parts in zip(networks, shares, strict=True)]
        rows[name + WITH_FOREST] = {**about, "seconds": row["seconds"], **_spread(both)}
        if fits and name != FIT:
            three = [
                _accuracy(*parts) for parts in zip(networks, shares, map(Path, fits), strict=True)
            ]
            seconds = round(row["seconds"] + whole[FIT]["seconds"], 2)
            rows[name + WITH_BOTH] = {**about, "seconds": seconds, **_spread(three)}
    return rows


def _spread(scores: list[float]) -> Row:
    deviation = round(statistics.stdev(scores), 4) if len(scores) > 1 else None
    mean = round(statistics.mean(scores), 4)
    return {"scores": scores, "accuracy": mean, "accuracy_sd": deviation}


def _forest(run: Path, seed: int) -> dict[str, Any]:
    """Scores of the baseline on the clouds of a run; what a forest in a head says is kept."""
    done, kept = run / "forest.json", run / "forest.npy"
    if not (done.exists() and kept.exists()):
        train, test = _clouds(run)
        beside = Forest(len(train.classes), TREES, LEAVES)
        beside.learn(train.known_traits, train.labels, seed)
        with atomic(kept) as path, path.open("wb") as file:
            np.save(file, beside(torch.from_numpy(test.known_traits)).numpy())
        write_json(done, random_forest(train, test, seed))
    return read_json(done)


def _clouds(run: Path) -> tuple[Clouds, Clouds]:
    config = build(TrainConfig, read_json(run / "results.json")["config"], "a run")
    return load_clouds(config)[:2]


def _answers(run: Path) -> tuple[Tensor, np.ndarray, tuple[str, ...]]:
    """Probabilities of the test clouds (n, classes) by a run's adapter, their labels, classes."""
    path = run / "answers.npz"
    if not path.exists():
        protocol, model = Protocol.of(run / "adapter"), load_ready(run / "adapter")
        clouds = protocol.load("test")
        said = predict_clouds(model, clouds, protocol.points)
        with atomic(path) as partial, partial.open("wb") as file:
            np.savez(file, said=said.numpy(), labels=clouds.labels, classes=clouds.classes)
    with np.load(path) as kept:
        return torch.from_numpy(kept["said"]), kept["labels"], tuple(kept["classes"].tolist())


def _accuracy(network: Path, forest: Path, fit: Path | None = None) -> float:
    """Of a network, a forest, and a linear fit, each counting alike."""
    said, labels, classes = _answers(network)
    both = mixed(said.log(), torch.from_numpy(np.load(forest))).softmax(dim=-1)
    if fit is not None:
        both = both * 2 / 3 + _answers(fit)[0] / 3
    return classification_scores(both, torch.from_numpy(labels), classes)["accuracy"]
