"""Several runs in one step, beside one captured run alone (stage `together`).

The bundled `tiny` network, batch 32, 256 points in 16 patches or 1,024 in 64: milliseconds of a
step of K models stacked, captured on a GPU, and what that is for each of them, over a step alone.
Then whole epochs of K runs as the commands train them, batches made anew included.

`python benchmarks/gpu/together.py` measures K = 5 on one thread of a CPU, where steps are eager and
in float32: the least of five, in turns, of the processor's own time.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from compiled import kernels
from speed import DEVICE, GPU, MIB, median_ms, timed, wait

import _models
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.config import TrainConfig
from pointadapt.core.machine import make_accelerator
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task
from pointadapt.training.capture import GraphStep, Step
from pointadapt.training.stacked import Stacked
from pointadapt.training.step import make_step as make_one
from pointadapt.training.together import (
    StackedGraphStep,
    StackedLosses,
    StackedStep,
    train_together,
)
from pointadapt.training.trainer import train_in

Call = Callable[[], object]
METHODS = ("dapt", "full")
SIZES = {256: 16, 1024: 64}  # points: patches
COUNTS = (1, 2, 5, 10)
PRECISION = "bf16" if GPU else "fp32"
LR = 5e-4


def make_model(method: str, groups: int, seed: int, rehearse: bool, drop: bool) -> PointModel:
    torch.manual_seed(seed)
    size = {**_models.MICRO, "encoder_widths": (8, 16, 16)} if rehearse else {"groups": groups}
    net = load_backbone("point_vit:tiny" if rehearse else "tiny", **size)
    net.set_drop_path(0.1 if drop else 0.0)
    task = make_task("classification", {"dropout": 0.5 if drop else 0.0})
    adapter = Adapter(net, make_method(method), task, _models.CLASSES)
    return PointModel(net, adapter).to(DEVICE).train()


def make_step(
    method: str, groups: int, seeds: Sequence[int], rehearse: bool, drop: bool = True
) -> StackedStep:
    """The step of runs with these ``seeds``."""
    acc = make_accelerator(PRECISION)
    models = [make_model(method, groups, seed, rehearse, drop) for seed in seeds]
    optimizers = [
        torch.optim.AdamW(model.parameter_groups(0.05), lr=LR, fused=True) for model in models
    ]
    ready = [acc.prepare(m, o) for m, o in zip(models, optimizers, strict=True)]
    optimizers, task = [optimizer for _, optimizer in ready], models[0].adapter.task
    stack = StackedGraphStep if GPU else StackedStep
    step = stack(StackedLosses(Stacked(models), task, acc), optimizers, acc, 10.0)
    step.set_lrs([LR] * len(seeds))
    return step


def make_alone(
    method: str, groups: int, seed: int, rehearse: bool, drop: bool = True
) -> Step:  # fmt: skip
    """One run's step as it is without others."""
    acc, model = make_accelerator(PRECISION), make_model(method, groups, seed, rehearse, drop)
    optimizer = torch.optim.AdamW(model.parameter_groups(0.05), lr=LR, fused=True)
    net, optimizer = acc.prepare(model, optimizer)
    step = make_one("graph" if GPU else "eager", model, net, optimizer, acc, clip=10.0)
    step.set_lr(LR)
    return step


def alone(method: str, points: int, groups: int, rehearse: bool) -> tuple[Call, Step]:
    step, batch = make_alone(method, groups, 0, rehearse), clouds(1, points, rehearse)
    return lambda: step(batch[0][0], batch[1][0]), step


def together(
    method: str, points: int, groups: int, count: int, rehearse: bool
) -> tuple[Call, Step]:  # fmt: skip
    step = make_step(method, groups, range(count), rehearse)
    batch = clouds(count, points, rehearse)
    return lambda: step(*batch), step


