"""Threads that share a model: they may predict side by side, but not switch adapters meanwhile.

Adapters share the backbone's memory. A thread that switched while another one predicts would give
that one the tensors of both, and one that switched in between would answer with another adapter
than was asked for. Either is an error here, in the thread that comes second, before anything has
happened. Threads that take turns (a lock around ``use`` and the forward) never meet it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..core.errors import AdapterError

ADVICE = "put a lock around use() and the forward, or give each thread a model of its own"


class Turns:
    """Who predicts and who switches now, and which adapter each thread chose."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own = threading.local()
        self._forwards: dict[int, int] = {}  # thread to its forward passes under way
        self._switching: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Turns, ()  # a copy of a model is another model

    @contextmanager
    def forward(self, active: str) -> Iterator[None]:
        """A forward pass with the adapter ``active``.

        Raises:
            AdapterError: another thread is switching, or has switched since this one chose.
        """
        me, chosen = threading.get_ident(), getattr(self._own, "chosen", active)
        with self._lock:
            if self._switching not in (None, me):
                raise AdapterError(f"another thread is switching this model's adapter: {ADVICE}")
            if chosen != active:
                raise AdapterError(
                    f"another thread has switched this model to the adapter {active!r} since this "
                    f"one chose {chosen!r}: {ADVICE}"
                )
            self._forwards[me] = self._forwards.get(me, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._forwards[me] -= 1
                if not self._forwards[me]:
                    del self._forwards[me]

    @contextmanager
    def change(self) -> Iterator[None]:
        """Tensors of the backbone or the active adapter change.

        Raises:
            AdapterError: another thread is predicting or changing them.
        """
        me = threading.get_ident()
        with self._lock:
            if self._forwards.keys() - {me} or self._switching not in (None, me):
                raise AdapterError(f"another thread is using this model's adapter: {ADVICE}")
            outer, self._switching = self._switching, me
        try:
            yield
        finally:
            with self._lock:
                self._switching = outer

    def chose(self, name: str) -> None:
        """The calling thread wants to predict with the adapter ``name`` from now on."""
        self._own.chosen = name
