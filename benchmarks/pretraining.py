"""What pre-training gives: variants of it at one budget, scored by frozen features.

    python benchmarks/pretraining.py --root MODELNET40 --sets NAME=DIR,group=PATTERN ... --runs DIR

Goes on from a backbone (``--init``, by default the bundled ``tiny``) with each variant of
VARIANTS for as many steps as take the same time on this machine, measured first, and scores what
comes out, the backbone itself, and what ``--more`` names, by default random weights. Only training
clouds are looked at:

- ``svm_last``, ``svm_two``: percent right of a linear support vector machine (one against one, C =
  .01, inputs of variance 1) on the maximum and mean of the patches after the last block, and after
  the middle one too, fitted on some training clouds of ModelNet40, scored on others;
- of each set (options of the data set "folder"): percent right with five known clouds a class,
  mean over draws, from both blocks, points and patches as ``points=0`` chooses them. In each draw
  whole groups are held out. ``_gain`` is the mean difference to the first backbone in the same
  draws, ``_gain_se`` its standard error over the draws, which overlap.

Runs that are there already are not made again, and runs that were stopped go on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from _few import drawn
from _measure import TOY, print_table
from _sets import parse, write_record
from pointadapt.core.config import PretrainConfig, TrainConfig
from pointadapt.data import Clouds, load_dataset
from pointadapt.inference.forward import head_rows
from pointadapt.inference.linear_svm import C, fixed_subset, random_twin
from pointadapt.methods.linear_fit import Rows, fit_once, votes
from pointadapt.pretraining.trainer import pretrain
from pointadapt.training.setup import build_model, fitted, make_dataset

TOKENS = ("patch_max", "patch_mean", "patch_max@mid", "patch_mean@mid")
SENSOR = {"views": ("sensor", "rotate_z", "noise", "scale_shift"), "view_points": 256}
WHOLE = {"views": ("rotate_z", "scale_shift")}
STILL = {"augment": (), "views": ("sensor", "rotate_z", "noise"), "view_points": 1024}
BOTH = {"label_weight": 0.03, "attribute_weight": 0.005}
LABELS = {"label_weight": 0.3, "attribute_weight": 0.05}
VARIANTS: dict[str, dict[str, Any]] = {
    "as tiny": BOTH,
    "reconstruction alone": {},
    "rotation": {**BOTH, "augment": ("scale_shift", "rotate_z")},
    "labels x 3": {"label_weight": 0.09, "attribute_weight": 0.015},
    "contrast": {**BOTH, **WHOLE, "contrast_weight": 0.03},
    "sensor views": {**BOTH, **SENSOR},
    "contrast, sensor views": {**BOTH, **SENSOR, "contrast_weight": 0.03},
    "contrast, dense too": {**BOTH, **SENSOR, "view_points": 1024, "contrast_weight": 0.03},
    "contrast x 3, dense too": {**BOTH, **SENSOR, "view_points": 1024, "contrast_weight": 0.1},
    "no stretching": {**BOTH, **STILL, "contrast_weight": 0.1},
    "no stretching, labels x 10": {**LABELS, **STILL, "contrast_weight": 0.3},
    "labels x 10": LABELS,
}
SHARED = {
    "mask_ratio": 0.675, "mask_spread": 0.175, "decoder_depth": 1, "assembly_fraction": 0.4,
    "picture_every": 0, "seed": 2,
}  # fmt: skip
STRENGTH, TRIAL = 1.0, 5  # of the fit to few labels; steps that the time of one is taken from
OPTIONS = ("label_weight", "attribute_weight", "contrast_weight", "views", "view_points", "augment",
           "init", "lr", "batch_size", "warmup_steps")  # fmt: skip
Score = dict[str, Any]


def made(name: str, args: argparse.Namespace) -> Path:
    """The folder of the variant's run, which is made or gone on with where it is not ended."""
    out = args.runs / name.replace(", ", "-").replace(" ", "-")
    if not (out / "summary.json").exists():
        steps = args.steps or int(args.seconds / seconds_a_step(name, args))
        pretrain(config_of(name, args, steps, out))
    return out


