"""Running a server until it is asked to stop."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from ..core.errors import ConfigError, PointAdaptError
from .app import Serving, make_app

SHORTEST = 16  # characters of a token
LOCAL = ("localhost", "127.0.0.1", "::1", "[::1]")


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


def read_token(path: Path) -> str:
    """The token in the first line of a file.

    Raises:
        ConfigError: the file cannot be read, or its token is too short.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the token cannot be read") from error
    token = lines[0].strip() if lines else ""
    if len(token) < SHORTEST or not token.isascii():
        raise ConfigError(f"{path}: the token must be {SHORTEST} letters and digits or more")
    return token


def is_local(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(
    serving: Serving, host: str, port: int, on_start: Callable[[str], None] = lambda _: None
) -> None:
    """Answer on ``host`` and ``port`` (0: any) until SIGTERM or Ctrl-C, then finish what is begun.

    Args:
        serving: what answers.
        host: an address of this machine.
        port: 0 takes a free one.
        on_start: called with the server's address once it listens.

    Raises:
        ConfigError: others reach that address, and no token is asked for.
        PointAdaptError: the port is taken, or the address is not this machine's.
    """
    if not is_local(host) and not serving.token:
        raise ConfigError(f"others reach {host}: pass --token-file FILE, or leave out --host")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", "") or "it must be 0 to 65535"
        raise PointAdaptError(f"cannot listen on {host}, port {port}: {why}") from error
    with listening:
        app: Any = make_app(serving, LOCAL if is_local(host) else ())
        seconds = int(serving.limits.seconds)
        server = _Server(
            uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False,
                timeout_graceful_shutdown=seconds, limit_concurrency=serving.limits.waiting * 4,
            )
        )  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}"
        server.on_start = lambda: on_start(address)
        server.run(sockets=[listening])
