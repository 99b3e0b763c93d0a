"""Points and patches of small clouds: a frozen backbone, and random weights, on training clouds.

    python benchmarks/points.py --sets NAME=DIR,group=PATTERN ... --json FILE

Each DIR holds train/CLASS/FILE; what follows it are options of the data set "folder". At each
number of points and size of patches, a linear support vector machine for each pair of classes is
fitted to the tokens after the last block and the middle one (maximum and mean over the patches), of
the bundled ``tiny`` and of the same network with random weights. The score is the percentage of
clouds that are right in cross-validation, whole groups held out, with the best of three strengths.

    python benchmarks/points.py --shots 5 --sets NAME=DIR,group=PATTERN NAME=DIR,data=DATASET ...

The same two networks with few labels, points and patches as ``--points auto`` chooses them, with
the traits of the clouds beside the tokens and without, as ``instant`` weighs them: in each draw
half of the clouds, of whole groups, is held out, and so many of each class of the others are known.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import GroupKFold

from _few import drawn, groups_of
from _sets import parse, write_record
from pointadapt.core.config import TrainConfig
from pointadapt.data import Clouds, load_dataset
from pointadapt.inference.forward import head_rows
from pointadapt.inference.linear_svm import random_twin
from pointadapt.methods.instant import Instant
from pointadapt.methods.linear_fit import Rows, fit_once, votes
from pointadapt.training.setup import build_model, fitted, make_dataset

TOKENS = ("patch_max", "patch_mean", "patch_max@mid", "patch_mean@mid")
WAYS = ((1024, 0, 0), (512, 0, 0), (256, 32, 16), (256, 16, 32), (128, 16, 16), (128, 16, 32),
        (128, 8, 32), (64, 16, 8), (64, 16, 16), (64, 8, 16))  # fmt: skip
STRENGTHS, FOLDS = (0.1, 1.0, 10.0), 4
INPUTS = {"tokens": (False,), "tokens and traits": (False, True)}  # of a head: is it traits?


def held_out(clouds: Clouds, inputs: np.ndarray, kinds: Any) -> float:
    """Percent right in cross-validation over groups, with the best strength."""
    groups = groups_of(clouds)
    folds = list(GroupKFold(min(FOLDS, groups.max() + 1)).split(inputs, clouds.labels, groups))
    classes, best = len(clouds.classes), 0.0
    for strength in STRENGTHS:
        right = []
        for fit, held in folds:
            rows = Rows(inputs[fit], clouds.labels[fit], classes, kinds, pairs=True)
            out = votes(fit_once(rows, strength)(inputs[held]), classes)
            right += list(out.argmax(axis=1) == clouds.labels[held])
        best = max(best, 100 * float(np.mean(right)))
    return round(best, 1)


def some_of(clouds: Clouds, most: int) -> Clouds:
    return clouds.subset(np.sort(np.random.default_rng(0).permutation(len(clouds))[:most]))


def measure(text: str, ways: tuple[tuple[int, int, int], ...], most: int) -> list[dict[str, Any]]:
    name, options = parse(text)
    lines = []
    for points, groups, size in ways:
        clouds = load_dataset("folder", points=points, **options).load("train")
        clouds = some_of(clouds, most)
        config = TrainConfig(
            data="folder", points=points, groups=groups, group_size=size, method="instant",
            head=TOKENS,
        )  # fmt: skip
        model = build_model(config, clouds.classes)
        line = {"set": name, "clouds": len(clouds), "points": points}
        patches = model.backbone.config
        line |= {"patches": patches.groups, "patch_size": patches.group_size}
        for key, inputs in networks(model, clouds, points).items():
            line[key] = held_out(clouds, inputs, model.adapter.head.kinds)
        print(line, flush=True)
        lines.append(line)
    return lines


def few_shots(
    clouds: Clouds, inputs: np.ndarray, kinds: Any, draws: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[float, list[float]]:
    """The best strength, and what percentage is right with it in each of :func:`drawn`."""
    classes, found = len(clouds.classes), {}
    emphases = Instant().traits if any(traits for _, traits in kinds) else (1.0,)
    for strength in STRENGTHS:
        found[strength] = []
        for fit, held in draws:
            rows = Rows(inputs[fit], clouds.labels[fit], classes, kinds, True, emphases=emphases)
            out = votes(fit_once(rows, strength)(inputs[held]), classes)
            right = out.argmax(axis=1) == clouds.labels[held]
            found[strength].append(round(100 * float(right.mean()), 2))
    best = max(found, key=lambda strength: statistics.mean(found[strength]))
    return best, found[best]


def networks(model: Any, clouds: Clouds, points: int) -> dict[str, np.ndarray]:
    """What the head is given of each cloud, by ``tiny`` and by random weights."""
    found = {}
    for key in ("tiny", "random"):
        if key == "random":
            model.backbone.load_state_dict(random_twin(model.backbone).state_dict())
        found[key] = head_rows(model, clouds, points).numpy().astype(np.float64)
    return found


def measure_few(text: str, shots: int, draws: int, most: int) -> list[dict[str, Any]]:
    name, options = parse(text)
    data, root = options.pop("data", "folder"), Path(options.pop("root"))
    given = tuple(f"{key}={value}" for key, value in options.items())
    config = TrainConfig(data=data, root=root, data_options=given, method="instant")
    if data == "folder":
        config = fitted(replace(config, points=0))
    clouds = some_of(make_dataset(config).load("train"), most)
    model = build_model(config, clouds.classes)
    model.adapter.head.see(torch.from_numpy(clouds.known_traits))
    kinds, lines = model.adapter.head.kinds, []
    patches = model.backbone.config
    about = {
        "set": name, "clouds": len(clouds), "classes": len(clouds.classes), "shots": shots,
        "points": config.points, "patches": patches.groups, "patch_size": patches.group_size,
    }  # fmt: skip
    known = [drawn(clouds, shots, draw) for draw in range(draws)]
    rows = networks(model, clouds, config.points)
    for said, kept in INPUTS.items():
        columns = np.concatenate([np.full(width, traits in kept) for width, traits in kinds])
        own = tuple(kind for kind in kinds if kind[1] in kept)
        line = {**about, "inputs": said}
        for key, inputs in rows.items():
            best, line[key] = few_shots(clouds, inputs[:, columns], own, known)
            line[f"{key}_strength"] = best
        gains = np.subtract(line["tiny"], line["random"])
        line["gain"] = round(float(gains.mean()), 2)
        line["gain_sd"] = round(float(gains.std(ddof=1)), 2)
        line["draws_above"] = int((gains > 0).sum())
        means = {key: round(statistics.mean(line[key]), 1) for key in rows}
        print({**about, "inputs": said, **means, "gain": line["gain"]}, flush=True)
        lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--most", type=int, default=500, help="clouds of a set")
    parser.add_argument("--ways", type=int, default=len(WAYS), help="try the last so many")
    parser.add_argument("--shots", type=int, default=0, help="known clouds of a class; 0 for all")
    parser.add_argument("--draws", type=int, default=20, help="of those")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/points_tiny.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = []
    for text in args.sets:
        if args.shots:
            lines += measure_few(text, args.shots, args.draws, args.most)
        else:
            lines += measure(text, WAYS[-args.ways :], args.most)
    more = f" --shots {args.shots} --draws {args.draws}" if args.shots else ""
    write_record(args.json, "points.py", args.sets, lines, more)


if __name__ == "__main__":
    main()
