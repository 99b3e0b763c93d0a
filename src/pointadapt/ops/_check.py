"""What every operation asks of a point cloud before it computes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pointadapt.core.errors import PointCloudError


def check_points(points: Tensor, *, minimum: int = 1, what: str = "points") -> None:
    """Raise unless `points` is a batch of clouds (B, N, 3) of finite floats with N >= `minimum`.

    Where nothing may wait for values, inside `torch.compile` and while a CUDA graph is captured,
    they are not looked at.

    Args:
        points: the tensor to look at; any device. On CUDA the check waits for the device once.
        minimum: the least number of points per cloud.
        what: the name that the message gives to the tensor.

    Raises:
        PointCloudError: one line that says the shape, the dtype, the number of points, or the
            number of bad points and the first cloud that holds one.

    """
    check_layout(points, minimum=minimum, what=what)
    if torch.compiler.is_compiling() or (
        points.is_cuda and torch.cuda.is_current_stream_capturing()
    ):
        return
    # Any NaN or infinity makes the sum NaN or infinite, and a sum is the cheapest pass there is.
    # A sum of finite values may overflow too, so a bad sum only calls for the closer look.
    if not math.isfinite(points.sum().item()):
        _check_finite(points, what)


def check_layout(points: Tensor, *, minimum: int = 1, what: str = "points") -> None:
    """Do the part of `check_points` that does not read the values, so never waits for a device."""
    shape = tuple(points.shape)
    if points.dim() == 2 and shape[1] == 3:
        raise PointCloudError(
            f"{what}: expected a batch (B, N, 3), got one cloud {shape}: pass {what}[None]"
        )
    if points.dim() != 3 or shape[2] != 3:
        raise PointCloudError(f"{what}: expected shape (B, N, 3), got {shape}")
    if not points.dtype.is_floating_point:
        raise PointCloudError(
            f"{what}: expected floating-point coordinates, got {points.dtype}: pass {what}.float()"
        )
    if shape[1] < minimum:
        raise PointCloudError(f"{what}: each cloud needs at least {minimum} points, got {shape[1]}")


def check_count(count: int, available: int, *, name: str, what: str) -> None:
    """Raise unless 1 <= `count` <= `available`; `name` is the argument, `what` it counts from."""
    if count < 1:
        raise PointCloudError(f"{name} must be at least 1, got {count}")
    if count > available:
        raise PointCloudError(
            f"{name}={count} is more than the {available} points in each cloud of {what}: "
            f"lower {name} to {available} or less, or give clouds of at least {count} points"
        )


def check_same_batch(first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    """Raise unless both tensors hold the same number of clouds."""
    if first.shape[0] != second.shape[0]:
        raise PointCloudError(
            f"{names[0]} holds {first.shape[0]} clouds and {names[1]} {second.shape[0]}: "
            "both need the same batch size"
        )


def at_least_float32(points: Tensor) -> Tensor:
    """Half precision is too coarse to compare distances in; float32 and float64 pass unchanged."""
    return points.float() if points.dtype in (torch.float16, torch.bfloat16) else points


def _check_finite(points: Tensor, what: str) -> None:
    bad = ~torch.isfinite(points).all(dim=2)
    if bad.any():
        first = int(bad.any(dim=1).nonzero()[0])
        raise PointCloudError(
            f"{what}: {int(bad.sum())} of {bad.numel()} points have NaN or infinite coordinates, "
            f"first in cloud {first} ({int(bad[first].sum())} of its {bad.shape[1]} points): "
            "remove or replace them"
        )


def is_exporting() -> bool:
    """Whether the forward is being written down for another runtime, in its plain operators."""
    if torch.compiler.is_dynamo_compiling():
        return False  # torch 2.11 says that whatever it compiles is exported
    return getattr(torch.compiler, "is_exporting", lambda: False)()  # torch 2.7 has it
