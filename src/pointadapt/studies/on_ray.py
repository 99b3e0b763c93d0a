"""Training runs as tasks of a Ray cluster, in the place of processes of this machine.

A task starts the same worker (:mod:`pointadapt.studies.worker`) on its node and waits for it, so
that a run's memory, log and checkpoint are what they are without Ray. All nodes see one file
system. Where a node dies, Ray starts its tasks again elsewhere, and each run goes on from its
checkpoint: the worker has ended with its node, or holds its folder until it has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError
from ..core.notes import note
from ..core.ray_cluster import Caller, connected, node_name, share_of
from .jobs import CONFIG, GRACE, LOG, Executor, Job, Outcome, Slots, outcomes_of

RETRIES = 10  # nodes that a run may lose
PATIENCE = 300.0  # seconds that a run waits for itself on a node that is cut off, not dead
SEEN = 20.0  # seconds until what one node has written is seen by others
TICK = 0.2  # seconds between looks at a worker


def executor(cluster: str) -> Executor:
    """Where runs are made: on the Ray cluster at an address, or here where there is none."""
    return partial(RayTasks, cluster) if cluster else Slots


class RayTasks:
    """The runs that are on the cluster now, each with the cores and the GPU that it needs.

    Args:
        cluster: see :func:`pointadapt.core.ray_cluster.connected`.
        jobs: how many runs there are.
        at_once: runs at a time; 0 takes as many as the cluster has room for.
    """

    def __init__(self, cluster: str, jobs: int, at_once: int) -> None:
        self.cluster, self.jobs = cluster, jobs
        self.count = min(at_once or jobs, jobs)
        self.running: dict[Any, Job] = {}
        self._open = ExitStack()

    def __enter__(self) -> RayTasks:
        if self.jobs:
            self.ray = self._open.enter_context(connected(self.cluster))
            self._nodes = [n["Resources"] for n in self.ray.nodes() if n["Alive"]]
        return self

    @property
    def free(self) -> bool:
        return len(self.running) < self.count

    def start(self, job: Job) -> None:
        gpus, cores = share_of(self._nodes)
        cores = job.config.threads or cores
        if cores > max(n.get("CPU", 0) for n in self._nodes):
            note(f"{job.name} waits for a node with {cores} cores (--threads)")
        path = job.config.out / CONFIG
        asked = [*job.write(cores), f"--patience={PATIENCE:g}"]
        task = self.ray.remote(attempt).options(
            num_cpus=cores, num_gpus=gpus, max_retries=RETRIES, name=job.name
        )
        ref = task.remote(asked, path.read_text(encoding="utf-8"), cores, Caller())
        self.running[ref] = job

    def ended(self) -> list[Outcome]:
        """The jobs whose task has ended since the last call.

        Raises:
            ConfigError: a node does not see the folder, or has another version.
        """
        if not self.running:
            return []
        refs = list(self.running)
        over, _ = self.ray.wait(refs, num_returns=len(refs), timeout=0)
        return [o for ref in over for o in self._outcomes(ref, self.running.pop(ref))]

    def _outcomes(self, ref: Any, job: Job) -> list[Outcome]:
        try:
            status = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            said = [line for line in str(error).split("\n") if line.strip()]
            why = said[-1].strip() if said else type(error).__name__
            failed = f"its Ray task failed: {why[:300]}"
            together = len(job.each)
            return [Outcome(j, error=f"{j.name}: {failed}", together=together) for j in job.each]
        if isinstance(status, str):
            raise ConfigError(status)
        deadline = time.monotonic() + SEEN
        while status == 0 and not _all_finished(job) and time.monotonic() < deadline:
            time.sleep(TICK)
        return outcomes_of(job, status)

    def __exit__(self, *error: object) -> None:
        with self._open:
            left = list(self.running)
            for ref in left:
                self.ray.cancel(ref)  # the task hears Ctrl-C, and its worker SIGTERM
            if left:
                self.ray.wait(left, num_returns=len(left), timeout=GRACE)


def _all_finished(job: Job) -> bool:
    return all(one.finished() is not None for one in job.each)


def attempt(asked: list[str], text: str, cores: int, caller: Caller) -> int | str:
    """On a node: be the parent of a worker, and return its exit status, or why there is none.

    Args:
        asked: the arguments of the worker, first the file with the (first) run's options.
        text: what that file holds.
        cores: threads of the worker.
        caller: the command that asks for it.
    """
    refusal, out = caller.refusal(), Path(caller.folder) / asked[0]
    if refusal:
        return refusal
    if not _sees(out, text):
        return (
            f"node {node_name()} does not see {out.parent}: choose --out on a file system that all "
            "nodes share, under the same path"
        )
    with open(out.parent / LOG, "ab") as log:
        log.write(f"on node {node_name()}\n".encode())
        log.flush()
        command = [sys.executable, "-m", "pointadapt.studies.worker", *asked]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=caller.folder,
            env={**os.environ, **caller.settings, "OMP_NUM_THREADS": str(cores)},
        )  # fmt: skip
        return _wait(worker)


def _sees(path: Path, text: str) -> bool:
    """Whether the file holds ``text``, at the latest ``SEEN`` seconds from now."""
    deadline = time.monotonic() + SEEN
    while True:
        try:
            if path.read_text(encoding="utf-8") == text:
                return True
        except OSError:
            if not path.parent.parent.exists():
                return False
        if time.monotonic() > deadline:
            return False
        time.sleep(TICK)


def _wait(worker: subprocess.Popen[bytes]) -> int:
    """Wait for the worker in short steps: Ray cancels a task between two of them.

    Where the node's raylet dies, this process has another parent, and the run is begun elsewhere.
    """
    raylet = os.getppid()
    try:
        while worker.poll() is None:
            if os.getppid() != raylet:
                sys.exit("the node's raylet has died")
            time.sleep(TICK)
    except BaseException:
        worker.terminate()
        try:
            worker.wait(GRACE)
        except subprocess.TimeoutExpired:
            worker.kill()
        raise
    finally:
        assert worker.stdin
        worker.stdin.close()
    return worker.returncode
