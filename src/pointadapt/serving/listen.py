"""Answering what comes to a socket, in one process."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from ..core.errors import PointAdaptError
from .app import Serving, make_app

QUEUE = 2048  # connections that wait to be taken


class _Server(uvicorn.Server):
    """uvicorn's, which ends a process by the signal that stopped it; here that is its normal end.

    ``started`` is called once it listens.
    """

    on_start: Callable[[], None] = staticmethod(lambda: None)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {n: signal.signal(n, self.handle_exit) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_start()


def listening_on(host: str, port: int) -> socket.socket:
    """A socket of this machine.

    Raises:
        PointAdaptError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=QUEUE)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", "") or "it must be 0 to 65535"
        raise PointAdaptError(f"cannot listen on {host}, port {port}: {why}") from error


def answer(
    serving: Serving, listening: socket.socket, hosts: tuple[str, ...],
    on_start: Callable[[], None], accept: int = QUEUE,
) -> None:  # fmt: skip
    """Answer what comes to a socket until SIGTERM or Ctrl-C, then finish what is begun.

    Args:
        serving: what answers.
        listening: the socket.
        hosts: the names that it answers to, any if there are none.
        on_start: called once it listens.
        accept: connections that are taken at a time; of several processes each takes few.
    """
    app: Any = make_app(serving, hosts)
    server = _Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, backlog=accept,
            timeout_graceful_shutdown=int(serving.limits.seconds),
            limit_concurrency=serving.limits.waiting * 4,
        )
    )  # fmt: skip

    def started() -> None:
        listening.listen(QUEUE)  # asyncio made the queue as short as ``accept``
        on_start()

    server.on_start = started
    server.run(sockets=[listening])
