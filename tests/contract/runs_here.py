"""Runs of a study in this process, for tests: a process of its own each takes seconds to start."""

from pointadapt.core.config import save_config
from pointadapt.core.errors import PointAdaptError
from pointadapt.studies import many
from pointadapt.studies.jobs import Outcome, work


def run_here(monkeypatch):
    """Let studies run their jobs in this process until the test ends."""
    monkeypatch.setattr(many, "run_all", inline)


def inline(jobs, keep_going=False, on_done=None, **_):
    """As ``run_all``."""
    outcomes = []
    for job in jobs:
        kept, error = job.finished(), ""
        if kept is None:
            save_config(job.config, job.config.out / "config.yaml")
            try:
                work(job.config, job.timed)
            except PointAdaptError as reason:
                if not keep_going:
                    raise
                error = f"{job.name}: {reason}"
        outcomes.append(Outcome(job, kept or job.finished(), error, kept is not None))
        if on_done is not None:
            on_done(outcomes[-1])
    return outcomes
