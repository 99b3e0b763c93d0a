"""Predicting many files on a Ray cluster: the same rows as here, from workers on all its nodes.

A Ray Data job: batches of files go through a pool of actors, each of which holds the model. A
worker that is killed is replaced, and its batch is predicted again.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..adapters.protocol import load_ready
from ..core.errors import ConfigError, PointAdaptError
from ..core.machine import use_threads
from ..core.ray_cluster import Caller, connected, share_of
from .predictor import OnProgress, Predictor
from .rows import Paths, Row, list_files

BLOCKS = 1000  # of batches, at most: a block is what Ray keeps account of
NUMBER, PATHS, ROWS = "number", "paths", "rows"  # columns of the job


def predict_on(
    cluster: str, predictor: Predictor, paths: Paths, adapter: Path | str, *,
    backbone: Path | str | None = None, threads: int = 0, on_progress: OnProgress | None = None,
) -> list[Row]:  # fmt: skip
    """What ``predictor.files`` says of the files, worked out on a cluster.

    Args:
        cluster: see :func:`pointadapt.core.ray_cluster.connected`.
        predictor: of the adapter's task.
        paths: files and folders that all nodes see under the same path.
        adapter: a folder that all nodes see, or hf://owner/name.
        backbone: where the backbone is now, if the adapter does not know.
        threads: cores of a worker; 0 takes one, or those that belong to a GPU.
        on_progress: told how far it is.

    Raises:
        PointAdaptError: as ``predictor.files`` does, or there is no cluster, or workers failed.
    """
    listed = [entry.path for entry in list_files(paths)]
    _check_copies(predictor, listed)
    step, rows, done = predictor.together, {}, 0
    batches = [listed[k : k + step] for k in range(0, len(listed), step)]
    with connected(cluster) as ray:
        for number, found in _found(ray, predictor, batches, (adapter, backbone), threads):
            rows[number] = found
            done += len(found)
            if on_progress is not None:
                on_progress("predicting", done, len(listed))
    return [row for number in sorted(rows) for row in rows[number]]


def _check_copies(predictor: Predictor, paths: list[Path]) -> None:
    """Refuse what workers, who do not know of one another, would write into one file."""
    out = getattr(predictor, "out", None)
    if out is None:
        return
    name, times = Counter(path.stem for path in paths).most_common(1)[0]
    if times > 1:
        raise ConfigError(
            f"{times} files are called {name}, and so would be their copies in {out}: rename them, "
            "or leave out --cluster"
        )
    if len(paths) > 1 and Path(out).suffix:
        raise ConfigError(f"--out {out} must be a folder for {len(paths)} files")


def _found(
    ray: Any, predictor: Predictor, batches: list[list[Path]], model: tuple[Any, Any], threads: int
) -> Iterator[tuple[int, list[Row]]]:
    """The number and the rows of each batch, in the order in which they are done."""
    from ray import data

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus, cores = share_of(nodes)
    cores = threads or cores
    room = sum(int(n.get("GPU", 0) if gpus else n.get("CPU", 0) // cores) for n in nodes)
    _quiet(data)
    items = [{NUMBER: k, PATHS: [str(p) for p in batch]} for k, batch in enumerate(batches)]
    job = data.from_items(items, override_num_blocks=min(len(items), BLOCKS)).map_batches(
        _Worker,
        fn_constructor_args=(predictor, *model, cores, Caller()),
        batch_size=1,
        compute=data.ActorPoolStrategy(min_size=1, max_size=max(1, min(room, len(items)))),
        num_cpus=cores,
        num_gpus=gpus,
    )
    try:
        for row in job.iter_rows():
            found = pickle.loads(row[ROWS])
            if isinstance(found, PointAdaptError):
                raise found
            yield int(row[NUMBER]), found
    except ray.exceptions.RayError as error:
        why = [line.strip() for line in str(error).split("\n") if line.strip()]
        raise PointAdaptError(f"the Ray job failed: {why[-1][:300] if why else error!r}") from error


def _quiet(data: Any) -> None:
    """No bars of Ray's beside ours, and no plans on the screen."""
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


class _Worker:
    """An actor: holds the model, and answers batches of files."""

    def __init__(
        self, predictor: Predictor, adapter: Path | str, backbone: Path | str | None, cores: int,
        caller: Caller,
    ) -> None:  # fmt: skip
        self.predictor, self.adapter, self.backbone = predictor, adapter, backbone
        self.cores, self.caller = cores, caller
        self.model: Any = None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """A batch of one item: its number, and its rows or what is wrong, pickled."""
        try:
            model = self.model = self.model or self._begin()
            paths = [str(path) for path in batch[PATHS][0]]
            found: Any = list(self.predictor.files(paths, model).rows)
        except PointAdaptError as error:
            found = PointAdaptError(str(error))
        return {NUMBER: batch[NUMBER], ROWS: [pickle.dumps(found)]}

    def _begin(self) -> Any:
        refusal = self.caller.refusal()
        if refusal:
            raise PointAdaptError(refusal)
        os.chdir(self.caller.folder)
        os.environ.update(self.caller.settings)
        use_threads(self.cores)
        return load_ready(self.adapter, self.backbone)
