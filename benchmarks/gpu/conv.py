"""The submanifold convolution on a GPU: forward and backward in three forms, and whether equal.

    python3 benchmarks/gpu/run.py conv

The forms are one product an offset over pairs (as on a CPU), neighbourhoods side by side times the
whole kernel, and the Triton kernels. Each time is the median of some steps on the clouds of a
made-up surface; errors are those of float32 against float64 on the CPU, over the largest entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from speed import median_ms
from torch import Tensor

from pointadapt.ops import sparse_conv
from pointadapt.ops.sparse_conv import Neighbors, find_neighbors, submanifold_conv

SIZES = ((16_000, 64), (16_000, 256), (100_000, 48))  # voxels, channels
TOY_SIZES = ((300, 16),)
REPEATS = 12


def surface(n: int) -> Tensor:
    """(about n, 3) voxels of a wavy sheet, a tenth of them above it."""
    side = round((n / 1.1) ** 0.5)
    x, y = (part.flatten() for part in torch.meshgrid(*[torch.arange(side)] * 2, indexing="ij"))
    z = (10 + 6 * torch.sin(x / 9.0) + 5 * torch.cos(y / 7.0)).long()
    sheet = torch.stack([x, y, z], dim=1)
    above = sheet[::10] + torch.tensor([0, 0, 1])
    return torch.unique(torch.cat([sheet, above]), dim=0)


def forms(grid: Tensor, device: str) -> Iterator[tuple[str, Neighbors, str]]:
    """Name, neighbours, and what the environment says of Triton, of each form."""
    batch = torch.zeros(len(grid), dtype=torch.long)
    pairs = find_neighbors(grid, batch, 3)
    moved = Neighbors(3, tuple((p.to(device), q.to(device)) for p, q in pairs.pairs))
    yield "pairs", moved, "0"
    if device != "cpu":
        table = find_neighbors(grid.to(device), batch.to(device), 3)
        yield "side by side", table, "0"
        yield "Triton", table, "1"


def step(x: Tensor, weight: Tensor, neighbors: Neighbors) -> tuple[Tensor, ...]:
    """Output and both gradients."""
    out = submanifold_conv(x, weight, None, neighbors)
    seed = torch.cos(torch.arange(out.numel(), device=x.device).view_as(out) * 0.7).to(out.dtype)
    return out.detach(), *torch.autograd.grad(out, (x, weight), seed)


def measure(toy: bool, environ: Any) -> list[dict[str, Any]]:
    """A row for each size, type of number and form."""
    device, rows = "cuda" if torch.cuda.is_available() else "cpu", []
    for n, channels in TOY_SIZES if toy else SIZES:
        grid = surface(n)
        torch.manual_seed(0)
        x, weight = torch.randn(len(grid), channels), torch.randn(channels, 3, 3, 3, channels)
        batch = torch.zeros(len(grid), dtype=torch.long)
        exact = step(
            x.double().requires_grad_(), weight.double().requires_grad_(),
            find_neighbors(grid, batch, 3),
        )  # fmt: skip
        for kind in (torch.float32, torch.bfloat16):
            there = [part.to(device, kind).requires_grad_() for part in (x, weight)]
            for name, neighbors, triton in forms(grid, device):
                environ["POINTADAPT_TRITON"] = triton
                found = step(there[0], there[1], neighbors)
                errors = [
                    float((a.cpu().double() - b).abs().max() / b.abs().max())
                    for a, b in zip(found, exact, strict=True)
                ]
                call = partial(step, *there, neighbors)
                used = sparse_conv._kernels(there[0]) is not None
                rows.append({
                    "voxels": len(grid), "channels": channels, "type": str(kind).split(".")[1],
                    "form": name, "triton": used,
                    "ms": median_ms(call, REPEATS, 1) if device == "cuda" else None,
                    "errors": dict(zip(("out", "dx", "dw"), errors, strict=True)),
                })  # fmt: skip
    return rows
