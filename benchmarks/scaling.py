"""Two processes against one, and what a training step costs with points, groups, batch and size.

    python benchmarks/scaling.py [--seconds 6] [--parts processes cost] [--device cuda]

- processes: DAPT on `tiny` by `torchrun` with two processes of one thread and a batch of 16 each,
  and by one process of two threads with a batch of 32, on the same 256 clouds with nothing random:
  the losses of both epochs must be equal (within 1e-4), the time should be.
- cost: a training step of DAPT (bfloat16) from 2,048 points, 128 groups, batch 8, `small`, changing
  one of them at a time; ``--seconds`` for each of the four series. Table, JSON, and a picture
  ``benchmarks/results/scaling_DEVICE.png`` with time and saved bytes on logarithmic axes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from _measure import MIB, RESULTS, TOY, in_turns, parser, report, saved_bytes, start
from _models import Step, clouds, labels, make_model

BASE = {"points": 2048, "groups": 128, "batch": 8, "size": "small"}
SERIES: dict[str, list[Any]] = {
    "points": [1024, 2048, 4096, 8192],
    "groups": [32, 64, 128, 256],
    "batch": [2, 4, 8, 16],
    "size": ["tiny", "small"],
}


# ---- two processes


def train_here(out: Path, batch: int, threads: int) -> None:
    """One process of a run in which nothing is random but the order of the clouds."""
    from pointadapt.core.config import TrainConfig
    from pointadapt.data import transforms
    from pointadapt.training.trainer import train

    transforms._offset = lambda n, g: 0  # clouds are not rolled: the draw is each process's own
    train(
        TrainConfig(
            out=out, data="shapes", data_options=("size=256", "test_size=8"), backbone="tiny",
            options=("batchnorm=frozen", "scale_shift=false"),
            task_options=("hidden=0", "dropout=0"),
            augment=(), drop_path=0.0, schedule="epoch", epochs=2, batch_size=batch,
            threads=threads, tensorboard=False,
        )
    )  # fmt: skip
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def run(out: Path, processes: int) -> dict[str, Any]:
    """The run's losses, and the seconds of its second epoch, from its log."""
    torchrun = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
    command = [sys.executable, *(torchrun if processes > 1 else []), __file__]
    command += ["--child", str(out), str(32 // processes), str(2 // processes)]
    env = {**os.environ, "OMP_NUM_THREADS": str(2 // processes), "ACCELERATE_USE_CPU": "true"}
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {
        "losses": [row["loss"] for row in rows],
        "epoch_s": rows[1]["seconds"] - rows[0]["seconds"],
        "with_start_s": time.perf_counter() - began,
    }


def process_rows() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        one, two = (run(Path(scratch) / str(n), n) for n in (1, 2))
    difference = max(abs(a - b) for a, b in zip(one["losses"], two["losses"], strict=True))
    if difference > 1e-4:
        raise SystemExit(f"losses differ: {one['losses']} and {two['losses']}")
    return [
        {
            "what": f"processes={n}", "epoch_s": found["epoch_s"],
            "time_ratio": found["epoch_s"] / one["epoch_s"], "with_start_s": found["with_start_s"],
            "largest_difference_of_losses": difference,
        }
        for n, found in ((1, one), (2, two))
    ]  # fmt: skip


# ---- what a step costs


def step_of(device: str, points: int, groups: int, batch: int, size: str) -> tuple[Step, Any]:
    model = make_model("dapt", size=f"point_vit:{size}", groups=groups, device=device)
    return Step(model, "bf16"), (clouds(batch, device, n=points), labels(batch, device))


def cost_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each value of each series; ratios are to the base of the same turns."""
    rows = []
    for name, values in SERIES.items():
        order = [BASE[name], *(value for value in values if value != BASE[name])]
        made = {value: step_of(args.device, **{**BASE, name: value}) for value in order}
        saved = {
            value: saved_bytes(lambda s=step, d=data: s.loss(*d), args.device)
            for value, (step, data) in made.items()
        }
        calls = {str(value): lambda s=s, d=d: s(*d) for value, (s, d) in made.items()}
        times = in_turns(calls, args.seconds, device=args.device, warm_up=0)
        rows += [
            {
                "what": f"{name}={value}", **times[str(value)].columns(),
                "saved_MiB": saved[value] / MIB, "saved_ratio": saved[value] / saved[BASE[name]],
            }
            for value in values
        ]  # fmt: skip
    return rows


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Time and saved bytes of the four series, base = 1."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 4, figsize=(13, 3.4), sharey=True, layout="constrained")
    found = {row["what"]: row for row in rows}
    for axes, (name, values) in zip(panels, SERIES.items(), strict=True):
        places = values if name != "size" else list(range(len(values)))
        for key, label in (("time_ratio", "time"), ("saved_ratio", "saved for the backward")):
            heights = [found[f"{name}={value}"][key] for value in values]
            axes.plot(places, heights, marker="o", label=label)
        if name != "size":
            axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(places, [f"{v:,}" if isinstance(v, int) else v for v in values])
        axes.set_xlabel(name)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"÷ {', '.join(f'{k} {v}' for k, v in BASE.items())}", fontsize=7)
    panels[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    own = parser(__doc__, seconds=6)
    own.add_argument("--parts", nargs="+", default=["processes", "cost"])
    own.add_argument("--child", nargs=3, help="one process of a run: folder, batch, threads")
    args = own.parse_args()
    if args.child:
        out, batch, threads = args.child
        train_here(Path(out), int(batch), int(threads))
        return
    start(args)
    rows = process_rows() if "processes" in args.parts else []
    if "cost" in args.parts:
        cost = cost_rows(args)
        rows += cost
        kind = "cuda" if args.device.startswith("cuda") else "cpu"
        if not TOY:
            picture(cost, RESULTS / f"scaling_{kind}.png")
    report("scaling_{}", f"Scaling, {args.device}", rows, args)


if __name__ == "__main__":
    main()
