"""What the benchmarks share: turns, medians, saved bytes, the machine, the table and the JSON."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pointadapt.runtime import describe_machine


@dataclass
class Timing:
    """Seconds of one variant: the median and the best of its runs, and its ratio to the first."""

    median: float
    best: float
    ratio: float
    runs: int


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def in_turns(
    variants: Mapping[str, Callable[[], object]], seconds: float, warm_up: int = 2
) -> dict[str, Timing]:
    """Time the variants A, B, C, A, B, C, ... for about ``seconds`` in all.

    The ratio is the median of the ratios to the first variant's run of the same turn, so that
    whatever else the machine does falls on all alike.
    """
    for call in variants.values():
        for _ in range(warm_up):
            call()
    times: dict[str, list[float]] = {name: [] for name in variants}
    end = time.perf_counter() + seconds
    while len(next(iter(times.values()))) < 3 or time.perf_counter() < end:
        for name, call in variants.items():
            synchronize()
            start = time.perf_counter()
            call()
            synchronize()
            times[name].append(time.perf_counter() - start)
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


def saved_bytes(forward: Callable[[], Tensor]) -> int:
    """Bytes that ``forward`` has allocated and not freed when it returns: what its backward needs.

    Counted by torch's profiler, so whatever holds the memory counts.
    """
    forward()  # what is made once and kept
    with torch.profiler.profile(profile_memory=True) as profile:
        loss = forward()
    del loss
    key = "self_device_memory_usage" if torch.cuda.is_available() else "self_cpu_memory_usage"
    return sum(getattr(event, key) for event in profile.events() or ())


def report(
    title: str, rows: list[dict[str, Any]], settings: dict[str, Any], out: Path | None
) -> None:
    """Print the rows as a table and, if asked, write them as JSON with all that they depend on."""
    table = Table(title=title)
    for key in rows[0]:
        table.add_column(key.replace("_", " "), justify="left" if key == "variant" else "right")
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
    if out is not None:
        content = {
            "command": " ".join(["python", *sys.argv]),
            "commit": commit(),
            "machine": describe_machine(),
            "settings": settings,
            "results": rows,
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(content, indent=1) + "\n")


def commit() -> str:
    run = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
