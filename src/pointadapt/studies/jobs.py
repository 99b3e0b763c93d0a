"""Training runs in processes of their own, several at a time, that may be killed and started again.

A process of its own makes a run's peak memory its own. A run that is finished is kept, one that was
cut off goes on from its checkpoint, and one made with other options is refused. Workers end when
the process that started them does, even if that one is killed (:mod:`pointadapt.studies.worker`).
SIGTERM is passed on to them, so that each saves the step it is in.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ..core import console, stops
from ..core.config import TrainConfig, load_config, other_options, save_config, to_plain
from ..core.errors import ConfigError, PointAdaptError
from ..core.files import CHECKPOINT, read_json, write_json
from ..core.folders import sweep

RESULTS, TIMING, CONFIG, LOG = "results.json", "timing.json", "config.yaml", "worker.log"
MOST_AT_ONCE = 8  # where the number is not given: memory may not suffice for one on every core
GRACE = 25.0  # seconds for workers to save what they have; clusters kill after 30
PATIENCE = 30.0  # seconds that a worker waits for an earlier one, whose parent was killed, to end


@dataclass(frozen=True)
class Job:
    """One training run.

    Attributes:
        name: how messages call it.
        config: what to train, and ``out``, the folder of its own to do it in.
        timed: also measure the inference time of the adapter.
        beside: jobs that are trained with it, in the same process and in the same steps.
    """

    name: str
    config: TrainConfig
    timed: bool = False
    beside: tuple[Job, ...] = ()

    @property
    def each(self) -> tuple[Job, ...]:
        """Itself, without the others, and those beside it."""
        return (replace(self, beside=()), *self.beside) if self.beside else (self,)

    def write(self, threads: int = 0) -> list[str]:
        """Write the options of the runs for their worker; what it is started with.

        Args:
            threads: CPU threads where a run asks for no number.
        """
        for job in self.each:
            config = job.config
            save_config(replace(config, threads=config.threads or threads), config.out / CONFIG)
        paths = [str(job.config.out / CONFIG) for job in self.each]
        return [*paths, *(["--timed"] if self.timed else [])]

    def finished(self) -> dict[str, Any] | None:
        """The results of an earlier process; None if there is more to do.

        Raises:
            ConfigError: the folder holds a run with other options.
        """
        out = self.config.out
        if not (out / CONFIG).exists():
            return None
        was, now = to_plain(load_config(out / CONFIG, TrainConfig)), to_plain(self.config)
        differ = other_options(was, now)
        if differ:
            raise ConfigError(
                f"{out} was made with other options ({differ}): "
                "use the same ones, or choose another --out"
            )
        needed = [RESULTS, TIMING] if self.timed else [RESULTS]
        if not all((out / name).exists() for name in needed):
            return None
        timing = {"timing": read_json(out / TIMING)} if self.timed else {}
        return {**read_json(out / RESULTS), **timing}

    def epochs_done(self) -> int:
        """Epochs behind it, as its log has them."""
        out = self.config.out
        if (out / RESULTS).exists():
            return self.config.epochs
        try:
            return (out / "log.jsonl").read_bytes().count(b"\n")
        except OSError:
            return 0


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with ``results``, or with ``error``, one line.

    ``kept`` tells that the results were there before, ``together`` how many jobs were trained in
    the same steps.
    """

    job: Job
    results: dict[str, Any] | None = None
    error: str = ""
    kept: bool = False
    together: int = 1


class Running(Protocol):
    """Jobs under way. Leaving the block ends those that are left; by SIGTERM they save first."""

    @property
    def running(self) -> Sized:
        """Those under way."""
        ...

    @property
    def free(self) -> bool:
        """Whether one more may start."""
        ...

    def start(self, job: Job) -> None:
        """Start a job."""
        ...

    def ended(self) -> list[Outcome]:
        """The jobs that have ended since the last call."""
        ...

    def __enter__(self) -> Running: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None, /,
    ) -> None: ...  # fmt: skip


