"""What a block of code spends in some functions of the libraries below it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_open: ContextVar[Counter[str] | None] = ContextVar("spent", default=None)


def counts(what: str) -> Callable[[F], F]:
    """Decorator: the seconds of each call count as ``what`` inside :func:`spent`."""

    def around(function: F) -> F:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            sums = _open.get()
            if sums is None:
                return function(*args, **kwargs)
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                sums[what] += time.perf_counter() - began  # type: ignore[assignment]

        return call  # type: ignore[return-value]

    return around


@contextmanager
def spent() -> Iterator[Counter[str]]:
    """The seconds that this thread spends inside the block, by kind; complete at its end.

    Of a GPU, only what the CPU needs to start its work is seen.
    """
    sums: Counter[str] = Counter()
    mark = _open.set(sums)
    try:
        yield sums
    finally:
        _open.reset(mark)
