"""Stages that pre-train: `rates` and `pretrain`, `variants`, `scenes`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from _stage import HOME, OUT, REPO, Args, call, write

SMALL = """--size small --groups 64 --data modelnet40 shapedb shapes
--weights modelnet40=0.4 shapedb=0.1 shapes=0.5 --available 2048 --batch-size 512 --lr 1e-3
--warmup-steps 300 --mask-ratio 0.6 --label-weight 0.03 --attribute-weight 0.005
--augment scale_shift rotate_z --precision bf16 --save-every 200 --probe-every 1000
--probe-clouds 1200 --picture-every 1000 --save-precision bf16 --shard-mb 16 --seed 0"""
TOY_PRETRAIN = """--size tiny --groups 8 --group-size 8 --points 64 --batch-size 8 --precision fp32
--save-every 2 --save-precision bf16 --shard-mb 16 --picture-every 0 --warmup-steps 1"""
RATES_S = 145  # seconds that the stage `rates` takes at most
BUDGET = 22 * 60  # seconds that the pre-training has


def rates(args: Args) -> None:
    """A step eager, captured and compiled, clouds a second, and the number of steps that fits."""
    from pretraining_steps import rows, show

    seconds = 600 if args.rehearse else min(60 * args.minutes, RATES_S)
    steps = rows(HOME / "rates", HOME / "made", args.rehearse, seconds)
    for log in (HOME / "rates").glob("*.log"):
        shutil.copy(log, OUT / f"rates-{log.name}")
    found: dict[str, Any] = {"rows": steps}
    best = {name: rate for row in steps for name, rate in row.get("loader", {}).items()
            if name != "alone"}  # fmt: skip
    if best:  # of the last, which is compiled if that works
        most = max(best, key=lambda name: best[name])
        found |= {"workers": int(most.split()[0]), "steps": int(BUDGET * best[most] / 512)}
        HOME.mkdir(parents=True, exist_ok=True)
        (HOME / "steps.json").write_text(json.dumps(found))
    write("rates.json", found)
    show(steps)


def pretrain(args: Args) -> None:
    """The pre-training; the same call again continues it."""
    plan = {"steps": 4, "workers": 0} if args.rehearse else {}
    if not plan:
        plan = json.loads((HOME / "steps.json").read_text())
    if args.steps:
        plan["steps"] = args.steps
    out, root = HOME / "small", HOME / "pretrain"
    command = [sys.executable, "-m", "pointadapt", "pretrain"]
    flags = TOY_PRETRAIN if args.rehearse else f"{SMALL} --root {root}"
    flags += f" --steps {plan['steps']} --workers {plan['workers']} --resume --out {out}"
    found = call([*command, *flags.split()], 60 * args.minutes, OUT / "pretrain.log")
    if (out / "log.jsonl").exists():
        shutil.copy(out / "log.jsonl", OUT)
    done = (out / "backbone").exists()
    if done:
        for shard in (out / "backbone").glob("*.safetensors"):
            shutil.copy(shard, OUT)
        rest = ["backbone/config.json", "backbone/model.safetensors.index.json", "summary.json"]
        with tarfile.open(OUT / "rest.tgz", "w:gz") as archive:
            for name in [*rest, "log.jsonl", "pictures"]:
                if (out / name).exists():
                    archive.add(out / name, name)
    write("pretrain.json", {"plan": plan, "done": done, **found})


def variants(args: Args) -> None:
    """All variants of ``benchmarks/pretraining.py`` from the bundled backbone, side by side.

    What comes home is scored there, by the same benchmark (``--more NAME=FOLDER``).
    """
    from jobs import Job, run_jobs

    from pretraining import SHARED, VARIANTS

    plan = f"pretrain --init tiny --steps {args.steps or 1000} --batch-size 256 --lr 5e-4 "
    plan += "--warmup-steps 100 --precision bf16 --workers 2 --save-every 250"
    if args.rehearse:
        plan = "pretrain --steps 2 --batch-size 8 --workers 0 --warmup-steps 1"
        plan += " --groups 16 --group-size 8"
    plan += " --save-precision bf16 --threads 1"
    names = [name for name in VARIANTS if name not in args.without]
    jobs = [
        Job(name.replace(", ", "-").replace(" ", "-"),
            [*plan.split(), *as_flags({**SHARED, **VARIANTS[name]})], place, "summary.json")
        for name in names for place in (HOME / "variants" / name.replace(" ", "-"),)
    ]  # fmt: skip
    log, began = HOME / "logs" / "variants", time.monotonic()
    found = run_jobs(jobs, len(jobs), began + 60 * args.minutes - 30, log)
    for k in range(0, len(jobs), 2):  # two of 6 MB fit a file
        with tarfile.open(OUT / f"variants{k // 2}.tgz", "w:gz") as archive:
            for job in jobs[k : k + 2]:
                for part in ("backbone", "summary.json", "log.jsonl"):
                    if (job.out / part).exists():
                        archive.add(job.out / part, f"{job.name}/{part}")
    write("variants.json", {"minutes": args.minutes, "jobs": found})


SCENES = """--data scenes --backbone ptv3 --size tiny --points 2048 --batch-size 36 --lr 1.5e-3
--precision bf16 --save-precision bf16 --save-every 100 --seed 0"""
TOY_SCENES = """--data scenes --backbone ptv3 --size tiny --points 256 --batch-size 2
--precision fp32 --save-precision bf16 --save-every 2 --threads 1"""
TRIAL = 24  # steps that tell the rate
STARTS, SCORES = 20, 95  # seconds: until the first step; the runs that score the weights
REAL = REPO / ".gpu/scenes"  # NAME/train/FILE and NAME/test/FILE, every point labelled
ASIDE = 4  # runs from random weights beside the pre-training


def scenes(args: Args) -> None:
    """Pre-training on made-up scenes, as many steps as the minutes allow, then what it gives.

    The checkpoint lies in $OUT from the start, so that a run that is cut off is not lost. Where
    there are labelled scenes, networks are trained on them from random weights meanwhile, and from
    the pre-trained ones at the end.
    """
    import threading

    os.environ["POINTADAPT_TRITON"] = "0"  # compiling would take from the minutes
    end = time.monotonic() + 60 * args.minutes
    log, aside = HOME / "logs" / "scenes", scene_jobs("ptv3:tiny", "random", args.rehearse)
    known: dict[str, Any] = {}

    def beside() -> None:
        known.update(run_jobs_until(aside, ASIDE, end - 10, log))

    other = threading.Thread(target=beside)
    other.start()
    done = pretrain_scenes(args, end - (SCORES if aside and not args.rehearse else 0))
    jobs = scene_jobs(str(OUT / "scenes/backbone"), "pretrained", args.rehearse)
    if done["rc"] == 0:
        known.update(run_jobs_until(jobs, len(jobs), end - 10, log))
    other.join()
    write("scenes.json", {"pretraining": done, "jobs": known})


def run_jobs_until(jobs: list[Any], at_once: int, until: float, log: Path) -> dict[str, Any]:
    from jobs import run_jobs

    return run_jobs(jobs, at_once, until, log) if jobs else {}


def pretrain_scenes(args: Args, end: float) -> dict[str, Any]:
    """A trial, then the steps that fit before ``end``."""
    flags, workers = (TOY_SCENES, 1) if args.rehearse else (SCENES, max(1, cores() - 1 - ASIDE))

    def run(steps: int, out: Path) -> dict[str, Any]:
        more = f" --steps {steps} --warmup-steps {steps // 20} --workers {workers} --out {out}"
        command = [sys.executable, "-m", "pointadapt", "pretrain", *(flags + more).split()]
        left = max(20.0, end - time.monotonic())
        return call([*command, "--resume", "--json"], left, OUT / f"{out.name}.log")

    steps, trial = args.steps, 4 if args.rehearse else TRIAL
    if not steps:
        run(trial, HOME / "scenes-trial")
        took = json.loads((HOME / "scenes-trial/summary.json").read_text())["seconds"]
        left = end - time.monotonic() - STARTS
        steps = trial if args.rehearse else max(trial, int(0.9 * trial * left / took))
    return {"steps": steps, "workers": workers, **run(steps, OUT / "scenes")}


def scene_jobs(backbone: str, name: str, toy: bool) -> list[Any]:
    """Runs of the recipe ``ptv3-scenes`` without its forest, 300 steps, from ``backbone``."""
    from jobs import Job

    sets = {"ahn": "", "ign": " ignore=1", "isprs": ""}
    blocks, less = ("blocks=4 test_blocks=2", "--points 512") if toy else ("blocks=200", "")
    return [
        Job(
            f"{root}-{method}-{name}",
            f"train --recipe ptv3-scenes --root {REAL / root} --backbone {backbone} {less} "
            f"--method {method} --epochs {1 if toy else 3} --data-options {blocks}{option} "
            "--task-options forest=0 --threads 1 --seed 0 --no-tensorboard --no-summary".split(),
            HOME / "scenes" / f"{root}-{method}-{name}",
        )
        for method in ("linear_probe", "full", "lora")
        for root, option in sets.items()
        if (REAL / root).is_dir() and (not toy or (root, method) == ("ahn", "full"))
    ]


def cores() -> int:
    return len(os.sched_getaffinity(0))


def as_flags(options: dict[str, Any]) -> list[str]:
    """Options of a configuration as the command line has them."""
    out: list[str] = []
    for key, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        out += [f"--{key.replace('_', '-')}", *map(str, values)]
    return out