def clouds(count: int, points: int, rehearse: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Batches (K, B, N, 3) and (K, B)."""
    size = (count, 4 if rehearse else 32)
    x = torch.randn(*size, 64 if rehearse else points, 3, device=DEVICE)
    return x / x.norm(dim=-1).amax(dim=-1)[..., None, None], torch.randint(15, size, device=DEVICE)


def row_of(make: Callable[[], tuple[Call, Step]], profiled: bool) -> dict[str, Any]:
    """Milliseconds, peak memory and, if ``profiled``, the kernels of a step."""
    gc.collect()
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            call, step = make()
            first = time.perf_counter()
            for _ in range(5):
                call()
            wait()
        row: dict[str, Any] = {"first_five_s": time.perf_counter() - first}
        row["ms"] = median_ms(call, 5, 10) if GPU else min(timed(call, 1) for _ in range(3))
        if warned:  # what is not captured, and what vmap does one by one
            row["warned"] = sorted({str(w.message).splitlines()[0][:200] for w in warned})
        if GPU:
            row["peak_MiB"] = torch.cuda.max_memory_allocated() / MIB
        if isinstance(step, GraphStep):
            row["captured"] = step.replay is not None
        return row | (longest(call) if profiled and GPU else {})
    except Exception:  # the others go on
        print(traceback.format_exc(), flush=True)
        return {"failed": traceback.format_exc()}


def longest(call: Call) -> dict[str, Any]:
    """How many kernels a step has, and which take longest: (name, calls, ms)."""
    seen = kernels(call)
    count, spent = sum(n for _, n, _ in seen), sum(ms for _, _, ms in seen)
    most = [(name[:90], n, round(ms, 4)) for name, n, ms in seen[:20]]
    return {"kernels": count, "kernels_ms": spent, "longest": most}


def steps(rehearse: bool, counts: tuple[int, ...] = COUNTS) -> list[dict[str, Any]]:
    """A row for each method, size and number of runs, with times of one run over one alone."""
    rows = []
    sizes = {64: 8} if rehearse else SIZES
    for points, groups in sizes.items():
        for method in METHODS:
            one = row_of(lambda: alone(method, points, groups, rehearse), True)  # noqa: B023
            rows.append({"method": method, "points": points, "runs": "alone", **one})
            for count in counts:
                make = lambda: together(method, points, groups, count, rehearse)  # noqa: B023, E731
                row = row_of(make, count == 5)
                if "ms" in row and "ms" in one:
                    row["of_alone"] = row["ms"] / count / one["ms"]
                rows.append({"method": method, "points": points, "runs": count, **row})
                show(rows[-1])
    return rows


def show(row: dict[str, Any]) -> None:
    print({k: v for k, v in row.items() if k not in ("longest", "failed")}, flush=True)


def agree(rehearse: bool, count: int = 3, steps: int = 20) -> list[dict[str, Any]]:
    """Losses of runs together and alone, without draws, on the same clouds in every step."""
    rows = []
    for method in METHODS:
        try:
            points, target = clouds(count, 256, rehearse)
            step = make_step(method, 16, range(count), rehearse, drop=False)
            many = torch.stack([step(points, target)[0].clone() for _ in range(steps)]).cpu()
            for k in range(count):
                own = make_alone(method, 16, k, rehearse, drop=False)
                one = torch.stack([own(points[k], target[k])[0].clone() for _ in range(steps)])
                apart = (one.cpu() - many[:, k]).abs()
                rows.append({"method": method, "seed": k, "apart": apart.tolist()})
                rows[-1] |= {"first": float(one[0]), "last": float(one[-1])}
        except Exception:
            rows.append({"method": method, "failed": traceback.format_exc()})
        print(rows[-1], flush=True)
    return rows


def whole(rehearse: bool, count: int = 5) -> list[dict[str, Any]]:
    """Seconds of an epoch of one run, and of ``count`` together for each of them."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            out=Path(folder), data="shapes", points=64 if rehearse else 256, groups=16,
            group_size=16 if rehearse else 32, epochs=2 if rehearse else 5, tensorboard=False,
            step="graph" if GPU else "eager", precision=PRECISION, baseline=False,
            shots=2 if rehearse else 0,
        )  # fmt: skip
        for method in METHODS:
            one = replace(config, method=method, out=config.out / f"{method}-alone")
            runs = [replace(one, seed=k, out=config.out / f"{method}{k}") for k in range(count)]
            try:
                train_in(one)
                train_together(runs)
                own, shared = (epoch_seconds(run.out) for run in (one, runs[0]))
                row = {"alone_s": own, "together_s": shared, "of_alone": shared / own}
            except Exception:
                row = {"failed": traceback.format_exc()}
                print(row["failed"], flush=True)
            rows.append({"method": method, "runs": count, "whole": "an epoch's seconds", **row})
            show(rows[-1])
    return rows


def epoch_seconds(out: Path) -> float:
    """Of the epochs after the first."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return (rows[-1]["seconds"] - rows[0]["seconds"]) / (len(rows) - 1)


def measure(rehearse: bool) -> dict[str, Any]:
    """All figures of the stage."""
    return {
        "precision": PRECISION, "steps": steps(rehearse), "agree": agree(rehearse),
        "whole": whole(rehearse),
    }  # fmt: skip


def processor_ms(call: Call) -> float:
    """What a call takes of the processor, whoever else wants it."""
    began = time.process_time()
    call()
    return (time.process_time() - began) * 1e3


def on_cpu(count: int = 5, rounds: int = 5) -> None:
    """One step alone and one of ``count`` in turns; prints seconds, and the time of one of many."""
    torch.set_num_threads(1)
    for points, groups in SIZES.items():
        for method in METHODS:
            calls = [alone(method, points, groups, False)[0]]
            calls += [together(method, points, groups, count, False)[0]]
            times = [[processor_ms(call) for call in calls] for _ in range(rounds + 1)][1:]
            one, many = (min(column) for column in zip(*times, strict=True))
            row = {"method": method, "points": points, "runs": count, "alone_ms": one, "ms": many}
            show(row | {"of_alone": many / count / one})


if __name__ == "__main__":
    on_cpu()
