"""Time pointadapt.ops against plain PyTorch versions of the same definitions.

    python benchmarks/ops.py [--seconds 4] [--threads 1] [--device cuda]

The plain version and ours take turns (A, B, A, B, ...), so that whatever else the machine does
falls on both. ``--seconds`` is for each operation: half a minute or so in all. On a GPU "ours" is
whatever `pointadapt.ops` takes there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from _measure import TOY, in_turns, parser, report, start
from pointadapt import ops


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


def cases(device: str) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    torch.manual_seed(0)
    batch, rows = (1, 8) if TOY else (32, 4864)
    points = torch.randn(batch, 8192, 3, device=device)
    scan, shape = points[:, :2048].contiguous(), points[:, :1024].contiguous()
    centers = ops.gather_points(scan, ops.farthest_point_sample(scan, 128))
    features = torch.randn(min(batch, 16), 128, 384, device=device, requires_grad=True)
    a = torch.randn(rows, 32, 3, device=device, requires_grad=True)
    b = torch.randn(rows, 32, 3, device=device)
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


def main() -> None:
    args = parser(__doc__, seconds=4).parse_args()
    start(args)
    rows: list[dict[str, Any]] = []
    for name, (ours, plain) in cases(args.device).items():
        calls = {"plain": plain, "ours": ours}
        times = in_turns(calls, args.seconds, device=args.device)
        rows.append(
            {
                "operation": name,
                "ours_ms": 1e3 * times["ours"].median,
                "ours_best_ms": 1e3 * times["ours"].best,
                "plain_ms": 1e3 * times["plain"].median,
                "plain_best_ms": 1e3 * times["plain"].best,
                "time_ratio": times["ours"].ratio,
                "times_faster": 1 / times["ours"].ratio,
                "runs": times["ours"].runs,
            }
        )
    report("ops_{}", f"Operations, {args.device}", rows, args)


if __name__ == "__main__":
    main()
