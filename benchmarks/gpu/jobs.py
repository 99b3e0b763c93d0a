"""Runs of `pointadapt` side by side on one device, until the call's time is over.

A job is a command with a name and the file that says it is done. Those that are finished, here or
at home (`benchmarks/results/gpu`), are left out; others go on from their checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Job:
    """One command.

    Attributes:
        name: of its folder and of its entry in the results.
        flags: of `python -m pointadapt`, without --out.
        out: its run folder.
        result: the file that the finished job leaves there.
        resumes: --resume continues what `out` holds (few-shot does by itself).
    """

    name: str
    flags: list[str]
    out: Path
    result: str = "results.json"
    resumes: bool = True

    @property
    def done(self) -> bool:
        return (self.out / self.result).exists()

    def command(self) -> list[str]:
        again = self.resumes and (self.out / "checkpoint.pt").exists()
        more = ["--resume"] if again else []
        return [sys.executable, "-m", "pointadapt", *self.flags, "--out", str(self.out), *more]


@dataclass
class Running:
    """A job that has been started."""

    job: Job
    process: subprocess.Popen[bytes]
    began: float


def run_jobs(jobs: list[Job], at_once: int, until: float, log: Path) -> dict[str, Any]:
    """Run ``jobs`` in order, ``at_once`` at a time; stop all at ``until`` (time.monotonic()).

    Returns:
        What became of each: done (with its results), stopped, failed or waiting.
    """
    waiting = [job for job in jobs if not job.done]
    running: list[Running] = []
    failed: dict[str, str] = {}
    log.mkdir(parents=True, exist_ok=True)
    while (waiting or running) and time.monotonic() < until:
        while waiting and len(running) < at_once:
            running.append(start(waiting.pop(0), log))
        time.sleep(0.2)
        for one in [r for r in running if r.process.poll() is not None]:
            running.remove(one)
            took = time.monotonic() - one.began
            if one.process.returncode or not one.job.done:
                failed[one.job.name] = last_line(log / f"{one.job.name}.log")
            print(f"{one.job.name}: rc {one.process.returncode}, {took:.0f} s", flush=True)
    for one in running:
        one.process.send_signal(signal.SIGINT)
    for one in running:
        try:
            one.process.wait(15)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
    stopped = {r.job.name for r in running}
    return {job.name: outcome(job, failed, stopped) for job in jobs}


def start(job: Job, log: Path) -> Running:
    with open(log / f"{job.name}.log", "ab") as to:
        process = subprocess.Popen(
            job.command(), stdout=to, stderr=to, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    return Running(job, process, time.monotonic())


def outcome(job: Job, failed: dict[str, str], stopped: set[str]) -> dict[str, Any]:
    if job.done:
        results = json.loads((job.out / job.result).read_text())
        for key in ("per_class", "runs"):
            results.pop(key, None)
        return {"state": "done", "results": results}
    if job.name in failed:
        return {"state": "failed", "why": failed[job.name]}
    rows = job.out / "log.jsonl"
    lines = rows.read_text().splitlines() if rows.exists() else []
    state = "stopped" if job.name in stopped or lines else "waiting"
    return {"state": state, "epochs": len(lines), "last": json.loads(lines[-1]) if lines else None}


def last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else "it said nothing"
