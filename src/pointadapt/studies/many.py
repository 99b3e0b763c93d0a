"""Running the runs of a study as its configuration says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core.config.study import StudyConfig
from .jobs import Job, Outcome, run_all
from .on_ray import executor


def run_many(
    config: StudyConfig, jobs: Sequence[Job], what: str, *, keep_going: bool = False,
    on_done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:  # fmt: skip
    """:func:`~.jobs.run_all`, so many at a time, in one process and where ``config`` says."""
    return run_all(
        jobs, what=what, at_once=config.jobs, keep_going=keep_going, on_done=on_done,
        executor=executor(config.cluster), together=config.together,
    )  # fmt: skip
