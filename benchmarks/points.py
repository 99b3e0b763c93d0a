"""Points and patches of small clouds: a frozen backbone, and random weights, on training clouds.

    python benchmarks/points.py --sets NAME=DIR,group=PATTERN ... --json FILE

Each DIR holds train/CLASS/FILE; what follows it are options of the data set "folder". At each
number of points and size of patches, a linear support vector machine for each pair of classes is
fitted to the tokens after the last block and the middle one (maximum and mean over the patches), of
the bundled ``tiny`` and of the same network with random weights. The score is the percentage of
clouds that are right in cross-validation, whole groups held out, with the best of three strengths.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import GroupKFold

from _sets import parse, write_record
from pointadapt.core.config import TrainConfig
from pointadapt.data import Clouds, load_dataset
from pointadapt.inference.forward import head_rows
from pointadapt.inference.linear_svm import random_twin
from pointadapt.methods.linear_fit import Rows, fit_once, votes
from pointadapt.training.setup import build_model

TOKENS = ("patch_max", "patch_mean", "patch_max@mid", "patch_mean@mid")
WAYS = ((1024, 0, 0), (512, 0, 0), (256, 32, 16), (256, 16, 32), (128, 16, 16), (128, 16, 32),
        (128, 8, 32), (64, 16, 8), (64, 16, 16), (64, 8, 16))  # fmt: skip
STRENGTHS, FOLDS = (0.1, 1.0, 10.0), 4


def held_out(clouds: Clouds, inputs: np.ndarray, kinds: Any) -> float:
    """Percent right in cross-validation over groups, with the best strength."""
    names = clouds.groups or tuple(map(str, range(len(clouds))))
    groups = np.unique(names, return_inverse=True)[1]
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


def measure(text: str, ways: tuple[tuple[int, int, int], ...], most: int) -> list[dict[str, Any]]:
    name, options = parse(text)
    lines = []
    for points, groups, size in ways:
        clouds = load_dataset("folder", points=points, **options).load("train")
        some = np.random.default_rng(0).permutation(len(clouds))[:most]
        clouds = clouds.subset(np.sort(some))
        config = TrainConfig(
            data="folder", points=points, groups=groups, group_size=size, method="instant",
            head=TOKENS,
        )  # fmt: skip
        model = build_model(config, clouds.classes)
        line = {"set": name, "clouds": len(clouds), "points": points}
        patches = model.backbone.config
        line |= {"patches": patches.groups, "patch_size": patches.group_size}
        for key in ("tiny", "random"):
            if key == "random":
                model.backbone.load_state_dict(random_twin(model.backbone).state_dict())
            inputs = head_rows(model, clouds, points).numpy().astype(np.float64)
            line[key] = held_out(clouds, inputs, model.adapter.head.kinds)
        print(line, flush=True)
        lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--most", type=int, default=500, help="clouds of a set")
    parser.add_argument("--ways", type=int, default=len(WAYS), help="try the last so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/points_tiny.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = [line for text in args.sets for line in measure(text, WAYS[-args.ways :], args.most)]
    write_record(args.json, "points.py", args.sets, lines)


if __name__ == "__main__":
    main()
