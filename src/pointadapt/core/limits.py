"""Memory: what is free, and a limit to what may be made of a file.

A configuration of a few bytes can ask for modules of a terabyte. What a file's weights can fill is
known before, so nothing larger is begun.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from .errors import PointAdaptError, is_memory
from .machine import SHARE, free_memory

ROOM = 1 << 22  # numbers that may be made beside those that a file holds
SMALL = 1024  # what a tensor and its module cost besides its numbers: many empty ones are much, too


class TooLargeError(PointAdaptError):
    """Modules that were begun would be larger than allowed."""


class Within(TorchFunctionMode):
    """Inside this block at most so many numbers may be made, in one tensor or in many.

    A tensor whose size is given is measured before it is made. One that is computed from others is
    not added to the sum: those are steps of drawing weights, and are gone soon.

    Args:
        numbers: how many.

    Raises:
        TooLargeError: more are asked for.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.left = numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        given = kwargs or {}
        tensors = [one for one in (*args, *given.values()) if isinstance(one, Tensor)]
        name = getattr(func, "__name__", "")
        if tensors and not name.startswith("new_"):
            return func(*args, **given)
        self._check(_asked(name, args[len(tensors) :], given))
        out = func(*args, **given)
        if isinstance(out, Tensor):
            self._check(out.numel())
            self.left -= out.numel() + SMALL
        return out

    def _check(self, numbers: int) -> None:
        if numbers > self.left:
            raise TooLargeError("larger than allowed")


def _asked(name: str, args: Any, given: Any) -> int:
    """Numbers of the tensor that a call without tensors makes, as far as its arguments tell."""
    first = given.get("size", args[0] if args else 0)
    if isinstance(first, (list, tuple)):
        return math.prod(int(n) for n in first if isinstance(n, (int, float)))
    counts = [int(one) for one in args if isinstance(one, (int, float)) and math.isfinite(one)]
    if name.removeprefix("new_") in ("empty", "zeros", "ones", "rand", "randn", "eye"):
        return math.prod(counts) ** (2 if name == "eye" and len(counts) == 1 else 1)
    return max(counts, default=0)


def room_for(stored: int) -> int:
    """How many numbers may be made of a file that holds ``stored``."""
    return 2 * stored + ROOM


def check_memory(needed: int, what: object) -> None:
    """Refuse what does not fit into free memory.

    Args:
        needed: bytes.
        what: the file, for the message.

    Raises:
        PointAdaptError: they are not free.
    """
    free = free_memory()
    if free is not None and needed > SHARE * free:
        raise PointAdaptError(
            f"{what} takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: "
            "close other programs"
        )


@contextmanager
def memory_named(what: object) -> Iterator[None]:
    """Call it so where memory runs out inside the block.

    Raises:
        PointAdaptError: it does.
    """
    try:
        yield
    except Exception as error:
        if not is_memory(error):
            raise
        raise PointAdaptError(f"not enough memory to read {what}: close other programs") from error
