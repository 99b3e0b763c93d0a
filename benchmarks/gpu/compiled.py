"""Compiled and captured steps beside those of today (stage `compiled`).

Each variant is a process of its own, so that all compile at once; they take turns at the device to
be timed. A variant's row has the first call's seconds, milliseconds a step, the peak memory of a
step, and how many kernels of which kind it takes. What failed keeps its whole traceback.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Variant:
    """One kind of step.

    Attributes:
        method: "dapt" or "full".
        batch: clouds.
        form: "graph" captured, "compiled" compiled and captured, "losses" for whether a compiled
            step trains as an eager one (without dropout), "attention" for torch's kernels of it.
        keep: as `--keep`.
        cached: after all others, with what they compiled.
        source: print what the compiler wrote to the log.
    """

    method: str
    batch: int
    form: str = "compiled"
    keep: str = "all"
    cached: bool = False
    source: bool = False

    @property
    def name(self) -> str:
        more = ["lean"] if self.keep == "lean" else []
        more += ["cached"] if self.cached else []
        return ", ".join([f"{self.method} {self.batch}", self.form, *more])


def variants(rehearse: bool) -> list[Variant]:
    """All of them, or two of each kind."""
    small, large = (2, 4) if rehearse else (32, 512)
    both = ("dapt", "full")
    out = [Variant("dapt", large, keep=k) for k in ("all", "lean")] + [Variant("full", large)]
    out += [Variant(m, small) for m in both]
    out += [Variant(m, b, "graph") for m in both for b in (small, large)]
    out += [Variant("dapt", large, "attention"), Variant("dapt", small, "losses")]
    out += [Variant("dapt", large, cached=True)]
    return out if not rehearse else [out[1], out[5], *out[-3:-1]]


# ---- one variant, in a process of its own


@contextmanager
def turn(lock: Path) -> Iterator[None]:
    """Alone at the device."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make(variant: Variant, rehearse: bool, compiled: bool) -> Any:
    import speed

    from pointadapt.training.step import GraphStep, Step

    graph = GraphStep if speed.GPU else Step
    return speed.ours(variant.method, graph, variant.keep, rehearse, compiled)


def data(batch: int, rehearse: bool) -> tuple[Any, Any]:
    import torch
    from speed import DEVICE

    torch.manual_seed(0)
    points = torch.randn(batch, 64 if rehearse else 2048, 3, device=DEVICE)
    points /= points.norm(dim=2).amax(dim=1)[:, None, None]
    return points, torch.randint(15, (batch,), device=DEVICE)


def timed_row(variant: Variant, rehearse: bool, lock: Path) -> dict[str, Any]:
    """Milliseconds, memory and kernels of a step."""
    import torch
    from speed import GPU, MIB, timed, wait

    points, labels = data(variant.batch, rehearse)
    began = time.perf_counter()
    step = make(variant, rehearse, variant.form == "compiled")
    step(points, labels)
    wait()
    row: dict[str, Any] = {"first_s": time.perf_counter() - began}
    with turn(lock):
        for _ in range(2):
            step(points, labels)
        wait()
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(3):  # the capture is the first of these
            step(points, labels)
        wait()
        if GPU:
            row["peak_MiB"] = torch.cuda.max_memory_allocated() / MIB
            row["captured"] = step.replay is not None
        times = sorted(timed(lambda: step(points, labels), 5) for _ in range(2 if rehearse else 9))
        row |= {"ms": times[len(times) // 2], "best_ms": times[0]}
        row["loss"] = step(points, labels)[0].item()
        row["kernels"] = kernels(lambda: step(points, labels))
    row |= {"compiled": counters(), "compile_s": compile_seconds()}
    return row


def counters() -> dict[str, int]:
    """What dynamo and inductor counted."""
    from torch._dynamo.utils import counters as counted
    from torch._inductor import metrics

    out = {f"{a} {k}": n for a in ("stats", "graph_break") for k, n in counted[a].items()}
    out |= {k: n for k, n in counted["inductor"].items() if "cache" in k}
    return out | {"kernels written": metrics.generated_kernel_count}


def compile_seconds() -> dict[str, float]:
    """Where the compiler's seconds went: its own functions, of which some call others."""
    from torch._dynamo.utils import compilation_time_metrics as spent

    total = {name: sum(times) for name, times in spent.items()}
    return {name: s for name, s in sorted(total.items(), key=lambda x: -x[1])[:14] if s > 0.5}


def kernels(call: Callable[[], object]) -> list[tuple[str, int, float]]:
    """Name, number and milliseconds of what one step runs, longest first."""
    from speed import GPU, wait
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CUDA if GPU else ProfilerActivity.CPU]
    with profile(activities=kinds) as found:
        call()
        wait()
    count: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for event in found.events() or ():
        took = event.device_time_total if GPU else event.self_cpu_time_total
        count[event.name] += 1
        spent[event.name] += took / 1e3  # type: ignore[assignment]
    return [(name, count[name], ms) for name, ms in spent.most_common()]


def losses_row(variant: Variant, rehearse: bool, lock: Path) -> dict[str, Any]:
    """Losses of eight steps, eager and compiled, from the same start and without dropout."""
    from speed import DEVICE
    from torch import nn

    out: dict[str, Any] = {"device": DEVICE.type}
    points, labels = data(variant.batch, rehearse)
    for name in ("eager", "compiled"):
        began = time.perf_counter()
        step = make(variant, rehearse, name == "compiled")
        for module in step.net.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        step.acc.unwrap_model(step.net).backbone.set_drop_path(0.0)
        out[name] = [step(points, labels)[0].item() for _ in range(8)]
        out[f"{name}_s"] = time.perf_counter() - began
    return out


def attention_row(variant: Variant, rehearse: bool, lock: Path) -> dict[str, Any]:
    """Milliseconds of a block's attention, forward and both ways, by kernel and tokens."""
    import torch
    import torch.nn.functional as F
    from speed import DEVICE, GPU, median_ms
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kinds = ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION") if GPU else ("MATH",)
    out: dict[str, Any] = {}
    with turn(lock):
        for kind, tokens in ((k, t) for k in kinds for t in (129, 135, 136, 141)):
            shape = variant.batch, tokens, 3, 6, 64
            qkv = torch.randn(shape, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)

            def forward(qkv: Any = qkv, kind: str = kind) -> Any:
                with sdpa_kernel(getattr(SDPBackend, kind)):
                    return F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))

            def both(forward: Callable[[], Any] = forward) -> None:
                y = forward()
                y.backward(y.detach())

            try:
                few = (2, 2, 1) if rehearse else (3, 5, 2)
                out[f"{kind} {tokens}"] = [median_ms(forward, *few), median_ms(both, *few)]
            except RuntimeError as error:
                out[f"{kind} {tokens}"] = str(error)[:200]
    return out


