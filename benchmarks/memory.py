"""Memory of one training step of `small`: what is saved for the backward, and the process's peak.

    python benchmarks/memory.py [--batches 8 32] [--device cuda]

For each method, number format, ``--keep`` and batch a process of its own: the bytes that autograd
keeps from the forward to the backward (torch's profiler), and the peak of the process: on a CPU the
largest resident memory of two steps (VmHWM) above what it held after building model and optimizer,
on a GPU ``max_memory_allocated`` above the same. Ratios are to full fine-tuning in the same number
format at the same batch. A peak depends on the allocator: it is ours, as in training, which keeps
freed memory (so it is an upper bound), and on one thread or two.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from _measure import MIB, TOY, child, parser, report, resident, saved_bytes, start
from _models import Step, clouds, labels, make_model
from pointadapt.core.machine import peak_memory

VARIANTS = [
    ("full", "all"), ("dapt", "all"), ("dapt", "lean"), ("dapt", "recompute"),
    ("lora", "all"), ("stag", "all"), ("linear_probe", "all"),
]  # fmt: skip


def measure(method: str, keep: str, precision: str, batch: int, device: str) -> dict[str, int]:
    """Saved bytes, the peak above the model, and the model, in this process."""
    step = Step(make_model(method, device=device), precision, keep=keep)  # type: ignore[arg-type]
    data = clouds(batch, device), labels(batch, device)
    cuda = device.startswith("cuda")
    before = torch.cuda.memory_allocated() if cuda else resident()
    for _ in range(2):
        step(*data)
    peak = peak_memory() - before
    saved = saved_bytes(lambda: step.loss(*data), device, warm=False)
    return {"saved": saved, "peak": peak, "model": before}


def main() -> None:
    own = parser(__doc__, seconds=0)
    own.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    own.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    own.add_argument("--child", nargs=4, help="one measurement, in this process")
    args = own.parse_args()
    start(args)
    if args.child:
        method, keep, precision, batch = args.child
        print(json.dumps(measure(method, keep, precision, int(batch), args.device)))
        return
    rows: list[dict[str, Any]] = []
    for batch in args.batches:
        for precision in args.precisions:
            full: dict[str, Any] = {}
            for method, keep in VARIANTS[: 2 if TOY else None]:
                options = ["--device", args.device, "--threads", args.threads]
                found = child("memory.py", method, keep, precision, batch, *options)
                full = full or found
                rows.append(
                    {
                        "method": method,
                        "keep": keep,
                        "precision": precision,
                        "batch": batch,
                        "saved_MiB": found["saved"] / MIB,
                        "saved_against_full": found["saved"] / full["saved"],
                        "peak_MiB": found["peak"] / MIB,
                        "peak_against_full": found["peak"] / full["peak"],
                        "model_MiB": found["model"] / MIB,
                    }
                )
                print(*rows[-1].values(), file=sys.stderr)
    report("memory_{}", f"Memory of a training step, small, {args.device}", rows, args)


if __name__ == "__main__":
    main()
