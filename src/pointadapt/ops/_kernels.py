"""Whether Triton kernels take the place of the plain PyTorch code, which is always there.

They do for float32 CUDA tensors of up to 16,384 points where Triton can be imported, unless the
environment says ``POINTADAPT_TRITON=0``. Their first use on a device compares them with the CPU's
results on a small cloud full of ties; if anything differs or fails (no C compiler for Triton's
launcher, a GPU too old), a warning says so once and the plain code runs.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor

MOST_POINTS = 16384
MOST_NEIGHBORS = 128  # each costs a pass over the distances

F = TypeVar("F", bound=Callable[..., Any])

_checked: dict[tuple[str, int], ModuleType | None] = {}  # by the module and the device
_references: dict[str, Callable[..., Any]] = {}  # by the kernel's name


def reference(name: str) -> Callable[[F], F]:
    """Decorator: on the CPU, this function gives what the kernel ``name`` must give."""

    def enter(function: F) -> F:
        _references[name] = function
        return function

    return enter


def kernels(axes: Tensor) -> ModuleType | None:
    """:mod:`pointadapt.ops._triton` where it takes contiguous ``axes`` (3, B, N); else None."""
    # A subclass (shape tracing) has no memory that a kernel could read.
    if axes.dtype != torch.float32 or type(axes) is not Tensor or axes.shape[2] > MOST_POINTS:
        return None
    return kernels_for(axes, "pointadapt.ops._triton", differs)


def kernels_for(
    x: Tensor, name: str, differs: Callable[[ModuleType, torch.device], str]
) -> ModuleType | None:
    """The module of kernels called ``name`` where ``x`` is on a device that has passed its check.

    The environment is read each time, so a program may switch while it runs.
    """
    if not x.is_cuda or os.environ.get("POINTADAPT_TRITON") == "0":
        return None
    place = name, x.device.index
    if place not in _checked:
        if torch.cuda.is_current_stream_capturing():
            return None  # the check waits for the device, which a capture forbids
        _checked[place] = checked(name, x.device, differs)
    return _checked[place]


def checked(
    name: str, device: torch.device, differs: Callable[[ModuleType, torch.device], str]
) -> ModuleType | None:
    """The module of kernels called ``name``, unless ``differs`` says where its results are wrong.

    A warning tells of that; None without a word where Triton is not installed.
    """
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None  # Triton is not installed, as on most machines without a GPU
    try:
        with torch.cuda.device(device):
            wrong = differs(module, device)
    except Exception as error:  # whatever a compiler and a driver may raise
        wrong = f"failed ({type(error).__name__}: {str(error).splitlines()[:1]})"
    if not wrong:
        return module
    warnings.warn(
        f"pointadapt's Triton kernels {wrong} on {device}: the slower PyTorch code is used; "
        "POINTADAPT_TRITON=0 silences this",
        RuntimeWarning,
        stacklevel=3,
    )
    return None


def differs(module: ModuleType, device: torch.device | str) -> str:
    """Where the results of ``module`` on ``device`` are not the CPU's; "" where all are equal."""
    sample, nearest = _references["sample"], _references["nearest"]
    draw = torch.Generator().manual_seed(0)
    rough = torch.randint(-2, 3, (3, 2, 97), generator=draw) * 0.3  # equal points, equal distances
    axes = torch.cat([rough, torch.randn(3, 2, 97, generator=draw)], dim=1)
    there = axes.to(device)
    for ball in (False, True):
        if not torch.equal(module.sample(there, 60, 3, ball).cpu(), sample(axes, 60, 3, ball)):
            return "sample other points than the CPU"
    some = slice(0, 20)
    ours = module.nearest(there[:, :, some].contiguous(), there, 17)
    cpu = nearest(axes[:, :, some].contiguous(), axes, 17)
    if not all(torch.equal(a.cpu(), b) for a, b in zip(ours, cpu, strict=True)):
        return "find other neighbours than the CPU"
    return ""
