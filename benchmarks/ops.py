"""Time pointadapt.ops against plain PyTorch versions of the same definitions.

    python benchmarks/ops.py [--json benchmarks/results/ops.json] [--threads 2] [--device cuda]

Ours and the plain version take turns (A, B, A, B, ...), so that whatever else the machine does
falls on both; the table gives medians in milliseconds, the best run, and the median of the ratios
of neighbouring runs. A minute or so on two cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pointadapt import ops

SECONDS_PER_CASE = 5.0
RUNS = (3, 31)  # at least, at most


@dataclass
class Result:
    """One row of the table."""

    name: str
    ours_ms: float
    ours_best_ms: float
    plain_ms: float
    plain_best_ms: float
    ratio: float  # plain / ours
    runs: int


def plain_fps(points: Tensor, m: int) -> Tensor:
    """Sample the way most repositories do in PyTorch."""
    b, n, _ = points.shape
    picked = torch.zeros(b, m, dtype=torch.long, device=points.device)
    nearest = torch.full((b, n), 1e10, device=points.device)
    farthest = torch.zeros(b, dtype=torch.long, device=points.device)
    cloud = torch.arange(b, device=points.device)
    for i in range(m):
        picked[:, i] = farthest
        dist = ((points - points[cloud, farthest].view(b, 1, 3)) ** 2).sum(-1)
        nearest = torch.minimum(nearest, dist)
        farthest = nearest.max(-1).indices
    return picked


def plain_distances(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] - b[:, None]).square().sum(-1)


def plain_knn(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    value, index = plain_distances(queries, points).topk(k, largest=False)
    return value, index


def plain_interpolate(queries: Tensor, points: Tensor, features: Tensor) -> Tensor:
    dist2, index = plain_knn(queries, points, 3)
    weight = 1 / (dist2 + 1e-8)
    weight = weight / weight.sum(-1, keepdim=True)
    cloud = torch.arange(len(points), device=points.device)[:, None, None]
    return (features[cloud, index] * weight[..., None]).sum(2)


def plain_chamfer(a: Tensor, b: Tensor) -> Tensor:
    d = plain_distances(a, b)
    return d.amin(2).mean() + d.amin(1).mean()


def cases(device: torch.device) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    torch.manual_seed(0)
    points = torch.randn(32, 8192, 3, device=device)
    scan, shape = points[:, :2048].contiguous(), points[:, :1024].contiguous()
    centers = ops.gather_points(scan, ops.farthest_point_sample(scan, 128))
    features = torch.randn(16, 128, 384, device=device, requires_grad=True)
    a = torch.randn(4864, 32, 3, device=device, requires_grad=True)
    b = torch.randn(4864, 32, 3, device=device)
    fps, half = ops.farthest_point_sample, (scan[:16], centers[:16], features)
    return {
        "FPS 32 x 1024 -> 64": (lambda: fps(shape, 64), lambda: plain_fps(shape, 64)),
        "FPS 32 x 2048 -> 128": (lambda: fps(scan, 128), lambda: plain_fps(scan, 128)),
        "FPS 32 x 8192 -> 1200": (lambda: fps(points, 1200), lambda: plain_fps(points, 1200)),
        "FPS 1 x 8192 -> 1200": (
            lambda: fps(points[:1], 1200),
            lambda: plain_fps(points[:1], 1200),
        ),
        "kNN 32 x 128 in 2048, k=32": (
            lambda: ops.knn(centers, scan, 32),
            lambda: plain_knn(centers, scan, 32),
        ),
        "interpolate 16 x 2048 from 128, C=384, forward and backward": (
            lambda: ops.interpolate(*half).sum().backward(),
            lambda: plain_interpolate(*half).sum().backward(),
        ),
        "Chamfer 4864 x 32 to 32, forward and backward": (
            lambda: ops.chamfer_distance(a, b).backward(),
            lambda: plain_chamfer(a, b).backward(),
        ),
    }


def timed(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) * 1e3


def compare(
    name: str, ours: Callable[[], object], plain: Callable[[], object], device: torch.device
) -> Result:
    end = time.perf_counter() + SECONDS_PER_CASE
    timed(ours, device)  # warm up
    timed(plain, device)
    pairs: list[tuple[float, float]] = []
    while len(pairs) < RUNS[0] or (len(pairs) < RUNS[1] and time.perf_counter() < end):
        pairs.append((timed(ours, device), timed(plain, device)))
    mine, other = zip(*pairs, strict=True)
    ratio = statistics.median(p / o for o, p in pairs)
    median = statistics.median
    return Result(name, median(mine), min(mine), median(other), min(other), ratio, len(pairs))


def machine(device: torch.device) -> dict[str, object]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time pointadapt.ops against plain PyTorch.")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--threads", type=int, help="torch threads; default: torch's own choice")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    where = machine(args.device)
    title = " | ".join(f"{key} {value}" for key, value in where.items())
    table = Table("operation", "ours ms", "best", "plain ms", "best", "times", "runs", title=title)
    results = []
    for name, (ours, plain) in cases(args.device).items():
        r = compare(name, ours, plain, args.device)
        figures = (r.ours_ms, r.ours_best_ms, r.plain_ms, r.plain_best_ms, r.ratio)
        table.add_row(name, *(f"{x:.1f}" for x in figures), str(r.runs))
        results.append(asdict(r))
    Console().print(table)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": where, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
