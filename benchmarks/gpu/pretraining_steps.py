"""Steps of pre-training, eager, captured and compiled (stage `rates`).

Each kind is a process of its own, so that one that fails stops no other; they take turns at the
device to be timed, and what is compiled comes last. A row has

- `first_s`: seconds of the first step, in which the compiler works,
- `ms`: milliseconds of a step whose inputs lie on the device, drawn and augmented,
- `drawn_ms`: the same with clouds that lie there, but are augmented and masked anew in each step,
- `loader`: by the number of workers, clouds a second of steps that take their clouds from the
  loader, and of the loader with most workers alone,
- `losses`: of eight steps of one batch, which should be the same in all rows up to rounding,
- `peak_MiB`, `kernels` (name, number, milliseconds in one step), and `failed` or `gave_up`, a whole
  traceback, where something did.

Half of the clouds are those of the stream, with labels and attributes; half are random points in
the form of ModelNet40, 1,024 of 2,048 drawn anew each time. So nothing has to be brought along.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPS = ("eager", "graph", "compile")
SKIPPED, SECONDS = 40, 4  # batches of the loader before it is timed, and how long it is


@dataclass(frozen=True)
class Variant:
    """One kind of step, as `--step` calls it."""

    name: str


def workers(rehearse: bool) -> list[int]:
    return [1] if rehearse else [14, 8]


# ---- one kind, in a process of its own


def stand_in(folder: Path, rehearse: bool) -> Path:
    """Random clouds in the form of ModelNet40."""
    import numpy as np

    from pointadapt.core.files import atomic
    from pointadapt.data.sets.modelnet40 import CLASSES

    rng, n, points = np.random.default_rng(0), 40 if rehearse else 4000, 128 if rehearse else 2048
    folder = folder / "modelnet40"
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        path = folder / f"{split}.npz"
        if not path.exists():
            with atomic(path) as temporary, open(temporary, "wb") as file:
                np.savez(
                    file, points=rng.normal(size=(n, points, 3)).astype(np.float16),
                    label=np.arange(n).astype(np.uint8) % 40, class_names=np.array(CLASSES),
                    id=np.array([f"{split}_{i:04d}" for i in range(n)]),
                )  # fmt: skip
    return folder


def config(step: str, folder: Path, rehearse: bool) -> Any:
    from pointadapt.backbones.point_vit import PointViT, PointViTConfig
    from pointadapt.core.config import PretrainConfig

    size: dict[str, Any] = {"size": "small", "groups": 64, "batch_size": 512, "precision": "bf16"}
    if rehearse:
        PointViT.sizes["tiny"] = PointViTConfig(dim=24, depth=1, heads=2, encoder_widths=(8, 8, 8))
        size = {"size": "tiny", "groups": 8, "group_size": 8, "points": 64, "batch_size": 8,
                "decoder_depth": 1}  # fmt: skip
    return PretrainConfig(
        data=("modelnet40", "shapes"), root=stand_in(folder, rehearse), steps=10**6, step=step,
        weights=("modelnet40=0.5", "shapes=0.5"), available=128 if rehearse else 2048,
        label_weight=0.03, attribute_weight=0.005, augment=("scale_shift", "rotate_z"), **size,
    )  # fmt: skip


class Bench:
    """What a run of pre-training makes of a configuration, without its loop."""

    def __init__(self, config: Any, row: dict[str, Any]) -> None:
        import torch

        from pointadapt.core.machine import make_accelerator
        from pointadapt.pretraining.objectives import make_objective
        from pointadapt.pretraining.setup import make_optimizer
        from pointadapt.pretraining.step import make_step

        torch.manual_seed(0)
        self.config, self.row = config, row
        acc = make_accelerator(config.precision)
        self.device = acc.device
        self.objective = make_objective(config, acc)
        net = self.objective.net.to(acc.device).train()
        self.step: Any = make_step(config, self.objective, net, make_optimizer(config, net), acc)
        if hasattr(self.step, "record"):
            self.step.record = self.traced(self.step.record)
        self.batch = self.there(self.objective.source[0])
        self.inputs = self.objective.inputs(0, *self.batch)
        self.step.set_lr(1e-4)

    def traced(self, record: Callable[..., Any]) -> Callable[..., Any]:
        """``record``, which leaves the whole traceback of what it raises."""

        def call(body: Any) -> Any:
            try:
                return record(body)
            except BaseException:
                self.row["gave_up"] = traceback.format_exc()
                raise

        return call

    def there(self, batch: Any) -> list[Any]:
        return [part.to(self.device, non_blocking=True) for part in batch]

    def fixed(self) -> Any:
        return self.step(**self.inputs)

    def drawn(self, number: int = 0, batch: Any = None) -> Any:
        return self.step(**self.objective.inputs(number, *(batch or self.batch)))


def measure(bench: Bench, count: list[int], rehearse: bool, lock: Path) -> Iterator[dict[str, Any]]:
    """What is known of a kind of step, bit by bit: so that what comes later may fail."""
    import torch
    from compiled import compile_seconds, counters, kernels, turn
    from speed import GPU, MIB, timed, wait

    began = time.perf_counter()
    losses = [bench.fixed()[0].clone()]
    wait()
    yield {"first_s": time.perf_counter() - began, "compile_s": compile_seconds()}
    with turn(lock):
        losses += [bench.fixed()[0].clone() for _ in range(2)]
        wait()
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        losses += [bench.fixed()[0].clone() for _ in range(5)]  # the first of these is captured
        wait()
        yield {"losses": torch.stack(losses).tolist()}
        if GPU:
            peak, step = torch.cuda.max_memory_allocated() / MIB, bench.step
            yield {"peak_MiB": peak, "captured": getattr(step, "replay", None) is not None}
        few = 2 if rehearse else 7
        times = sorted(timed(bench.fixed, 5) for _ in range(few))
        yield {"ms": times[len(times) // 2], "best_ms": times[0]}
        times = sorted(timed(bench.drawn, 5) for _ in range(few))
        yield {"drawn_ms": times[len(times) // 2]}
        rates: dict[str, Any] = {}
        for some in count if bench.config.step == "compile" else count[:1]:
            rates[f"{some} workers"] = through_loader(bench, some, bench.drawn, rehearse)
            yield {"loader": rates}
        if bench.config.step == "compile":
            rates["alone"] = through_loader(bench, count[0], None, rehearse)
            yield {"loader": rates}
        yield {"kernels": kernels(bench.fixed)[:40], "compiled": counters()}


def through_loader(bench: Bench, count: int, step: Any, rehearse: bool) -> float:
    """Clouds a second with ``count`` workers, once what was made ahead is used up."""
    from speed import GPU, wait

    from pointadapt.pretraining.batches import loader

    skipped, seconds = (2, 0.5) if rehearse else (SKIPPED, SECONDS)
    batches = loader(bench.objective.source, range(10**6), count, pin=GPU)
    began = end = 0.0
    for number, batch in enumerate(batches):
        if step is not None:
            step(number, bench.there(batch))
        if number == skipped:
            wait()
            began = time.perf_counter()
        if number > skipped and time.perf_counter() - began > seconds:
            wait()
            end = time.perf_counter()
            break
    return (number - skipped) * bench.config.batch_size / (end - began)


def child(args: argparse.Namespace) -> None:
    """Measure one kind and write its row, as far as it got."""
    row: dict[str, Any] = {"variant": args.variant}
    out = Path(args.out)
    try:
        made = config(args.variant, Path(args.data), args.rehearse)
        for more in measure(
            Bench(made, row), workers(args.rehearse), args.rehearse, Path(args.lock)
        ):
            row |= more
            out.write_text(json.dumps(row))
    except BaseException:
        row["failed"] = traceback.format_exc()
        print(row["failed"], flush=True)
    out.write_text(json.dumps(row))


# ---- all of them


def rows(folder: Path, data: Path, rehearse: bool, seconds: float) -> list[dict[str, Any]]:
    """The rows of all kinds; those that take longer than ``seconds`` are stopped."""
    from compiled import Running, cache_of, collected

    folder.mkdir(parents=True, exist_ok=True)
    stand_in(data, rehearse)
    until, running = time.monotonic() + seconds, []
    for name in STEPS:
        out, log = folder / f"{name}.json", folder / f"{name}.log"
        out.unlink(missing_ok=True)
        command = [sys.executable, __file__, "--variant", name, "--out", str(out), "--data"]
        command += [str(data), "--lock", str(folder / "lock"), *["--rehearse"] * rehearse]
        env = os.environ | {"PYTHONUNBUFFERED": "1", "POINTADAPT_CACHE": str(cache_of(folder))}
        with open(log, "wb") as to:
            process = subprocess.Popen(command, stdout=to, stderr=subprocess.STDOUT, env=env)
        running.append(Running(Variant(name), process, out, log))  # type: ignore[arg-type]
    return collected(running, until)


def show(found: list[dict[str, Any]]) -> None:
    """A table, and before it what failed."""
    for row in found:
        for key in ("failed", "gave_up"):
            if key in row:
                print(f"{row['variant']} {key}:\n{row[key][-2500:]}", flush=True)
    for row in found:
        for name, n, ms in row.get("kernels", [])[:14]:
            print(f"   {row['variant']}: {ms:8.3f} {n:4d} {name[:80]}")
    columns = ("first_s", "ms", "drawn_ms", "peak_MiB")
    print("step     " + "".join(f"{c:>10}" for c in columns) + "  clouds/s by workers")
    for row in found:
        values = "".join(f"{row[c]:10.1f}" if c in row else f"{'-':>10}" for c in columns)
        rates = {name: round(rate) for name, rate in row.get("loader", {}).items()}
        print(f"{row['variant']:9}{values}  {rates}")
        print(f"         losses {[round(x, 4) for x in row.get('losses', [])]}")


if __name__ == "__main__":
    here = Path(__file__).parent
    sys.path[:0] = [str(here), str(here.parent)]
    parser = argparse.ArgumentParser()
    for option in ("variant", "out", "lock", "data"):
        parser.add_argument(f"--{option}")
    parser.add_argument("--rehearse", action="store_true")
    child(parser.parse_args())
