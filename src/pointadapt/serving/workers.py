"""Several processes that answer on one port; one that dies is replaced.

They share one listening socket: connections that nobody has taken yet wait in it, whichever process
dies. Only what a dying worker has in hand breaks off, and its clients send it again.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from ..core.errors import PointAdaptError
from .plan import SHARED, Plan

EARLY = 3  # workers in a row that may end by themselves before they answer
SPAWN = multiprocessing.get_context("spawn")  # a fork of torch's threads would hang
Told = Callable[[], None]


@dataclass
class _Worker:
    process: SpawnProcess
    line: Connection  # its end tells the worker that nobody watches over it any more
    folder: Path
    ready: bool = False


class Workers:
    """Keeps ``count`` workers at work until SIGTERM or Ctrl-C, then lets them finish.

    Args:
        plan: what they answer with.
        count: how many.
        listening: the socket, on which nobody listens in this process.
        on_start: called once all answer.
    """

    def __init__(self, plan: Plan, count: int, listening: socket.socket, on_start: Told) -> None:
        self._plan, self._count, self._listening = plan, count, listening
        self._on_start, self._early, self._made = on_start, 0, 0
        self._workers: list[_Worker] = []

    def run(self) -> None:
        """Watch over them.

        Raises:
            PointAdaptError: they end before they answer.
        """
        scratch = tempfile.TemporaryDirectory(
            prefix="pointadapt-serve-", ignore_cleanup_errors=True
        )
        with scratch as name, _asked_to_stop() as stop:
            self._folder = Path(name)
            try:
                for _ in range(self._count):
                    self._workers.append(self._start())
                while not stop.poll():
                    self._look(wait([stop, *self._sentinels(), *self._lines()]))
            finally:
                self._stop()

    def _sentinels(self) -> list[int]:
        return [worker.process.sentinel for worker in self._workers]

    def _lines(self) -> list[Connection]:
        return [worker.line for worker in self._workers if not worker.ready]

    def _start(self) -> _Worker:
        self._made += 1
        ours, theirs = SPAWN.Pipe()
        folder = self._folder / f"worker-{self._made}"
        folder.mkdir()
        told = (self._plan, self._listening, folder, theirs)
        process = SPAWN.Process(target=_work, args=told, name=folder.name, daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, folder)

    def _look(self, changed: Sequence[object]) -> None:
        """Take note of who is ready, and replace who is gone."""
        for place, worker in enumerate(self._workers):
            if worker.process.sentinel in changed:
                self._bury(worker)
                ended_itself = not worker.ready and (worker.process.exitcode or 0) >= 0
                self._early = self._early + 1 if ended_itself else 0
                if self._early >= EARLY:
                    raise PointAdaptError(
                        f"the workers end before they answer (exit status "
                        f"{worker.process.exitcode}): try --workers 1, which says why"
                    )
                self._workers[place] = self._start()
            elif worker.line in changed:
                with suppress(EOFError, OSError):  # it is gone: its sentinel says so next
                    worker.ready = bool(worker.line.recv())
                if self._on_start is not _nothing and all(w.ready for w in self._workers):
                    self._on_start()
                    self._on_start = _nothing

    def _bury(self, worker: _Worker) -> None:
        """Leave nothing of a worker that ended."""
        from .metrics import forget

        worker.process.join()
        worker.line.close()
        shutil.rmtree(worker.folder, ignore_errors=True)
        forget(self._folder, worker.process.pid or 0)

    def _stop(self) -> None:
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()  # SIGTERM: it finishes what it has begun
        for worker in self._workers:
            worker.process.join(self._plan.limits.seconds + 30)
            worker.process.kill()
            self._bury(worker)


def _nothing() -> None:
    pass


@contextmanager
def _asked_to_stop() -> Iterator[Connection]:
    """A connection that has something to read once SIGTERM or Ctrl-C came."""
    heard, said = SPAWN.Pipe(duplex=False)
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda *_: said.send(True)) for kind in kinds}
    try:
        yield heard
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _work(plan: Plan, listening: socket.socket, folder: Path, line: Connection) -> None:
    """A worker: answers until it is told to stop, or nobody watches over it any more."""
    from ..core.machine import use_threads

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too: who watches tells it
    os.environ[SHARED] = str(folder.parent)  # before prometheus_client is imported
    from .app import Serving
    from .listen import answer
    from .metrics import Metrics
    from .shelf import Shelf

    use_threads(plan.threads)
    shelf = Shelf(plan.places, plan.backbone, plan.most)
    serving = Serving(shelf, plan.limits, plan.token, Metrics(folder.parent), folder)
    alone = threading.Event()
    threading.Thread(target=_watch, args=(line, alone), daemon=True).start()
    answer(serving, listening, plan.hosts, lambda: line.send(True), accept=1)
    if alone.is_set():
        shutil.rmtree(folder.parent, ignore_errors=True)


def _watch(line: Connection, alone: threading.Event) -> None:
    """Stop this process once the one that watches over it is gone."""
    with suppress(EOFError, OSError):
        line.recv()
    alone.set()
    os.kill(os.getpid(), signal.SIGTERM)
