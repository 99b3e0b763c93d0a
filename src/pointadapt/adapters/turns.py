"""Threads that share a model: which adapter each one chose, and who changes an adapter's tensors.

Adapters share what they leave alone of the backbone and have the rest for themselves, so that
threads predict side by side with the same adapter or with different ones, and need no lock. Only
whoever puts other tensors into an adapter must be alone with it: what would mix up two is an error
here, in the thread that comes second, before anything has happened.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..core.errors import AdapterError

ADVICE = "load them into an adapter of another name, or put a lock around both"


class Turns:
    """Who predicts with which adapter, who changes one, and which one each thread chose."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._own = threading.local()
        self._forwards: Counter[tuple[str, int]] = Counter()  # adapter and thread: passes under way
        self._changing: dict[str, int] = {}  # adapter to the thread that changes it

    def __reduce__(self) -> tuple[Any, ...]:
        return Turns, ()  # a copy of a model is another model

    def chose(self, name: str) -> None:
        """The calling thread wants to predict with the adapter ``name`` from now on."""
        self._own.chosen = name

    def chosen(self, otherwise: str) -> str:
        """What the calling thread chose; ``otherwise`` if it never did."""
        return getattr(self._own, "chosen", otherwise)

    @contextmanager
    def forward(self, name: str) -> Iterator[None]:
        """A forward pass with the adapter ``name``.

        Raises:
            AdapterError: another thread is changing it.
        """
        me = threading.get_ident()
        with self.lock:
            if self._changing.get(name, me) != me:
                raise AdapterError(f"another thread is changing the adapter {name!r}: {ADVICE}")
            self._forwards[name, me] += 1
        try:
            yield
        finally:
            with self.lock:
                self._forwards[name, me] -= 1
                if not self._forwards[name, me]:
                    del self._forwards[name, me]

    @contextmanager
    def change(self, name: str) -> Iterator[None]:
        """Tensors of the adapter ``name`` change.

        Raises:
            AdapterError: another thread is predicting with it or changing it.
        """
        me = threading.get_ident()
        with self.lock:
            busy = any(used == name and thread != me for used, thread in self._forwards)
            if busy or self._changing.get(name, me) != me:
                raise AdapterError(f"another thread is using the adapter {name!r}: {ADVICE}")
            outer, self._changing[name] = self._changing.get(name), me
        try:
            yield
        finally:
            with self.lock:
                if outer is None:
                    del self._changing[name]