Executor = Callable[[int, int], Running]  # of how many jobs, and how many at a time (0: it decides)


def run_all(
    jobs: Sequence[Job], *, what: str = "training", at_once: int = 1, keep_going: bool = False,
    on_done: Callable[[Outcome], None] | None = None, executor: Executor | None = None,
    together: int = 1,
) -> list[Outcome]:  # fmt: skip
    """Run the jobs that are not finished, each in a process of its own; all outcomes, in order.

    Of jobs that are trained ``together`` and failed, each is tried once more by itself.

    Args:
        jobs: with a folder of its own each.
        what: the title of the progress bar, which counts epochs.
        at_once: processes at a time; 0 takes one for every GPU, or else core, 8 at most.
        keep_going: go on after a job failed, instead of raising.
        on_done: called with each outcome, the earlier ones first.
        executor: what starts them and tells which have ended; by default processes here.
        together: jobs in one process, whose steps are one where they can be.

    Raises:
        ConfigError: a folder holds a run with other options; nothing was started.
        PointAdaptError: a job failed, in its words.
        Stopped: by SIGTERM; the jobs under way have saved what they had.
    """
    found = [(job, job.finished()) for job in jobs]
    done = {job.name: Outcome(job, r, kept=True) for job, r in found if r is not None}
    waiting = stacked([job for job in jobs if job.name not in done], together)
    tell = on_done or (lambda outcome: None)
    for outcome in done.values():
        tell(outcome)
    total = sum(job.config.epochs for job in jobs)
    progress = console.progress(what, total, unit="epochs")
    with progress as bar, stops.later(), (executor or Slots)(len(waiting), at_once) as slots:
        while waiting or slots.running:
            while waiting and slots.free:
                slots.start(waiting.pop(0))
            ended = slots.ended()
            stops.check()  # SIGTERM may have reached the workers, too
            for outcome in ended:
                if outcome.error and outcome.together > 1:
                    console.note_line(f"{outcome.error}; it is trained by itself")
                    waiting.insert(0, outcome.job)
                    continue
                done[outcome.job.name] = outcome
                tell(outcome)
                if outcome.error and not keep_going:
                    raise PointAdaptError(outcome.error)
            bar(sum(job.epochs_done() for job in jobs))
            time.sleep(0.1)
    return [done[job.name] for job in jobs]


def stacked(jobs: Sequence[Job], most: int) -> list[Job]:
    """The jobs, up to ``most`` of a kind as one, where runs of that kind can be trained together.

    The others are told of, in a line for each reason.
    """
    if most < 2:
        return list(jobs)
    from ..training.together import alike, why_alone

    kinds: dict[Any, list[Job]] = {}
    reasons: dict[str, list[str]] = {}
    for job in jobs:
        begun = (job.config.out / CHECKPOINT).exists()
        why = "there is a checkpoint to go on from" if begun else why_alone(job.config)
        if why:
            reasons.setdefault(why, []).append(job.name)
        kinds.setdefault(job.name if why else (alike(job.config), job.timed), []).append(job)
    for why, names in reasons.items():
        console.note_line(f"trained one by one, since {why}: {'; '.join(names)}")
    return [
        replace(first, beside=tuple(others))
        for same in kinds.values()
        for first, *others in (same[at : at + most] for at in range(0, len(same), most))
    ]


