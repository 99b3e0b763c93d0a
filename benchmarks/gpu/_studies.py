"""Stages of many runs: `modelnet40`, `few-shot`, `promise`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from _stage import HOME, OUT, REPO, Args, data_root, write

METHODS = ("dapt", "full", "linear-probe")


def modelnet40(args: Args) -> None:
    """The papers' recipe, three methods and three seeds, some at a time."""
    from jobs import Job

    root, flags = data_root(args)
    seeds = range(1) if args.rehearse else range(3)
    jobs = [
        Job(
            f"{method}-{seed}",
            f"train --recipe {method}-modelnet40 --root {root} {flags} --backbone {args.backbone} "
            f"--seed {seed} --step {args.step} --save-every 10 "
            "--no-tensorboard --no-summary".split(),
            HOME / "modelnet40" / f"{method}-{seed}",
        )
        for seed in seeds
        for method in METHODS
        if args.only in ("", method)
    ]
    finish("modelnet40", jobs, args)


SETTINGS = ((5, 10), (5, 20), (10, 10), (10, 20))


def few_shot(args: Args) -> None:
    """Ten folds of each setting and method; folds run side by side inside a command."""
    from jobs import Job

    root, flags = data_root(args)
    settings = ((2, 1),) if args.rehearse else SETTINGS
    folds = "--folds 2 --queries 1 --jobs 1" if args.rehearse else f"--jobs {args.jobs}"
    jobs = [
        Job(
            f"{method}-{way}w{shot}s",
            f"few-shot --recipe {method}-few-shot --data modelnet40 --root {root} {flags} {folds} "
            f"--way {way} --shot {shot} --backbone {args.backbone} --step {args.step}".split(),
            HOME / "few-shot" / f"{method}-{way}w{shot}s",
            result="few_shot.json",
            resumes=False,
        )
        for way, shot in settings
        for method in METHODS
        if args.only in ("", method)
    ]
    args.jobs = 1
    finish("few-shot", jobs, args)


def finish(name: str, jobs: list[Any], args: Args) -> None:
    """Run what is left, and bring home what there is: one JSON file, the logs, DAPT's adapters."""
    from jobs import run_jobs

    known = REPO / "benchmarks/results/gpu" / f"{name}.json"
    home = json.loads(known.read_text())["jobs"] if known.exists() else {}
    home = {n: job for n, job in home.items() if job["state"] == "done" and not args.rehearse}
    began, log = time.monotonic(), HOME / "logs" / name
    todo = [job for job in jobs if job.name not in home]
    found = run_jobs(todo, args.jobs, began + 60 * args.minutes - 30, log)
    for key, job in found.items():
        shown = job.get("results") or job
        print(key, {k: shown[k] for k in ("accuracy", "mean", "state", "why") if k in shown})
    with tarfile.open(OUT / f"{name}.tgz", "w:gz") as archive:
        for folder in (log, *(j.out / "adapter" for j in todo if j.name.startswith("dapt"))):
            if folder.exists():
                archive.add(folder, folder.relative_to(HOME))
    write(
        f"{name}.json", {"minutes": args.minutes, "at_once": args.jobs, "jobs": {**home, **found}}
    )


SMALL_SETS = {  # the rest of what --sets of promise.py says
    "street": r"{sets}/street,group=_f\d+_,points=0,groups=0",
    "gesture": r"{sets}/gesture,group=p\d+,points=0,groups=0",
    "lpsb": "{sets}/lpsb,augment=scale_shift",
    "tabletop": r"{sets}/tabletop,up=y,group=[a-z]+\d+_",
    "modelnet10": "{modelnet40},data=modelnet40,shots=10",
    "shapes": ",data=shapes,size=320,test_size=640,rotate=lying",
    "few5": "{modelnet40},data=modelnet40,way=5,shot=10",
    "few10": "{modelnet40},data=modelnet40,way=10,shot=10",
}
CHAINS = 2  # of sets, one after the other; while one works out its forest, the other trains


def promise(args: Args) -> None:
    """`benchmarks/promise.py` on one set after the other; the records come home.

    Where the time ends, the same call again goes on; what is complete has its record. On a GPU the
    five seeds of a method are one run. At home: `python benchmarks/promise.py --join RECORDS`.
    """
    end, out, log = time.monotonic() + 60 * args.minutes - 20, HOME / "promise", HOME / "logs"
    log.mkdir(parents=True, exist_ok=True)
    lines = [promise_command(name, where, out, args) for name, where in promise_sets(args).items()]
    running = [chained(lines[k::CHAINS], log / f"promise-{k}.log") for k in range(CHAINS)]
    while time.monotonic() < end and any(p.poll() is None for p in running):
        time.sleep(0.5)
    stopped = [k for k, process in enumerate(running) if process.poll() is None]
    for k in stopped:
        os.killpg(running[k].pid, 2)
    for k, process in enumerate(running):
        print("chain", k, "stopped" if k in stopped else process.wait(), flush=True)
        process.wait()
        print("\n".join((log / f"promise-{k}.log").read_text().splitlines()[-3:]), flush=True)
    with tarfile.open(OUT / "promise.tgz", "w:gz") as archive:
        archive.add(log, "logs")
        for found in sorted(out.rglob("*.json")) + sorted(out.rglob("config.yaml")):
            archive.add(found, found.relative_to(HOME))
    write("promise.json", {"minutes": args.minutes, "stopped": stopped})


def promise_sets(args: Args) -> dict[str, str]:
    """Name -> what --sets says of it."""
    if args.rehearse:
        tiny = "points=64,groups=8,group_size=8,epochs=1,way=3,shot=2,queries=1,pool=all"
        return {"few": f"few={data_root(args)[0]},data=modelnet40,{tiny}"}
    places = {"sets": HOME / "data/sets", "modelnet40": HOME / "data/modelnet40"}
    return {
        name: f"{name}={text.format(**places)}"
        for name, text in SMALL_SETS.items() if name not in args.without
    }  # fmt: skip


def promise_command(name: str, where: str, out: Path, args: Args) -> list[str]:
    """The call of promise.py for a set."""
    call = [sys.executable, str(REPO / "benchmarks/promise.py"), "--sets", f"{where},step=auto"]
    call += ["--runs", str(out / "runs"), "--threads", "1", "--lrs", "2e-3", "8e-3"]
    call += ["--json", str(out / f"{name}.json"), "--jobs", str(max(1, args.jobs // CHAINS))]
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0"):  # one step of five seeds pays on a GPU alone
        call += ["--together", "5"]
    if args.rehearse:
        return [*call, "--seeds", "0", "--tune-epochs", "1", "--methods", "instant"]
    return [*call, "--seeds", *"01234", "--tune-epochs", "30"]


def chained(commands: list[list[str]], log: Path) -> subprocess.Popen[bytes]:
    """One command after the other, in a process group of its own."""
    line = "; ".join(shlex.join(command) for command in commands) or "true"
    with open(log, "wb") as to:
        return subprocess.Popen(
            ["sh", "-c", line], stdout=to, stderr=to, cwd=REPO, start_new_session=True
        )
