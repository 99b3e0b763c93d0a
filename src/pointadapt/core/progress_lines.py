"""How far something is, as lines of a log, where nobody watches a bar."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST = 5.0  # seconds without a line: what is over by then needs none
APART = 2.0  # seconds between lines, at least
LONGEST = 300.0  # and at most, if anything was done
PARTS = 10  # lines of a whole, one for each tenth


class ProgressLines:
    """Says one line for each tenth that is done, and one after five minutes without.

    Args:
        say: takes a line.
        duration: seconds in words.
        what: is being done.
        total: of how many; None where that is not known: then lines come by time alone.
        unit: what is counted.
        done: how many were there before.
        clock: seconds.
    """

    def __init__(
        self, say: Callable[[str], None], duration: Callable[[float], str], what: str,
        total: int | None, unit: str = "", done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.say, self.duration, self.clock = say, duration, clock
        self.what, self.total, self.unit = what, total, unit
        self.began, self.before, self.last = clock(), done, -FIRST
        self.part = self._part(done)

    def tell(self, done: int, note: str = "") -> None:
        """So many are done now; ``note`` is said with it."""
        now = self.clock()
        quiet = now - max(self.last, self.began)
        if now - self.began < FIRST or quiet < APART:
            return
        if self._part(done) > self.part or quiet >= LONGEST:
            self.part, self.last = self._part(done), now
            self.say(self._line(done, note, now - self.began))

    def _part(self, done: int) -> int:
        return PARTS * done // self.total if self.total else 0

    def _line(self, done: int, note: str, seconds: float) -> str:
        unit = f" {self.unit}" if self.unit else ""
        whole = "" if self.total is None else f" of {self.total:,}"
        share = f" ({100 * done / self.total:.0f} %)" if self.total else ""
        return f"{self.what}: {done:,}{whole}{unit}{share}{note}{self._left(done, seconds)}"

    def _left(self, done: int, seconds: float) -> str:
        if not self.total or done <= self.before or done >= self.total:
            return ""
        return f", about {self.duration((self.total - done) * seconds / (done - self.before))} left"
