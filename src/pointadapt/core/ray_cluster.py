"""Being connected to a Ray cluster, or to one that is started for this process alone."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigError, PointAdaptError
from .version import __version__

SETTINGS = "POINTADAPT_"  # how the variables begin that hold for the nodes too
LOCAL = "local"  # the address that means: start a Ray of its own on this machine


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module ``ray``, connected to the cluster at ``address`` inside the block.

    A program that is connected already stays so. SIGTERM and Ctrl-C go where they went before.

    Args:
        address: host:port of the cluster's head, "auto" for the one that this machine is a node
            of, or "local".

    Raises:
        ConfigError: Ray is not installed.
        PointAdaptError: there is no cluster at that address.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--cluster needs ray: pip install 'pointadapt[ray]'") from error
    begun = not ray.is_initialized()
    if begun:
        _connect(ray, address)
    try:
        yield ray
    finally:
        if begun:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    own = {"include_dashboard": False} if address == LOCAL else {}
    if own:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # 15 starves where others compute
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _reach(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        why = str(error).strip().split("\n")[0][:200]
        raise PointAdaptError(
            f"no Ray cluster at {address}: start one by ray start --head, or pass "
            f"--cluster {LOCAL} ({why})"
        ) from error
    finally:
        _restore(before)


def _reach(address: str) -> None:
    """Fail at once where nothing listens: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    """Ray's own handler of SIGTERM would end the process before anything is saved."""
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def share_of(nodes: list[dict[str, float]]) -> tuple[int, int]:
    """GPUs and cores of a worker: a GPU with its share of its node's cores, or else one core."""
    with_gpus = [n for n in nodes if n.get("GPU", 0) >= 1]
    cores = [int(n.get("CPU", 1) // n["GPU"]) for n in with_gpus]
    return (1, max(1, min(cores))) if cores else (0, 1)


def node_name() -> str:
    """The address of the node that this task is on."""
    import ray

    return ray.util.get_node_ip_address()


def _settings() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key.startswith(SETTINGS)}


@dataclass(frozen=True)
class Caller:
    """Where a command was called: its tasks do as it would have done there.

    Attributes:
        folder: from which relative paths go.
        version: of pointadapt.
        settings: environment variables.
    """

    folder: str = field(default_factory=os.getcwd)
    version: str = __version__
    settings: dict[str, str] = field(default_factory=_settings)

    def refusal(self) -> str:
        """On a node: why it cannot do what it is asked to, in one line; empty if it can."""
        if self.version != __version__:
            return (
                f"node {node_name()} has pointadapt {__version__}, not {self.version}: install the "
                "same there"
            )
        if not Path(self.folder).is_dir():
            return (
                f"node {node_name()} does not see {self.folder}: call the command in a folder that "
                "all nodes share"
            )
        return ""