def config_of(name: str, args: argparse.Namespace, steps: int, out: Path) -> PretrainConfig:
    own = {**SHARED, **VARIANTS[name]}
    return PretrainConfig(
        out=out, init=str(args.init), steps=steps, batch_size=args.batch_size, lr=args.lr,
        warmup_steps=min(steps // 10, 200), threads=args.threads, workers=args.workers,
        precision=args.precision, save_every=max(1, min(steps // 4, 500)), resume=True, **own,
    )  # fmt: skip


def seconds_a_step(name: str, args: argparse.Namespace) -> float:
    """Measured once and kept, so that a run that goes on has as many steps as it began with."""
    out = args.runs / "trials" / name.replace(", ", "-").replace(" ", "-")
    if not (out / "summary.json").exists():
        pretrain(config_of(name, args, TRIAL, out))
    return json.loads((out / "summary.json").read_text())["seconds"] / TRIAL


def facts_of(place: str | Path) -> Score:
    """What a run learned and how much it saw, by its summary; nothing for other backbones."""
    path = Path(place) / "summary.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text())
    plain = asdict(PretrainConfig())
    own = {k: found["config"][k] for k in OPTIONS if found["config"][k] not in (plain[k], [])}
    return {"options": own, "steps": found["config"]["steps"], "clouds": found["clouds"],
            "seconds": found["seconds"], "chamfer": found["chamfer"]}  # fmt: skip


def backbone_of(place: str | Path) -> str:
    """A run's folder to its backbone's; names and other folders stay."""
    own = Path(place) / "backbone"
    return str(own if own.is_dir() else place)


def inputs_of(place: str, clouds: Clouds, config: TrainConfig) -> tuple[np.ndarray, Any]:
    """(n, 4 D) tokens of both blocks, and the kinds of these columns."""
    random = place == "random"
    net = "tiny" if random else place
    model = build_model(replace(config, backbone=net, head=TOKENS), clouds.classes)
    if random:
        model.backbone.load_state_dict(random_twin(model.backbone).state_dict())
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    rows = head_rows(model, clouds, config.points).numpy().astype(np.float64)
    return rows, model.adapter.head.kinds


def svm(inputs: np.ndarray, labels: np.ndarray, fit: int) -> float:
    """Percent right on the clouds after the first ``fit``."""
    x = StandardScaler().fit(inputs[:fit]).transform(inputs)
    model = SVC(kernel="linear", C=C, cache_size=500).fit(x[:fit], labels[:fit])
    return round(100.0 * float(model.score(x[fit:], labels[fit:])), 2)


def few(inputs: np.ndarray, kinds: Any, clouds: Clouds, draws: int) -> list[float]:
    """Percent right in each draw of five clouds a class."""
    out = []
    for known, held in (drawn(clouds, 5, k) for k in range(draws)):
        rows = Rows(inputs[known], clouds.labels[known], len(clouds.classes), kinds, pairs=True)
        votes_ = votes(fit_once(rows, STRENGTH)(inputs[held]), len(clouds.classes))
        out.append(100.0 * float((votes_.argmax(axis=1) == clouds.labels[held]).mean()))
    return out


class Sets:
    """The clouds that backbones are scored on, read once."""

    def __init__(self, args: argparse.Namespace) -> None:
        data = load_dataset("modelnet40", root=args.root, points=args.points)
        self.objects, self.args = fixed_subset(data.load("train"), args.fit + args.held), args
        self.config = TrainConfig(data="modelnet40", root=args.root, points=args.points,
                                  groups=args.groups, group_size=args.group_size,
                                  method="instant")  # fmt: skip
        self.few: dict[str, tuple[Clouds, TrainConfig]] = {}
        for name, options in map(parse, args.sets):
            root, given = Path(options.pop("root")), tuple(f"{k}={v}" for k, v in options.items())
            config = fitted(TrainConfig(data="folder", root=root, data_options=given,
                                             method="instant", points=0))  # fmt: skip
            self.few[name] = make_dataset(config).load("train"), config

    def score(self, place: str) -> Score:
        """All scores of a backbone; those of the draws one by one."""
        x, _ = inputs_of(place, self.objects, self.config)
        labels, last = self.objects.labels, x.shape[1] // 2
        line: Score = {"svm_last": svm(x[:, :last], labels, self.args.fit),
                       "svm_two": svm(x, labels, self.args.fit)}  # fmt: skip
        for name, (clouds, config) in self.few.items():
            line[name] = few(*inputs_of(place, clouds, config), clouds, self.args.draws)
        return line


def shown(line: Score, first: Score, sets: Sets) -> Score:
    """Means in place of draws, with the gains over the first backbone."""
    out = {k: v for k, v in line.items() if k not in sets.few}
    for name in sets.few:
        gain = np.subtract(line[name], first[name])
        out[name] = round(float(np.mean(line[name])), 2)
        out[f"{name}_gain"] = round(float(gain.mean()), 2)
        out[f"{name}_gain_se"] = round(float(gain.std(ddof=1)) / len(gain) ** 0.5, 2)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of ModelNet40")
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--init", default="tiny")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--more", nargs="*", default=["random weights=random"],
                        help="NAME=RUN or backbone to score too")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=600, help="of each variant")
    parser.add_argument("--steps", type=int, default=0, help="of each variant, instead of seconds")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--points", type=int, default=1024, help="of ModelNet40's clouds")
    parser.add_argument("--groups", type=int, default=0, help="patches of these; 0: the backbone's")
    parser.add_argument("--group-size", type=int, default=0)
    parser.add_argument("--fit", type=int, default=3000, help="of its clouds, to fit on")
    parser.add_argument("--held", type=int, default=1500, help="others, to score")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--json", type=Path,
                        default=Path("benchmarks/results/pretraining_tiny.json"))  # fmt: skip
    args = parser.parse_args()
    if TOY:
        args.steps, args.batch_size = 1, 4
    torch.set_num_threads(args.threads)
    sets, lines, results = Sets(args), [], []
    named = {str(args.init): str(args.init)}
    named |= {name: "" for name in args.variants}
    named |= dict(text.split("=", 1) for text in args.more)
    for name, given in named.items():
        place = given or made(name, args)
        score = sets.score(backbone_of(place))
        lines.append(score)
        results.append({"backbone": name, **facts_of(place), **shown(score, lines[0], sets)})
        print(results[-1], flush=True)
        keep = {"fit": args.fit, "held": args.held,
                "draws": args.draws, "batch_size": args.batch_size, "lr": args.lr,
                "precision": args.precision, "workers": args.workers}  # fmt: skip
        if args.variants:
            keep |= {"budget_seconds": args.seconds, "budget_steps": args.steps}
            keep |= {"variants": {k: VARIANTS[k] for k in args.variants}, "shared": SHARED}
        write_record(args.json, "pretraining.py", args.sets, results, " --root DIR", **keep)
    print_table("pre-training", [{k: v for k, v in r.items() if k != "options"} for r in results])


if __name__ == "__main__":
    main()
