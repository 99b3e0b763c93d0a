"""Prediction: folded DAPT against the plain backbone, and a folder of files.

    python benchmarks/inference.py [--seconds 8] [--batches 1 8 32] [--files 300] [--device cuda]

One forward pass of `small` on random clouds, no gradient, evaluation mode; the variants take turns,
``--seconds`` for each batch and number format:

- "backbone": the backbone alone (linear probe) under a head of the same size, with our encoder,
- "folded DAPT": scale-shifts in the frozen layers (`pointadapt.adapters.fold`),
- "DAPT": as trained,
- "plain DAPT": `_plain.py`, eager, batch 8 and in float32 only.

Then ``pointadapt predict FOLDER`` in a process of its own, on ``--files`` files of four formats
that are written to a temporary folder, with the bundled `tiny`: files a second, and how busy the
cores were: processor time ÷ (wall time × cores), the start (importing torch) left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _measure import in_turns, parser, report, start
from _models import clouds, half, make_model
from _plain import logits as plain_logits
from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.fold import fold_model
from pointadapt.io import Cloud, write_cloud

HEAD = ("cls", "patch_mean", "patch_max")  # as wide as DAPT's


def forward_rows(args: Any) -> list[dict[str, Any]]:
    """One row for each batch, number format and variant."""
    device = args.device
    dapt = make_model("dapt", device=device).eval()
    models = {
        "backbone": make_model("linear_probe", device=device, head=HEAD).eval(),
        "folded DAPT": fold_model(dapt),
        "DAPT": dapt,
    }
    rows = []
    for batch in args.batches:
        points = clouds(batch, device)
        for precision in args.precisions:
            calls = {name: lambda m=model, p=points: m(p) for name, model in models.items()}
            if precision == "fp32" and batch == 8:
                calls["plain DAPT"] = lambda p=points: plain_logits(dapt, p)
            with torch.no_grad(), half(precision, device):
                times = in_turns(calls, args.seconds, device=device)
            rows += [
                {
                    "variant": name, "batch": batch, "precision": precision,
                    **found.columns(), "clouds_per_s": batch / found.median,
                }
                for name, found in times.items()
            ]  # fmt: skip
    return rows


def write_files(folder: Path, count: int, seed: int = 0) -> None:
    """``count`` files of 4,096 points, in turns .ply, .xyz, .pcd and .npy."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        points = rng.standard_normal((4096, 3)).astype(np.float32)
        path = folder / f"{k:04}"
        if k % 4 == 3:
            np.save(path.with_suffix(".npy"), points)
        elif k % 4 == 1:
            np.savetxt(path.with_suffix(".xyz"), points, fmt="%.5f")
        else:
            write_cloud(path.with_suffix(".ply" if k % 4 == 0 else ".pcd"), Cloud(points))


def processor_time(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


def predict_row(count: int, cores: int) -> dict[str, Any]:
    """A folder of ``count`` files, less what one of a single file costs."""
    with tempfile.TemporaryDirectory() as scratch:
        adapter, one, many = (Path(scratch) / name for name in ("adapter", "one", "many"))
        model = make_model("dapt", size="point_vit:tiny", groups=64)
        from pointadapt.backbones.folder import save_backbone

        backbone = save_backbone(model.backbone, Path(scratch) / "backbone")
        adapter_folder.save_adapter(model, adapter, backbone=str(backbone), points=1024, results={})
        for folder, size in ((one, 1), (many, count)):
            folder.mkdir()
            write_files(folder, size)
        command = [sys.executable, "-m", "pointadapt", "predict", "--adapter", str(adapter)]
        base = processor_time([*command, str(one)])
        full = processor_time([*command, str(many)])
    wall, used = (f - b for f, b in zip(full, base, strict=True))
    return {
        "variant": f"pointadapt predict, {count} files, tiny", "cores": cores, "wall_s": wall,
        "processor_s": used, "cores_busy": used / wall / cores, "files_per_s": count / wall,
    }  # fmt: skip


def main() -> None:
    own = parser(__doc__, seconds=8)
    own.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    own.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    own.add_argument("--files", type=int, default=300, help="0 leaves the folder out")
    args = own.parse_args()
    start(args)
    rows = forward_rows(args) if args.batches[0] else []
    if args.files and args.device == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        rows.append(predict_row(args.files, cores or os.cpu_count() or 1))
    report("inference_{}", f"Prediction, small, {args.device}", rows, args)


if __name__ == "__main__":
    main()