class Slots:
    """The processes that run now, each with its share of threads and a GPU where there are more."""

    def __init__(self, jobs: int, at_once: int) -> None:
        self.gpus = _gpus() if jobs else []
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        cores = cores or os.cpu_count() or 1
        wanted = at_once or len(self.gpus) or min(cores, MOST_AT_ONCE)
        self.count = max(1, min(wanted, jobs))
        self.threads = max(1, cores // self.count) if self.count > 1 else 0
        self.running: dict[int, tuple[Job, subprocess.Popen[bytes]]] = {}

    @property
    def free(self) -> bool:
        return len(self.running) < self.count

    def start(self, job: Job) -> None:
        slot = next(i for i in range(self.count) if i not in self.running)
        command = [sys.executable, "-m", "pointadapt.studies.worker", *job.write(self.threads)]
        env, threads = dict(os.environ), job.config.threads or self.threads
        if threads:
            env["OMP_NUM_THREADS"] = str(threads)
        if len(self.gpus) > 1:
            env["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        with open(job.config.out / LOG, "ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=env
            )
        self.running[slot] = (job, process)

    def ended(self) -> list[Outcome]:
        """The jobs whose process has ended since the last call."""
        over = [(slot, job, p.poll()) for slot, (job, p) in self.running.items()]
        over = [(slot, job, status) for slot, job, status in over if status is not None]
        for slot, _, _ in over:
            _close(self.running.pop(slot)[1])
        if any(status == stops.INTERRUPTED for _, _, status in over):
            raise KeyboardInterrupt
        return [outcome for _, job, status in over for outcome in outcomes_of(job, status)]

    def __enter__(self) -> Slots:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        left = [process for _, process in self.running.values()]
        if kind is stops.Stopped:
            _let_save(left)
        for process in left:
            process.kill()  # what they have is in their checkpoints
        for process in left:
            process.wait()
            _close(process)


def _let_save(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Pass SIGTERM on, and wait until all have saved their step."""
    deadline = time.monotonic() + GRACE
    for process in processes:
        process.terminate()
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        with suppress(OSError):
            process.stdin.close()


def outcomes_of(job: Job, status: int) -> list[Outcome]:
    """How a job and those beside it ended, whose worker ended with this exit status."""
    together = len(job.each)
    log = job.config.out / LOG if together > 1 else None
    return [replace(outcome_of(one, status, log), together=together) for one in job.each]


def outcome_of(job: Job, status: int, log: Path | None = None) -> Outcome:
    """How a job ended whose worker ended with this exit status.

    ``log`` is that of several jobs, of which some may be finished in any case.
    """
    results = job.finished() if status == 0 or log is not None else None
    if results is not None:
        return Outcome(job, results)
    log = log or job.config.out / LOG
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    said = [line for line in lines if line.strip()]
    start = "pointadapt: error: "
    if status == 2 and said and said[-1].startswith(start):
        return Outcome(job, error=f"{job.name}: {said[-1].removeprefix(start)}")
    how = f"ended with status {status}"
    if status in (stops.STOPPED, -15):
        how = "was stopped by SIGTERM: the same command goes on with it"
    if status == -9:  # SIGKILL
        how = "was killed, perhaps for lack of memory (lower --jobs or --batch-size)"
    return Outcome(job, error=f"{job.name}: its process {how}; see {log}")


def _gpus() -> list[str]:
    """The names by which CUDA_VISIBLE_DEVICES knows the GPUs."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return given[:count] or [str(i) for i in range(count)]


def work(
    config: TrainConfig, timed: bool = False, patience: float = PATIENCE,
    beside: Sequence[TrainConfig] = (),
) -> None:  # fmt: skip
    """Do what is left of a run: train, measure the inference time, drop the checkpoint.

    Args:
        config: of the run.
        timed: measure.
        patience: seconds to wait for an earlier worker to end.
        beside: runs that are trained together with it.

    Raises:
        PointAdaptError: bad input, in one line.
    """
    configs = (config, *beside)
    for each in configs:
        sweep(each.out, each.out / "adapter")
    _train([each for each in configs if not (each.out / RESULTS).exists()], patience)
    for each in configs:
        if timed and not (each.out / TIMING).exists():
            from ..inference.timing import inference_time

            write_json(each.out / TIMING, inference_time(each.out / "adapter", each))
        (each.out / CHECKPOINT).unlink(missing_ok=True)


def _train(configs: Sequence[TrainConfig], patience: float) -> None:
    if len(configs) > 1:
        from ..training.together import train_together

        train_together(configs, patience)
        return
    from ..training.trainer import train_in

    for config in configs:
        resume = (config.out / CHECKPOINT).exists()
        train_in(replace(config, resume=resume), patience)
