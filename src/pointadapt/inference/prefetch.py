"""Reading the next batch while this one is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def one_ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``function`` of each item, in order; the next one is worked out in a thread meanwhile.

    What ``function`` raises is raised where its result would come. Nothing is begun after the
    caller has stopped asking.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        waiting = None
        for item in items:
            following = thread.submit(function, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


__all__ = ["one_ahead"]
