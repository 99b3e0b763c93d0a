"""Running a server until it is asked to stop."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace

from ..core.errors import ConfigError
from ..core.machine import use_threads
from .app import Serving
from .listen import answer, listening_on
from .plan import LOCAL, Plan
from .shelf import Shelf
from .workers import Workers


def is_local(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(
    plan: Plan, host: str, port: int, workers: int = 1,
    on_start: Callable[[int, str], None] = lambda *_: None, cluster: str = "",
) -> None:  # fmt: skip
    """Answer on ``host`` and ``port`` (0: any) until SIGTERM or Ctrl-C, then finish what is begun.

    Args:
        plan: what answers.
        host: an address of this machine.
        port: 0 takes a free one.
        workers: processes that answer; a single one is this process.
        on_start: called with the number of adapters and the server's address once it listens.
        cluster: of Ray, whose nodes answer; on this machine if empty.

    Raises:
        ConfigError: others reach that address, and no token is asked for.
        AdapterError, FetchError: see :class:`Shelf`.
        PointAdaptError: the port is taken, or the address is not this machine's.
    """
    if not is_local(host) and not plan.token:
        raise ConfigError(f"others reach {host}: pass --token-file FILE, or leave out --host")
    plan = replace(plan, hosts=LOCAL if is_local(host) else ())
    shelf = Shelf(plan.places, plan.backbone, plan.most)
    count = len(shelf.folders())
    shown = f"[{host}]" if ":" in host else host
    if cluster:
        from .on_ray import run_on

        run_on(
            cluster, plan, host, port, workers, lambda: on_start(count, f"http://{shown}:{port}")
        )
        return
    with listening_on(host, port) as listening:
        address = f"http://{shown}:{listening.getsockname()[1]}"
        if workers > 1:
            Workers(plan, workers, listening, lambda: on_start(count, address)).run()
            return
        use_threads(plan.threads)
        serving = Serving(shelf, plan.limits, plan.token)
        answer(serving, listening, plan.hosts, lambda: on_start(count, address))
