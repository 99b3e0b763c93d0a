"""``pointadapt demo``: three ways to adapt one backbone, side by side.

Each method trains in a process of its own, so that its peak memory is its own; as many at a time as
there are cores, which is faster than one on all of them: its operations are small.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ..core import console
from ..core.config import Precision, TrainConfig
from ..core.errors import PointAdaptError
from ..core.files import write_json
from ..core.folders import LOCK, only_run_in
from ..core.precision import best_precision
from ..reports import terminal as report
from .jobs import Job, Outcome, run_all

if TYPE_CHECKING:
    import numpy as np

MARK = "demo.json"  # tells a demo's folder from anyone else's
# DAPT starts as the pre-trained network here: so few steps leave no time to recover from the
# released start values, see docs/decisions/start-as-the-pretrained-network.md.
DAPT = ("rank=64", "position=every_block", "scale_shift_std=0", "scale_start=one")
METHODS = {  # name -> (title, its own values, style of its line)
    "linear_probe": ("Linear probe", {"lr": 1e-2}, ""),
    "dapt": ("DAPT", {"lr": 1e-2, "options": DAPT}, "bold"),
    "full": ("Full fine-tuning", {"lr": 2.5e-3}, ""),
}
POSE = "rotate=lying"  # the backbone knows such objects upright, clean, of more points


@dataclass(frozen=True)
class Budget:
    """What every method gets.

    Attributes:
        train: training clouds.
        test: test clouds.
        points: points of a cloud.
        groups: patches of a cloud.
        epochs: passes over the training clouds.
        precision: bfloat16 where the processor computes in it, which saves a third of the time.
    """

    train: int = 2400
    test: int = 960
    points: int = 256
    groups: int = 16
    epochs: int = 10
    precision: Precision = "fp32"

    def config(self, method: str, out: Path, backbone: str) -> TrainConfig:
        """The training run of a method in a folder below ``out``."""
        shapes = (f"size={self.train}", f"test_size={self.test}", POSE)
        common = TrainConfig(
            out=out / method, data="shapes", data_options=shapes, backbone=backbone, method=method,
            points=self.points, groups=self.groups, epochs=self.epochs, drop_path=0.0,
            precision=self.precision, keep="all", tensorboard=False,
        )  # fmt: skip
        return replace(common, **METHODS[method][1])


QUICK = Budget(train=64, test=32, points=64, groups=8, epochs=1)


def demo(out: Path | str, *, backbone: str = "tiny", quick: bool = False) -> int:
    """Run it all and show it; returns an exit status.

    Args:
        out: folder for everything it writes; an earlier demo there is replaced.
        backbone: a bundled backbone or a backbone folder.
        quick: a few steps only.

    Raises:
        PointAdaptError: ``out`` holds something that is no demo, or a step failed.
    """
    with only_run_in(Path(out)):
        return _run(Path(out), backbone, QUICK if quick else Budget(precision=best_precision()))


def _run(out: Path, backbone: str, budget: Budget) -> int:
    to, began = console.output(), time.monotonic()
    prepare(out)
    to.print(
        f"One backbone ({backbone}), three ways to adapt it to {budget.train:,} scans of 32 kinds "
        "of made-up objects that lie on a conveyor belt: tipped over, rolled any way, noisy, with "
        "parts missing. It was pre-trained on such objects, but upright and clean. The same data, "
        f"epochs and seed for each method; accuracy on {budget.test} other scans, after the last "
        "epoch."
    )
    results = train(out, backbone, budget, to)
    write_json(out / MARK, {"finished": True, "results": results})
    to.print(table(results))
    picture, cloud, truth = show_predictions(out / "dapt" / "adapter", out, budget)
    to.print(f"Predictions of DAPT, right in green and wrong in red: {picture}", soft_wrap=True)
    to.print(f"One {truth}, written to a file and predicted from the command line:")
    predict_file(cloud, out / "dapt" / "adapter", to)
    to.print(f"The demo took {console.duration(time.monotonic() - began)}.")
    report.next_steps(to, *advice(out))
    return 0


def prepare(out: Path) -> None:
    """Make ``out``, or clear what an earlier demo left in it.

    Raises:
        PointAdaptError: there is something else in it.
    """
    if out.exists() and not out.is_dir():
        raise PointAdaptError(f"{out} is a file: choose another --out")
    found = [path for path in out.iterdir() if path.name != LOCK] if out.is_dir() else []
    if found and not (out / MARK).is_file():
        raise PointAdaptError(f"{out} holds files that are no demo's: choose another --out")
    for name in METHODS:
        shutil.rmtree(out / name, ignore_errors=True)
    write_json(out / MARK, {"finished": False})


def train(out: Path, backbone: str, budget: Budget, to: Console) -> dict[str, dict[str, Any]]:
    """The results of each method, side by side in processes of their own, the longest first."""

    def tell(outcome: Outcome) -> None:
        if outcome.results:
            r = outcome.results
            took = console.duration(r["seconds"])
            to.print(f"{outcome.job.name}: {r['accuracy']:.1f} % in {took}")

    jobs = [Job(METHODS[m][0], budget.config(m, out, backbone)) for m in reversed(METHODS)]
    done = run_all(jobs, what="training", at_once=0, on_done=tell)
    return {o.job.config.method: o.results for o in reversed(done) if o.results}


def run(arguments: Sequence[object], command: str) -> str:
    """What a command of ours prints on standard output; its standard error is shown as it comes.

    Raises:
        PointAdaptError: it failed, having said why.
    """
    line = [sys.executable, "-m", "pointadapt", command, *map(str, arguments)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        raise PointAdaptError(f"the demo stopped: {console.command_line('pointadapt', *line[3:])}")
    return done.stdout


def table(results: dict[str, dict[str, Any]]) -> Table:
    """The methods side by side."""
    rows = Table("method")
    for column in ("trained parameters", "accuracy", "time", "peak memory", "adapter"):
        rows.add_column(column, justify="right")
    for name, r in results.items():
        trained, total = r["trainable_parameters"], r["total_parameters"]
        rows.add_row(
            METHODS[name][0], f"{trained:,} ({100 * trained / total:.1f} %)",
            f"{r['accuracy']:.1f} %", console.duration(r["seconds"]),
            console.size(r["peak_memory_bytes"]), console.size(r["adapter_bytes"]),
            style=METHODS[name][2],
        )  # fmt: skip
    return rows


def show_predictions(adapter: Path, out: Path, budget: Budget) -> tuple[Path, Path, str]:
    """Draw the first test cloud of 24 classes, and write one of them to a file.

    Returns:
        The picture, the file, and that cloud's class.
    """
    from ..adapters.protocol import Protocol, load_ready
    from ..inference.forward import predict_probabilities
    from ..io import write_points

    clouds = Protocol.of(adapter, options=("test_size=64",)).load("test")
    model = load_ready(adapter)
    some = first_of_each(clouds.labels)[:24]
    points, labels = clouds.points[some], clouds.labels[some]
    found = predict_probabilities(model, points, budget.points).argmax(dim=1).numpy()
    names = [(clouds.classes[a], clouds.classes[b]) for a, b in zip(found, labels, strict=True)]
    picture = draw(points, names, out)
    k = next((i for i, (a, b) in enumerate(names) if a == b), 0)
    write_points(out / "cloud.ply", points[k])
    return picture, out / "cloud.ply", names[k][1]


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """The index of the first cloud of each label that occurs, in order of the labels."""
    import numpy as np

    return np.unique(labels, return_index=True)[1]


def draw(points: np.ndarray, names: Sequence[tuple[str, str]], out: Path) -> Path:
    """Write ``predictions.png``; ``names`` are the predicted and the true class of each cloud."""
    cache = out / ".matplotlib"  # its list of fonts, so that nothing is written elsewhere
    os.environ.setdefault("MPLCONFIGDIR", str(cache.resolve()))
    from ..reports.drawing import prediction_grid

    titles = [a if a == b else f"{a} (is: {b})" for a, b in names]
    right = [a == b for a, b in names]
    heading = f"DAPT on shapes it never saw: {sum(right)} of {len(right)} right"
    path = prediction_grid(points, titles, right, out / "predictions.png", heading=heading)
    shutil.rmtree(cache, ignore_errors=True)
    return path


def predict_file(path: Path, adapter: Path, to: Console) -> None:
    """Predict one file through the command line, and show the command and its answer."""
    arguments = [path, "--adapter", adapter]
    command = console.command_line("pointadapt predict", *arguments)
    to.print(f"  {command}", style="bold", soft_wrap=True)
    rows = json.loads(run([*arguments, "--json"], "predict"))
    for row in rows:
        guesses = ", ".join(f"{name} {100 * p:.0f} %" for name, p in row["top"])
        to.print(f"  {row['path']}: {guesses}", soft_wrap=True)


def advice(out: Path) -> tuple[tuple[str, str], ...]:
    """What to do next: (why, command)."""
    adapter = console.command_line("--adapter", out / "dapt" / "adapter")
    return (
        (
            "Your own files, one folder for each class",
            "pointadapt train --recipe stem-adapter-folder --root DIR",
        ),
        ("Every class's accuracy", f"pointadapt evaluate {adapter}"),
        ("All methods, data sets and recipes", "pointadapt list"),
    )
