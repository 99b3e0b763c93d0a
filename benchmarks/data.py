"""How fast clouds come: the procedural stream on a core, and batches out of the loader.

    python benchmarks/data.py [--workers 1 2 4] [--roots modelnet40=DIR shapedb=DIR]
                              [--batch-size 128] [--seconds 5] [--json benchmarks/results/data.json]

"on one core" is clouds a second of processor time in this process, for the stream's parts and, with
--roots, for those data sets. "loader" is clouds a second of wall time through the loader that
pre-training uses, of the mixture of all of them: what training would get if it took no time itself.
The loader runs for --seconds after its first batch. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from pointadapt.config import PretrainConfig
from pointadapt.data._mixture import CloudBatches, make_source
from pointadapt.data.shapes import ShapeStream
from pointadapt.runtime import describe_machine


def on_one_core(make: Callable[[int, int], object], batch: int, seconds: float) -> float:
    """Clouds a second of processor time, over at least three calls after a first one."""
    make(0, batch)
    began, calls = time.process_time(), 0
    while calls < 3 or time.process_time() - began < seconds:
        calls += 1
        make(calls * batch, batch)
    return calls * batch / (time.process_time() - began)


def through_loader(config: PretrainConfig, seconds: float) -> float:
    """Clouds a second of wall time from the loader, whose start is not counted."""
    from pointadapt.pretrain import loader

    batches = iter(loader(CloudBatches(config), range(config.steps), config.workers, pin=False))
    for _ in range(max(1, config.workers)):  # each worker's first, while it starts
        next(batches)
    began, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - began < seconds:
        next(batches)
        count += 1
    return count * config.batch_size / (time.perf_counter() - began)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--roots", nargs="*", default=[])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    names = tuple(root.partition("=")[0] for root in args.roots)
    config = PretrainConfig(
        data=(*names, "shapes"), roots=tuple(args.roots), points=args.points,
        available=2 * args.points, batch_size=args.batch_size, steps=10**6,
    )  # fmt: skip
    sources = {
        f"stream, {int(100 * share)} % assemblies": ShapeStream(0, args.points, share).described
        for share in (0.0, 0.6, 1.0)
    }
    if names:
        mixed = make_source(config)
        sources |= dict(zip(names, (s.described for s in mixed.sources), strict=False))
        sources["mixture"] = mixed.described
    rates = {
        f"{name}, on one core": on_one_core(make, args.batch_size, args.seconds)
        for name, make in sources.items()
    }
    for workers in args.workers:
        some = PretrainConfig(**{**vars(config), "workers": workers})
        rates[f"loader, {workers} workers"] = through_loader(some, args.seconds)
    table = Table(
        "clouds", "a second", title=f"batches of {args.batch_size} × {args.points} points"
    )
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}")
    Console().print(table)
    if args.json:
        values = {"machine": describe_machine(), "batch_size": args.batch_size,
                  "points": args.points, "clouds_per_second": rates}  # fmt: skip
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
