"""The machine: allocator, peak memory, description of where a number was measured."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .config.words import Precision
from .errors import ConfigError, first_line
from .precision import chosen

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from torch import Tensor

SHARE = 0.9  # of the free memory, which a file may take
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_large_blocks() -> bool:
    """Tell glibc to keep freed memory instead of returning it to the kernel after every tensor.

    A CPU training step otherwise spends 16 to 21 % of its time on page faults. Other platforms and
    allocators are left alone. Returns whether it took effect.
    """
    if not sys.platform.startswith("linux") or os.environ.get("MALLOC_MMAP_MAX_"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl and others have no mallopt
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    return all([bool(mallopt(key, value)) for key, value in settings])


def use_threads(count: int) -> None:
    """Let torch compute on so many CPU threads; 0 leaves it as it is."""
    if count:
        import torch

        torch.set_num_threads(count)


def peak_memory() -> int:
    """Largest memory this process has held so far, in bytes: of the GPU where there is one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        import psutil  # accelerate brings it

        return psutil.Process().memory_info().peak_wset  # type: ignore[attr-defined]
    if sys.platform.startswith("linux"):
        # A child's ru_maxrss starts at its parent's peak; the mark in /proc is the process's own.
        with suppress(OSError, StopIteration), open("/proc/self/status") as lines:
            return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory() -> int | None:
    """Bytes of memory that can be had without swapping; None where nobody tells."""
    try:
        import psutil  # accelerate brings it
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def describe_machine() -> dict[str, str | int]:
    """What a result was measured on."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(
                line.split(":")[1].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def make_accelerator(precision: Precision, accumulate: int = 1) -> Accelerator:
    """Accelerate's engine, which one process may ask for with one precision after another.

    Raises:
        ConfigError: the device has no such precision.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    precision = chosen(precision)
    mixed = "no" if precision == "fp32" else precision
    if AcceleratorState._shared_state.get("_mixed_precision", mixed) != mixed:
        AcceleratorState._reset_state()  # it would refuse another precision than the first
    try:
        engine = Accelerator(mixed_precision=mixed, gradient_accumulation_steps=accumulate)
    except ValueError as error:
        raise ConfigError(f"precision {precision}: {first_line(error)}") from error
    if precision == "fp16" and engine.scaler is None:  # accelerate would compute in fp32 silently
        raise ConfigError(
            f"precision fp16 needs a GPU, not a {engine.device.type}: use bf16 or fp32"
        )
    return engine


def in_any_process(engine: Accelerator, value: bool) -> bool:
    """Whether ``value`` holds in one of the processes, which must all ask at the same point."""
    import torch

    held: Any = torch.tensor(float(value), device=engine.device)
    held = engine.reduce(held, reduction="sum")
    return bool(held > 0)


def derive_seed(*parts: int) -> int:
    """One 32-bit seed from several numbers (seed, epoch, step, rank), well mixed."""
    import numpy as np

    # Their number goes in too: numpy fills with zeros, so (1,) and (1, 0) would be the same.
    return int(np.random.SeedSequence((len(parts), *parts)).generate_state(1)[0])


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``; the copy to a GPU waits for nothing, and nothing waits for it.

    A plain ``.to(device)`` waits until the GPU has done all it was asked before, so that it stands
    still while the host prepares the next step.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def get_draws(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of this process's random generators, from which :func:`set_draws` goes on."""
    import torch

    states = {"cpu": torch.get_rng_state()}
    return states | ({"gpu": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_draws(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Draw on as if nothing had been in between."""
    import torch

    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "gpu" in states:
        torch.cuda.set_rng_state(states["gpu"], device)