def child(args: argparse.Namespace) -> None:
    """Measure one variant and write its row."""
    variant = Variant(**json.loads(args.variant))
    row: dict[str, Any] = {"variant": variant.name}
    try:
        made = {"losses": losses_row, "attention": attention_row}.get(variant.form, timed_row)
        row |= made(variant, args.rehearse, Path(args.lock))
    except BaseException:
        row["failed"] = traceback.format_exc()
        print(row["failed"], flush=True)
    Path(args.out).write_text(json.dumps(row))


# ---- all of them


@dataclass
class Running:
    """A variant that has been started."""

    variant: Variant
    process: subprocess.Popen[bytes]
    out: Path
    log: Path


def cache_of(folder: Path) -> Path:
    """Where what is compiled is kept; not in ``folder``, which is brought home."""
    return folder.parent / f"{folder.name}-cache"


def start(variant: Variant, folder: Path, rehearse: bool, threads: int) -> Running:
    name = "-".join(variant.name.replace(",", "").split())
    out, log = folder / f"{name}.json", folder / f"{name}.log"
    command = [sys.executable, __file__, "--variant", json.dumps(vars(variant)), "--out", str(out)]
    command += ["--lock", str(folder / "lock"), *(["--rehearse"] if rehearse else [])]
    env = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    env |= {"TORCH_LOGS": "output_code"} if variant.source else {}
    env |= {"POINTADAPT_CACHE": str(cache_of(folder))}
    with open(log, "wb") as to:
        process = subprocess.Popen(command, stdout=to, stderr=subprocess.STDOUT, env=env)
    return Running(variant, process, out, log)


def measure(folder: Path, rehearse: bool, seconds: float) -> list[dict[str, Any]]:
    """The rows of all variants; those that take longer than ``seconds`` are stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(cache_of(folder), ignore_errors=True)
    until, rows = time.monotonic() + seconds, []
    threads = max(1, (os.cpu_count() or 1) // 4)
    for later in (False, True):
        some = [v for v in variants(rehearse) if v.cached == later]
        rows += collected([start(v, folder, rehearse, threads) for v in some], until)
    return rows


def collected(running: list[Running], until: float) -> list[dict[str, Any]]:
    """The rows of what is running, as each ends or is stopped."""
    rows = []
    for one in running:
        try:
            one.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
        row = json.loads(one.out.read_text()) if one.out.exists() else {}
        if not row:
            last = one.log.read_text(errors="replace").splitlines()[-5:]
            row = {"variant": one.variant.name, "failed": f"stopped; last said: {last}"}
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """What fits a screen of 12,000 characters, the most useful last."""
    for row in rows:
        if "failed" in row:
            print(f"{row['variant']}: FAILED\n{row['failed'][-1800:]}", flush=True)
    for row in rows:
        if row.get("kernels") and row["variant"].startswith(("dapt 512", "full 512", "dapt 4")):
            total = sum(ms for *_, ms in row["kernels"])
            count = sum(n for _, n, _ in row["kernels"])
            print(f"-- {row['variant']}: {count} kernels, {total:.2f} ms")
            for name, n, ms in row["kernels"][:14]:
                print(f"   {ms:8.3f} {n:4d} {name[:88]}")
    for row in rows:
        brief = {k: v for k, v in row.items() if k not in ("kernels", "failed")}
        print(json.dumps(rounded(brief)), flush=True)


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    parser = argparse.ArgumentParser()
    for option in ("variant", "out", "lock"):
        parser.add_argument(f"--{option}")
    parser.add_argument("--rehearse", action="store_true")
    child(parser.parse_args())
