"""How fast clouds come: training batches against the step, the cache, the procedural stream.

    python benchmarks/data.py [--seconds 3] [--workers 1 2] [--roots modelnet40=DIR shapedb=DIR]
                              [--parts prepare cache stream]

- prepare: what fine-tuning does to a batch before the step (rows out of the data set, normalise,
  resample, augment), as clouds a second, and how many times that is what the step of `small` and
  of `tiny` (bfloat16, batch 32) takes. 2,048 stored points of which 2,048 enter the network, and
  8,192 of which 1,024 do (farthest point sampling in the first epoch).
- cache: 200 .las and 200 .obj files through the data set "folder": read, read while the cache is
  written, and out of the cache, sha256 checked.
- stream: clouds a second of processor time of the procedural stream and, with --roots, of those
  data sets; and of wall time through the loader that pre-training uses, after its first batches.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _measure import TOY, once, parser, report, start
from _models import Step, clouds, labels, make_model
from pointadapt.core.config import PretrainConfig
from pointadapt.data import load_dataset
from pointadapt.data.sets.shapes import ShapeStream
from pointadapt.data.transforms import augment, resample
from pointadapt.io import Cloud, write_cloud
from pointadapt.ops import normalize
from pointadapt.pretraining.batches import CloudBatches, loader
from pointadapt.pretraining.mixture import make_source
from pointadapt.training.sampled_once import FirstPoints

BATCH = 4 if TOY else 32
AUGMENT = ("scale_shift", "rotate")


def median_of(call: Callable[[], object], seconds: float, cuda: bool) -> float:
    """Median seconds of a call, at least three after a first one."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        times.append(once(call, cuda))
    return float(np.median(times))


def prepare_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Preparing a batch as `pointadapt.training.trainer` does, and the steps that it feeds."""
    cuda, device = args.device.startswith("cuda"), args.device
    needs = {}
    for size, groups, n in (("small", 128, 2048), ("tiny", 64, 1024)):
        step = Step(make_model("dapt", size=f"point_vit:{size}", groups=groups, device=device),
                    "bf16")  # fmt: skip
        data = clouds(BATCH, device, n=n), labels(BATCH, device)
        needs[size] = BATCH / median_of(lambda s=step, d=data: s(*d), args.seconds, cuda)
    rows = []
    ways = (
        ("", 2048, 2048, True),
        (", first epoch", 8192, 1024, False),
        (", later", 8192, 1024, True),
    )
    ways = (("", 64, 32, True), (", first epoch", 64, 32, False)) if TOY else ways
    for epoch, stored, n, known in ways:
        points = clouds(2 * BATCH, n=stored).numpy()
        first, draw = FirstPoints(len(points), n), torch.Generator().manual_seed(0)
        rng = np.random.default_rng(0)

        def prepare(  # all bound now, for the linter's peace
            points: Any = points, n: int = n, draw: Any = draw, rng: Any = rng,
            first: FirstPoints = first, known: bool = known,
        ) -> object:  # fmt: skip
            at = rng.permutation(len(points))[:BATCH]
            first.known &= known
            batch = normalize(torch.from_numpy(points[at]).to(device).float())
            return augment(resample(first(at, batch), n, draw), AUGMENT, draw)

        for _ in range(8 * known):  # until every cloud has come
            prepare()
        rate = BATCH / median_of(prepare, args.seconds, cuda)
        rows.append(
            {
                "what": f"prepare {n} of {stored} points{epoch}", "clouds_per_s": rate,
                "times_the_need_of_small": rate / needs["small"],
                "times_the_need_of_tiny": rate / needs["tiny"],
            }
        )  # fmt: skip
    return rows


def write_slow_files(root: Path, count: int) -> None:
    """Two classes, ``count`` .las files of 20,000 points and .obj meshes of 5,000 triangles."""
    rng = np.random.default_rng(0)
    for name in ("scan", "mesh"):
        (root / name).mkdir(parents=True)
    triangles = "".join(f"f {i} {i + 1} {i + 2}\n" for i in range(1, 5001))
    for k in range(count):
        points = rng.standard_normal((20_000, 3)).astype(np.float32)
        write_cloud(root / "scan" / f"{k:04}.las", Cloud(points))
        vertices = "".join("v {:.4f} {:.4f} {:.4f}\n".format(*p) for p in points[:5002])
        (root / "mesh" / f"{k:04}.obj").write_text(vertices + triangles)


def cache_rows(count: int = 2 if TOY else 200) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        root, kept = Path(scratch) / "files", Path(scratch) / "kept"
        write_slow_files(root, count)
        for what, cache in (
            ("read", "no"),
            ("read, cache written", kept),
            ("out of the cache", kept),
        ):
            data = load_dataset("folder", root=root, points=2048, cache=str(cache))
            began = time.perf_counter()
            found = data.load("train")
            float(found.points.sum())  # every page
            seconds = time.perf_counter() - began
            row = {"what": f"{2 * count} .las and .obj files: {what}", "seconds": seconds,
                   "clouds_per_s": len(found) / seconds}  # fmt: skip
            rows.append({**row, "time_ratio": seconds / rows[0]["seconds"] if rows else 1.0})
    return rows


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
    batches = iter(loader(CloudBatches(config), range(config.steps), config.workers, pin=False))
    for _ in range(max(1, config.workers)):  # each worker's first, while it starts
        next(batches)
    began, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - began < seconds:
        next(batches)
        count += 1
    return count * config.batch_size / (time.perf_counter() - began)


def stream_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    names = tuple(root.partition("=")[0] for root in args.roots)
    config = PretrainConfig(
        data=(*names, "shapes"), roots=tuple(args.roots), points=args.points,
        available=2 * args.points, batch_size=args.batch_size, steps=10**6,
    )  # fmt: skip
    sources: dict[str, Callable[[int, int], object]] = {
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
    return [{"what": name, "clouds_per_s": rate} for name, rate in rates.items()]


def main() -> None:
    own = parser(__doc__, seconds=3)
    own.add_argument("--parts", nargs="+", default=["prepare", "cache", "stream"])
    own.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    own.add_argument("--roots", nargs="*", default=[])
    own.add_argument("--batch-size", type=int, default=128, help="of the stream")
    own.add_argument("--points", type=int, default=1024, help="of the stream")
    args = own.parse_args()
    start(args)
    makers = {
        "prepare": lambda: prepare_rows(args),
        "cache": cache_rows,
        "stream": lambda: stream_rows(args),
    }
    rows = [row for part in args.parts for row in makers[part]()]
    report("data_{}", "Clouds a second", rows, args)


if __name__ == "__main__":
    main()
