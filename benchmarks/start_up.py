"""What a prediction costs from the shell: alone, and by a server that runs already.

    python benchmarks/start_up.py [--runs 9]

Processor time of whole processes, one after another in turns, medians; the first turn only warms
the disk's cache. "torch" imports it and computes one product: what every program costs that
computes with it. "predict" is one file by an adapter on ``tiny``; "predict --server" the same file
by a running server, whose own processor time for it is beside.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from _measure import TOY, parser, report, start
from _server import Server, cloud_files, serving, write_adapters

POINTS = 64 if TOY else 1024
TORCH = "import torch; torch.randn(64, 64) @ torch.randn(64, 64)"


def used(command: list[str]) -> float:
    """Seconds of processor time of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def of_server(server: Server) -> float:
    """Seconds of processor time that the server has taken so far."""
    times = psutil.Process(server.process.pid).cpu_times()
    return times.user + times.system


def rows(work: Path, runs: int) -> list[dict[str, Any]]:
    """What each way takes."""
    write_adapters(work / "adapters", 1, POINTS)
    file = work / "a.npy"
    file.write_bytes(cloud_files(1, POINTS)[0])
    predict = [sys.executable, "-m", "pointadapt", "predict", str(file)]
    took: dict[str, list[float]] = {}
    with serving(work, work / "adapters", "--threads", "1") as server:
        ways = {
            "python": [sys.executable, "-c", "pass"],
            "torch": [sys.executable, "-c", TORCH],
            "predict": [*predict, "--adapter", str(work / "adapters" / "0"), "--threads", "1"],
            "predict --server": [*predict, "--server", server.address],
        }
        for turn in range(runs + 1):
            for way, command in ways.items():
                before = of_server(server)
                seconds = used(command)
                if turn:
                    took.setdefault(way, []).append(seconds)
                    took.setdefault(f"{way}: server", []).append(of_server(server) - before)
    return [
        {"what": way, "processor_s": statistics.median(took[way]), "least_s": min(took[way]),
         "server_s": statistics.median(took[f"{way}: server"]), "runs": runs}
        for way in ways
    ]  # fmt: skip


def main() -> None:
    own = parser(__doc__, seconds=0)
    own.add_argument("--runs", type=int, default=1 if TOY else 9)
    args = own.parse_args()
    start(args)
    with tempfile.TemporaryDirectory() as name:
        report("start_up_{}", "One file from the shell", rows(Path(name), args.runs), args)


if __name__ == "__main__":
    main()
