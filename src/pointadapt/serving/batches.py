"""Requests that come at about the same time are answered together."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..core.errors import PointAdaptError

J = TypeVar("J")


class BusyError(PointAdaptError):
    """More is waiting than may; ask again later."""

    def __init__(self) -> None:
        super().__init__("the server is busy: try again in a moment")


@dataclass(frozen=True)
class _Waiting(Generic[J]):
    job: J
    answer: Future[Any]


class Batches(Generic[J]):
    """A thread that collects jobs and answers them.

    Args:
        answer: what each of some jobs comes to, in order; called in the thread.
        most: jobs at a time.
        wait: seconds that the first one waits for others at most.
        waiting: jobs that may wait; more are refused.
    """

    def __init__(
        self, answer: Callable[[list[J]], list[Any]], most: int, wait: float, waiting: int
    ) -> None:
        self._answer, self._most, self._wait = answer, most, wait
        self._queue: queue.Queue[_Waiting[J] | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def submit(self, job: J) -> Future[Any]:
        """Its answer, later; one that is cancelled before its turn costs nothing.

        Raises:
            BusyError: too many wait already.
        """
        waiting = _Waiting(job, Future())
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            raise BusyError from None
        return waiting.answer

    def stop(self) -> None:
        """Answer what waits, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._collect()
            live = [one for one in batch if one.answer.set_running_or_notify_cancel()]
            if live:
                self._settle(live)

    def _collect(self) -> tuple[list[_Waiting[J]], bool]:
        """Some jobs, and whether to go on after them."""
        batch: list[_Waiting[J]] = []
        end = float("inf")
        while len(batch) < self._most:
            try:
                left = None if not batch else max(0.0, end - time.monotonic())
                one = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if one is None:
                return batch, False
            end = min(end, time.monotonic() + self._wait)
            batch.append(one)
        return batch, True

    def _settle(self, batch: list[_Waiting[J]]) -> None:
        try:
            answers = self._answer([one.job for one in batch])
        except Exception as error:  # whatever it is, the thread goes on, and each asker hears of it
            answers = [error] * len(batch)
        for one, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)
