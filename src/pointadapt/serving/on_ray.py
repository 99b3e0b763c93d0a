"""A server on a Ray cluster: the same addresses, answered by replicas on its nodes (Ray Serve)."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError, PointAdaptError, UnknownNameError
from ..core.ray_cluster import Caller, connected
from .plan import LOCAL, Plan
from .token import read_token

NAME = "pointadapt"  # of the application in the cluster
Told = Callable[[], None]


def made(plan: Plan, caller: Caller) -> Any:
    """The FastAPI application, in a replica: what answers stays on the node where it is made.

    Raises:
        PointAdaptError: the node has another version, or does not see the folder.
    """
    from ..core.machine import use_threads
    from .app import Serving, make_app
    from .shelf import Shelf

    refusal = caller.refusal()
    if refusal:
        raise PointAdaptError(refusal)
    os.chdir(caller.folder)
    os.environ.update(caller.settings)
    use_threads(plan.threads)
    shelf = Shelf(plan.places, plan.backbone, plan.most)
    return make_app(Serving(shelf, plan.limits, plan.token), plan.hosts)


def application(plan: Plan, replicas: int) -> Any:
    """What ``ray.serve.run`` takes: so many replicas, each of which answers by itself."""
    from ray import serve

    caller = Caller()

    def answers() -> Any:  # a function, by which Ray knows that the replica is to call it
        return made(plan, caller)

    @serve.deployment(
        name="Server", num_replicas=replicas, max_ongoing_requests=plan.limits.waiting,
        ray_actor_options={"num_cpus": max(1, plan.threads)}, health_check_period_s=2,
        graceful_shutdown_timeout_s=plan.limits.seconds,
    )  # fmt: skip
    @serve.ingress(answers)
    class Server:
        """A replica."""

    return Server.bind()


def run_on(cluster: str, plan: Plan, host: str, port: int, replicas: int, on_start: Told) -> None:
    """Answer on ``host`` and ``port`` of every node until SIGTERM or Ctrl-C.

    Args:
        cluster: see :func:`pointadapt.core.ray_cluster.connected`.
        plan: what answers; all nodes see its places and the working folder.
        host: an address of the nodes.
        port: the same on all nodes.
        replicas: how many answer.
        on_start: called once all answer.

    Raises:
        ConfigError: Ray Serve is not installed, or no port is given.
        PointAdaptError: no cluster is there, one serves already, or replicas do not begin.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise ConfigError(
            "serving on a cluster needs pip install 'pointadapt[ray-serve]'"
        ) from error
    if not port:
        raise ConfigError("on a cluster, name a --port: all nodes listen on it")
    stop = threading.Event()
    plan = replace(plan, threads=plan.threads or 1)
    with connected(cluster), ExitStack() as left:
        handlers = {n: signal.signal(n, lambda *_: stop.set()) for n in (2, 15)}
        try:
            if NAME in serve.status().applications:
                raise PointAdaptError(f"a server runs on {cluster} already: stop it first")
            left.callback(_end)
            logging.getLogger("ray.serve").setLevel(logging.ERROR)
            serve.start(
                http_options={"host": host, "port": port, "location": "EveryNode"},
                logging_config={"log_level": logging.ERROR},
            )
            _begin(application(plan, replicas))
            on_start()
            stop.wait()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _begin(application: Any) -> None:
    """Let the replicas begin.

    Raises:
        PointAdaptError: they do not, and why.
    """
    from ray import serve

    try:
        serve.run(application, name=NAME, route_prefix="/")
    except RuntimeError as error:
        app = serve.status().applications.get(NAME)
        told = [d.message for d in app.deployments.values()] if app is not None else []
        lines = [
            line.strip() for line in "\n".join([str(error), *told]).splitlines() if line.strip()
        ]
        ours = [line.partition("Error: ")[2] for line in lines if "pointadapt.core.errors" in line]
        why = (ours or lines)[-1].strip()[:300]
        raise PointAdaptError(f"the replicas do not begin: {why}") from error


def _end() -> None:
    """Take the application away, and Ray Serve with it where it was the only one."""
    from ray import serve

    serve.delete(NAME)
    if not serve.status().applications:
        serve.shutdown()


def build(options: dict[str, str]) -> Any:
    """For Ray's own commands: ``serve run pointadapt.serving.on_ray:build adapters=runs``.

    Args:
        options: ``adapters``, folders with a comma between them; and if wanted ``backbone``,
            ``replicas``, ``most`` and ``token_file``.
    """
    known = ("adapters", "backbone", "replicas", "most", "token_file")
    for name in options:
        if name not in known:
            raise UnknownNameError("option", name, known)
    token_file = options.get("token_file")
    plan = Plan(
        tuple(Path(place) for place in options["adapters"].split(",")), options.get("backbone"),
        int(options.get("most", 100)), token=read_token(Path(token_file)) if token_file else "",
        hosts=() if token_file else LOCAL, threads=1,
    )  # fmt: skip
    return application(plan, int(options.get("replicas", 1)))
