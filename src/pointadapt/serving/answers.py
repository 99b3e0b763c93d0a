"""What an uploaded file comes to: read, given to its adapter, and answered."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ConfigError, PointCloudError
from ..core.notes import notes_kept
from ..core.spent import spent
from ..inference.classify_files import CloudFiles, answer_clouds, answer_mixed, reader_of
from ..inference.predictor import PREDICTORS
from ..inference.rows import Prediction
from ..io import read_cloud
from ..io.table import FORMATS
from ..tasks import TASKS, Task
from .batches import Batches, BusyError
from .plan import Asked
from .shelf import Loaded, Shelf

READERS = 2  # files that are read at a time
VIEWED = 20_000  # points of a cloud that a page is given
FALLBACK = ".ply"  # for labelled points, where the format of the upload holds no labels

Watch = Callable[[str, float], None]  # is told what was done ("read", "batch", …), how much


@dataclass(frozen=True)
class Answer:
    """What an adapter says of a file.

    Attributes:
        told: plain values, for JSON.
        file: the labelled copy, where points are labelled.
        points: (N, 3) some of the file's points, for a picture.
        labels: (N,) of those, where points are labelled.
    """

    told: dict[str, Any]
    file: Path | None = None
    points: np.ndarray | None = None
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class _Job:
    adapter: str
    path: Path
    points: np.ndarray
    traits: np.ndarray
    top: int
    notes: tuple[str, ...] = ()

    def answer(self, told: Prediction, later: list[str]) -> Answer:
        """What is told of it; of the ``later`` notes on a batch those that name it."""
        notes = [*self.notes, *(line for line in later if str(self.path) in line)]
        told = replace(told, top=told.top[: self.top])
        return Answer({**told.to_dict(), "notes": notes}, points=self.points)


_Held = tuple[int, _Job, Loaded]  # a job, its number in the batch, and its adapter in memory


class Answers:
    """Answers files, those of whole clouds in batches, and those of points one by one.

    Args:
        shelf: the adapters.
        batch: clouds that are predicted at a time.
        wait: seconds that a cloud waits for others at most.
        waiting: files that may wait for their turn; more are refused.
        watch: is told how long each step takes, how large batches are, how many are loaded.
    """

    def __init__(
        self, shelf: Shelf, batch: int, wait: float, waiting: int, watch: Watch = lambda *_: None
    ) -> None:
        self.shelf, self._watch = shelf, watch
        self._batches = Batches(self._clouds, batch, wait, waiting)
        self._readers = ThreadPoolExecutor(READERS, "readers")
        self._labellers = ThreadPoolExecutor(1, "labeller")
        self._room = threading.BoundedSemaphore(waiting)

    def submit(self, adapter: str, path: Path, asked: Asked) -> Future[Answer]:
        """The answer, later, to the file that lies alone in its folder.

        Raises:
            BusyError: too many wait already.
        """
        if not self._room.acquire(blocking=False):
            raise BusyError
        answer: Future[Answer] = Future()
        answer.add_done_callback(lambda _: self._room.release())
        if self.labels_points(adapter):
            self._labellers.submit(_settle, answer, self._points, adapter, path, asked)
        else:
            self._readers.submit(self._whole, answer, adapter, path, asked)
        return answer

    def labels_points(self, adapter: str) -> bool:
        """Whether the adapter labels points, and says nothing of a file as a whole."""
        return self.task(adapter).predictor != CloudFiles.name

    def task(self, adapter: str) -> type[Task]:
        """The class of the adapter's task."""
        return TASKS[self.shelf.config(adapter)["task"]]

    def stop(self) -> None:
        """Finish what is under way."""
        self._readers.shutdown()
        self._labellers.shutdown()
        self._batches.stop()

    def _whole(self, answer: Future[Answer], adapter: str, path: Path, asked: Asked) -> None:
        """Read a file and put it into the next batch, whose answer is that of ``answer``."""
        try:
            job = self._read(adapter, path, asked.top)
            batch = self._batches.submit(job)
        except Exception as error:  # its asker hears of it
            _settle(answer, _raise, error)
            return
        batch.add_done_callback(lambda done: _settle(answer, done.result))

    def _read(self, adapter: str, path: Path, top: int) -> _Job:
        with self._timed("read"), notes_kept() as notes:
            path = _as_file(path)
            points, traits = reader_of(self.shelf.config(adapter)).measured(path)
        return _Job(adapter, path, points, traits, top, tuple(dict.fromkeys(notes)))

    def _clouds(self, jobs: list[_Job]) -> list[Answer | Exception]:
        """Answers to a batch, those of one model together."""
        self._watch("batch", len(jobs))
        answers: dict[int, Answer | Exception] = {}
        with ExitStack() as held:
            kinds: dict[Hashable, list[_Held]] = {}
            for k, job in enumerate(jobs):
                try:
                    loaded = held.enter_context(self._held(job.adapter))
                except Exception as error:  # its asker hears of it
                    answers[k] = error
                else:
                    kind = id(loaded.model), loaded.config["points"], job.points.shape
                    kinds.setdefault(kind, []).append((k, job, loaded))
            for group in kinds.values():
                answers |= zip((k for k, *_ in group), self._of_kind(group), strict=True)
        return [answers[k] for k in range(len(jobs))]

    def _of_kind(self, group: list[_Held]) -> list[Answer | Exception]:
        """Answers to clouds of one size for adapters of one model."""
        adapters = list(dict.fromkeys(job.adapter for _, job, _ in group))
        try:
            return [*self._together(group)]
        except Exception as error:  # its askers hear of it
            if len(adapters) == 1:
                return [error] * len(group)
        alone = ([one for one in group if one[1].adapter == name] for name in adapters)
        answers = {
            k: a for own in alone for (k, *_), a in zip(own, self._of_kind(own), strict=True)
        }
        return [answers[k] for k, *_ in group]

    def _together(self, group: list[_Held]) -> list[Answer]:
        jobs, keys = [job for _, job, _ in group], [loaded.key for _, _, loaded in group]
        model, n = group[0][2].model, group[0][2].config["points"]
        entries = [Prediction(job.path) for job in jobs]
        clouds = {k: (job.points, job.traits) for k, job in enumerate(jobs)}
        top = max(job.top for job in jobs)
        with self._timed("network"), notes_kept() as notes:
            if len(set(keys)) > 1:
                done = answer_mixed(entries, clouds, model, keys, n, top)
            else:
                done = answer_clouds(entries, clouds, model.use(keys[0]), n, top)
        return [job.answer(told, notes) for job, told in zip(jobs, done, strict=True)]

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        """Tell how long the block takes: what it samples and groups for itself, the rest as what.

        Nothing is told of a block that fails.
        """
        began = time.perf_counter()
        with spent() as parts:
            yield
        for part, seconds in parts.items():
            self._watch(part, seconds)
        self._watch(what, time.perf_counter() - began - sum(parts.values()))

    @contextmanager
    def _held(self, adapter: str) -> Iterator[Loaded]:
        """The adapter, read from its folder if it is not in memory."""
        before, began = self.shelf.made, time.perf_counter()
        with self.shelf.using(adapter) as loaded:
            if self.shelf.made > before:
                self._watch("load", time.perf_counter() - began)
                self._watch("loaded", self.shelf.loaded)
            yield loaded

    def _points(self, adapter: str, path: Path, asked: Asked) -> Answer:
        path = _as_file(path)
        kind = PREDICTORS[self.task(adapter).predictor]
        options: dict[str, Any] = {"out": path.parent / "labelled"}
        if hasattr(kind, "form"):
            own = path.suffix if "labels" in FORMATS[path.suffix].holds else FALLBACK
            options |= {"form": asked.copy or own[1:], "category": asked.category}
        elif asked.category or asked.copy:
            raise ConfigError("this adapter takes no category and no copy: leave them out")
        with self._held(adapter) as loaded, self._timed("label"), notes_kept() as notes:
            row: Any = kind(**options).files([path], loaded.model).rows[0]  # type: ignore[arg-type]
            names = loaded.model.adapter.names.parts
        if row.error is not None:
            raise PointCloudError(row.error)
        copies = (p for p in sorted(options["out"].iterdir()) if p.suffix != ".json")
        told = {**row.to_dict(), "names": names, "notes": (*dict.fromkeys(notes),)}
        return Answer(told, file=next(copies))


