"""Speed and memory of a training step and of the geometry, on the device (stage `speed`).

Models are `small` with 128 patches of 2,048 points, 15 classes, DAPT of rank 64 (the recipe of
PB_T50_RS), random clouds. The variants of a batch size take turns, timed by CUDA events around
several steps. "mfu" is the model's own floating-point operations (counted by torch's FlopCounter,
nothing recomputed) over time, over the rate of a large bf16 matrix product measured here.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

import _models
from pointadapt import ops
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.machine import make_accelerator
from pointadapt.methods import make_method
from pointadapt.ops import _kernels
from pointadapt.ops._distance import split_axes
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task
from pointadapt.training.step import GraphStep, Step, TaskLosses

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
MIB = 2.0**20
Call = Callable[[], object]


def wait() -> None:
    if GPU:
        torch.cuda.synchronize()


def timed(call: Call, count: int) -> float:
    """Milliseconds a call, over ``count`` in a row."""
    if not GPU:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) * 1e3 / count
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / count


def median_ms(call: Call, rounds: int = 7, count: int = 10, warm_up: int = 3) -> float:
    for _ in range(warm_up):
        call()
    wait()
    return statistics.median(timed(call, count) for _ in range(rounds))


def replayed(call: Call) -> Call:
    """``call`` as a CUDA graph, so that launches from Python are not what is timed."""
    if not GPU:
        return call
    for _ in range(3):
        call()
    wait()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


# ---- ceilings


def ceilings(rehearse: bool) -> dict[str, float]:
    """What the device gives at most: copied bytes (read and written) and bf16 FLOP/s."""
    n = 256 if rehearse else 8192
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    product = median_ms(lambda: a @ b)
    x = torch.empty(2**20 if rehearse else 2**31, device=DEVICE, dtype=torch.uint8).random_()
    y = torch.empty_like(x)
    copy = median_ms(lambda: y.copy_(x))
    return {
        "copy_bytes_per_s": 2 * x.numel() / copy * 1e3,
        "bf16_flop_per_s": 2 * n**3 / product * 1e3,
    }


# ---- geometry


def geometry(top: dict[str, float], rehearse: bool) -> list[dict[str, Any]]:
    """Times of sampling, search and grouping; the bound is each tensor moved once."""
    b = 2 if rehearse else 32
    rows = []
    sizes = ((1024, 64, 32), (2048, 128, 32), (8192, 1200, 32))
    for n, m, k in ((64, 8, 8),) if rehearse else sizes:
        points = torch.randn(b, n, 3, device=DEVICE)
        axes = split_axes(points)
        picked = ops.farthest_point_sample(points, m, check=False)
        centers = ops.gather_points(points, picked)
        fast = _kernels.kernels(axes)
        for name, call in cases(points, centers, m, k).items():
            moved = b * n * 12 + b * m * (8 if name == "sampling" else k * 12)
            row = {"what": f"{name} {b} x {n} -> {m}", "ms": median_ms(call)}
            row["bound_ms"] = moved / top["copy_bytes_per_s"] * 1e3
            if fast is not None:  # the plain search waits for the device: no graph without kernels
                row["graph_ms"] = median_ms(replayed(call))
            row["plain_ms"] = plainly(call)
            rows.append(row)
        if fast is not None:
            rows += sweep(fast, axes, split_axes(centers), m, k)
    return rows


def cases(points: Tensor, centers: Tensor, m: int, k: int) -> dict[str, Call]:
    """What is timed: "grouping" is the search and the gathering around given centres."""

    def grouping() -> Tensor:
        index = ops.knn(centers, points, k, check=False)[1]
        return ops.gather_points(points, index) - centers.unsqueeze(2)

    return {
        "sampling": lambda: ops.farthest_point_sample(points, m, check=False),
        "grouping": grouping,
        "both": lambda: ops.group(points, m, k, check=False),
    }


def plainly(call: Call) -> float:
    """Milliseconds of the PyTorch code that the kernels replace."""
    with mock.patch.dict(os.environ, POINTADAPT_TRITON="0"):
        return median_ms(call, rounds=3, count=3)


def sweep(fast: Any, axes: Tensor, at: Tensor, m: int, k: int) -> list[dict[str, Any]]:
    """The kernels alone with other numbers of warps, to choose the defaults by."""
    rows, n = [], axes.shape[2]
    for warps in (1, 2, 4, 8, 16, 32):
        for name, call in (
            ("sampling", lambda w=warps: fast.sample(axes, m, 0, True, w)),
            ("search", lambda w=warps: fast.nearest(at, axes, k, w)),
        ):
            if n // warps > 16 * 1024:
                continue
            row = {"what": f"kernel {name} n={n} m={m}", "warps": warps}
            rows.append(row | {"graph_ms": median_ms(replayed(call), rounds=3)})
    return rows


# ---- training steps


def make_model(method: str, rehearse: bool) -> PointModel:
    torch.manual_seed(0)
    size = {"dim": 24, "depth": 2, "heads": 2, "groups": 8, "group_size": 8} if rehearse else {}
    net = load_backbone("point_vit:small", **({"groups": 128} | size))
    net.set_drop_path(0.2)
    options = {"dropout": 0.2} if method == "dapt" else {}
    task = make_task("classification", {"dropout": 0.5})
    adapter = Adapter(net, make_method(method, options), task, _models.CLASSES)
    return PointModel(net, adapter).to(DEVICE).train()


def ours(method: str, cls: type[Step], keep: str, rehearse: bool, compiled: bool = False) -> Step:
    """A step as `pointadapt train --precision bf16` makes it."""
    acc = make_accelerator("bf16")
    model = make_model(method, rehearse)
    model.keep = keep  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(model.parameter_groups(0.05), lr=5e-4, fused=True)
    net, optimizer = acc.prepare(model, optimizer)
    step = cls(TaskLosses(net, model, model.adapter.task, acc), net, optimizer, acc, 10.0)
    step.set_lr(5e-4)
    if compiled:
        step.losses.compile(must=True)
    return step


def plain(precision: str, rehearse: bool) -> Callable[..., object]:
    return _models.Step(make_model("dapt", rehearse), precision, plain=True, keep="all")


def steps_of(rehearse: bool, compile_too: bool) -> dict[str, Callable[[], Callable[..., object]]]:
    graph = GraphStep if GPU else Step
    out: dict[str, Callable[[], Callable[..., object]]] = {
        "plain DAPT, fp32": lambda: plain("fp32", rehearse),
        "plain DAPT, bf16": lambda: plain("bf16", rehearse),
        "DAPT, eager, lean, bf16": lambda: ours("dapt", Step, "lean", rehearse),
        "DAPT, eager, keep all, bf16": lambda: ours("dapt", Step, "all", rehearse),
        "DAPT, eager, recompute, bf16": lambda: ours("dapt", Step, "recompute", rehearse),
        "DAPT, graph, bf16": lambda: ours("dapt", graph, "all", rehearse),
        "DAPT, graph, lean, bf16": lambda: ours("dapt", graph, "lean", rehearse),
        "full, eager, bf16": lambda: ours("full", Step, "all", rehearse),
        "full, graph, bf16": lambda: ours("full", graph, "all", rehearse),
        "linear probe, graph, bf16": lambda: ours("linear_probe", graph, "all", rehearse),
    }
    if compile_too:
        out["DAPT, compiled, graph, bf16"] = lambda: ours("dapt", graph, "all", rehearse, True)
    return out


def operations(method: str, points: Tensor, rehearse: bool) -> int:
    """Floating-point operations of forward and backward of one cloud."""
    model = make_model(method, rehearse)
    model.keep = "all"
    with FlopCounterMode(display=False) as counter:
        out = model(points[:2])
        model.adapter.task.loss(out, torch.zeros(2, dtype=torch.int64, device=DEVICE)).backward()
    return counter.get_total_flops() // 2


def training(
    batch: int, top: dict[str, float], rehearse: bool, compile_too: bool, seconds: float
) -> list[dict[str, Any]]:
    """One row a variant."""
    n = 64 if rehearse else 2048
    points = torch.randn(batch, n, 3, device=DEVICE)
    points /= points.norm(dim=2).amax(dim=1)[:, None, None]
    labels = torch.randint(15, (batch,), device=DEVICE)
    flops = {m: operations(m, points, rehearse) for m in ("dapt", "full", "linear_probe")}
    calls: dict[str, Call] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name, build in steps_of(rehearse, compile_too).items():
        row: dict[str, Any] = {"variant": name, "batch": batch}
        rows[name] = row
        gc.collect()
        if GPU:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        try:
            start, step = time.perf_counter(), build()
            for _ in range(5):
                step(points, labels)
            wait()
        except (RuntimeError, torch.OutOfMemoryError) as error:
            row["failed"] = str(error).splitlines()[0]
            continue
        row["first_five_s"] = time.perf_counter() - start
        if GPU:
            row["peak_MiB"] = (torch.cuda.max_memory_allocated() - before) / MIB
        if isinstance(step, GraphStep):
            row["captured"] = step.replay is not None
        calls[name] = lambda s=step: s(points, labels)
    take_turns(calls, rows, seconds)
    first = rows["plain DAPT, fp32"].get("ms")
    for name, row in rows.items():
        if "ms" not in row:
            continue
        method = "full" if "full" in name else "linear_probe" if "probe" in name else "dapt"
        row["clouds_per_s"] = batch / row["ms"] * 1e3
        row["gflop_per_cloud"] = flops[method] / 1e9
        row["mfu"] = flops[method] * batch / (row["ms"] / 1e3) / top["bf16_flop_per_s"]
        if first:
            row["against_plain_fp32"] = row["ms"] / first
    return list(rows.values())


def take_turns(calls: dict[str, Call], rows: dict[str, dict[str, Any]], seconds: float) -> None:
    """A, B, C, A, B, C, ..., three rounds at least; the median of the rounds goes to "ms"."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while calls and (len(next(iter(times.values()))) < 3 or time.perf_counter() < end):
        for name, call in calls.items():
            times[name].append(timed(call, 5))
    for name, row in times.items():
        rows[name] |= {"ms": statistics.median(row), "best_ms": min(row), "rounds": len(row)}


def measure(
    rehearse: bool, batches: list[int], compile_too: bool, seconds: float
) -> Iterator[dict[str, Any]]:
    """All figures of the stage, as far as they are known: after each batch size."""
    top = ceilings(rehearse)
    out: dict[str, Any] = {"ceilings": top, "geometry": geometry(top, rehearse), "steps": []}
    for batch in batches:
        out["steps"] += training(batch, top, rehearse, compile_too, seconds)
        gc.collect()
        yield out
