"""What the benchmarks share: turns, medians, memory, the machine, the table and the JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pointadapt.core.machine import describe_machine, keep_large_blocks

MIB = 2.0**20
RESULTS = Path(__file__).parent / "results"
TOY = os.environ.get("BENCHMARK_TOY") == "1"  # all at a size that only shows that it runs


def parser(doc: str | None, seconds: float) -> argparse.ArgumentParser:
    """The options of all benchmarks; ``seconds`` is the default of ``--seconds``."""
    own = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own.add_argument("--seconds", type=float, default=seconds, help="of timing, a table's part")
    own.add_argument("--threads", type=int, default=0, help="torch threads; 0: torch's choice")
    own.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    own.add_argument("--allocator", choices=["ours", "default"], default="ours")
    own.add_argument("--json", default="", help='file, or "no"; default: benchmarks/results')
    return own


def start(args: argparse.Namespace) -> None:
    """Set threads and, as a user's run does, the allocator."""
    args.seconds = 0.0 if TOY else args.seconds
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.allocator == "ours":
        keep_large_blocks()


def processor_ms(call: Callable[[], object], runs: int) -> list[float]:
    """Milliseconds of processor time of each run, whatever else the machine does."""
    took = []
    for _ in range(runs):
        began = time.process_time()
        call()
        took.append(1e3 * (time.process_time() - began))
    return took


@dataclass
class Timing:
    """Seconds of one variant: the median and the best of its runs, and its ratio to the first."""

    median: float
    best: float
    ratio: float
    runs: int

    def columns(self) -> dict[str, Any]:
        """The table's columns."""
        return {
            "median_ms": 1e3 * self.median, "best_ms": 1e3 * self.best,
            "time_ratio": self.ratio, "runs": self.runs,
        }  # fmt: skip


def once(call: Callable[[], object], cuda: bool) -> float:
    """Seconds of one call; on a GPU between two events around it."""
    if not cuda:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    call()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1e3


def in_turns(
    variants: Mapping[str, Callable[[], object]], seconds: float, warm_up: int = 1,
    device: str = "cpu", least: int = 1 if TOY else 3,
) -> dict[str, Timing]:  # fmt: skip
    """Time the variants A, B, C, A, B, C, ... for about ``seconds`` in all, each ``least`` times.

    The ratio is the median of the ratios to the first variant's run of the same turn, so that
    whatever else the machine does falls on all alike.
    """
    cuda = device.startswith("cuda")
    for call in variants.values():
        for _ in range(3 * warm_up if cuda else warm_up):
            call()
    times: dict[str, list[float]] = {name: [] for name in variants}
    end = time.perf_counter() + seconds
    while len(next(iter(times.values()))) < least or time.perf_counter() < end:
        for name, call in variants.items():
            times[name].append(once(call, cuda))
    first = next(iter(times.values()))
    return {
        name: Timing(
            median=statistics.median(row),
            best=min(row),
            ratio=statistics.median(t / base for t, base in zip(row, first, strict=True)),
            runs=len(row),
        )
        for name, row in times.items()
    }


def saved_bytes(forward: Callable[[], Tensor], device: str = "cpu", warm: bool = True) -> int:
    """Bytes that ``forward`` has allocated and not freed when it returns: what its backward needs.

    Counted by torch's profiler, so whatever holds the memory counts.
    """
    if warm:
        forward()  # what is made once and kept
    with torch.profiler.profile(profile_memory=True) as profile:
        loss = forward()
    del loss
    key = f"self_{'device' if device.startswith('cuda') else 'cpu'}_memory_usage"
    return sum(getattr(event, key) for event in profile.events() or ())


def child(script: str, *arguments: object) -> dict[str, Any]:
    """What ``python SCRIPT --child ARGUMENTS`` prints as JSON in its last line: a clean process."""
    path = Path(__file__).with_name(script)
    command = [sys.executable, str(path), "--child", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def resident() -> int:
    """Bytes of memory that this process holds now (Linux; 0 elsewhere)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def versions() -> dict[str, str]:
    names = ("pointadapt", "torch", "numpy", "accelerate")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def report(
    name: str, title: str, rows: list[dict[str, Any]], args: argparse.Namespace,
    settings: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Print the rows as a table and write them as JSON with all that they depend on.

    Goes to ``benchmarks/results/NAME.json``, "{}" in the name being the kind of device, unless
    ``--json`` says otherwise.
    """
    print_table(title, rows)
    if args.json == "no":
        return
    kind = "cuda" if args.device.startswith("cuda") else "cpu"
    out = Path(args.json) if args.json else RESULTS / f"{name.format(kind)}.json"
    options = {k: str(v) for k, v in vars(args).items() if k not in ("json", "child")}
    content = {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "machine": describe_machine(),
        "versions": versions(),
        "settings": {**options, **(settings or {})},
        "results": rows,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=1) + "\n")
    Console().print(f"written to {out}", soft_wrap=True)


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Rows of the same keys, or with some missing, as a table."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title)
    for key in keys:
        text = any(isinstance(row.get(key), str) for row in rows)
        table.add_column(key.replace("_", " "), justify="left" if text else "right")
    for row in rows:
        cells = (row.get(key, "") for key in keys)
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in cells))
    Console(width=max(150, Console().width)).print(table)


def commit() -> str:
    run = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(
            run, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