def _settle(answer: Future[Any], work: Callable[..., Any], *given: Any) -> None:
    """Let ``answer`` be what ``work`` returns or raises, unless nobody waits for it any more."""
    if answer.cancelled():
        return
    try:
        answer.set_result(work(*given))
    except Exception as error:  # its asker hears of it
        if not answer.cancelled():
            answer.set_exception(error)


def _raise(error: Exception) -> None:
    raise error


def viewed(answer: Answer) -> Answer:
    """The answer with some of its points, for a picture."""
    points, labels = answer.points, answer.labels
    if answer.file is not None:
        with notes_kept():  # of a copy, whose original was told of
            cloud = read_cloud(answer.file, nan="drop")
        points, labels = cloud.points, cloud.labels
    if points is None:
        return answer
    step = max(1, -(-len(points) // VIEWED))
    some = None if labels is None else np.asarray(labels)[::step]
    return replace(answer, points=np.asarray(points)[::step], labels=some)


def _as_file(path: Path) -> Path:
    """The upload as a file that readers take: points that came as JSON become an array."""
    if path.suffix != ".json":
        return path
    try:
        told = json.loads(path.read_bytes())
        points = np.asarray(told["points"], np.float64)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PointCloudError(
            'the JSON is no cloud: send {"points": [[x, y, z], …]} with numbers alone'
        ) from error
    array = path.with_suffix(".npy")
    np.save(array, points)
    return array
