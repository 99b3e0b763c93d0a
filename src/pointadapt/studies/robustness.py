"""How well an adapter's answers survive corrupted clouds: ModelNet40-C and ModelNet-C.

Both benchmarks average over corruptions and severities, in two ways.

- ModelNet40-C (Sun et al., 2022): the plain mean of the error rates.
- ModelNet-C (Ren et al., ICML 2022): the error of each corruption, summed over the severities, is
  divided by DGCNN's (CE), and the mean over the corruptions is mCE; RmCE does so with the losses
  against clean clouds.

Both are of accuracies. Of a task with another score, that one is told, with its plain means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..core.config.robustness import RobustnessConfig
from ..core.errors import ConfigError, PointAdaptError
from ..core.files import read_json, sha256_of, write_json
from ..core.folders import only_run_in
from ..core.machine import use_threads
from ..core.results import RobustnessResults
from ..data import Clouds, load_dataset
from ..data.corruptions import ABOUT, SEVERITIES, SUITES, corrupt
from ..data.reading.corrupted import CLEAN, CorruptedTest
from ..data.sets.modelnet40 import CLASSES
from ..recipes.start import configured
from ..tasks import TASKS, Task

OnCell = Callable[[int, int], None]

FORMAT = "pointadapt-robustness/1"
RESULTS, PICTURE = "robustness.json", "robustness.png"
ACCURACY = "accuracy"  # the one score that the benchmarks' own figures are made of

Cell = tuple[str, int]  # corruption and severity; the clean clouds have severity 0


def robustness(
    config: RobustnessConfig | Path | str | None = None,
    *,
    on_cell: OnCell | None = None,
    **options: Any,
) -> RobustnessResults:
    """Score an adapter on every corruption and severity.

    All points of a corrupted cloud enter the network, as in the benchmarks; so their number varies.
    Scores are written to ``out`` one by one, and a second call takes those that are there.

    Args:
        config: all options, or a YAML file with some of them.
        options: options by name, as :class:`~pointadapt.core.config.RobustnessConfig` lists them.
        on_cell: called with the number of scored sets of clouds, and of all.

    Returns:
        The settings, ``task``, ``metric`` (the first score of the adapter's task, such as
        "accuracy" in percent), ``clean`` (its value on clean clouds), ``cells`` corruption -> five
        of (value, points of a cloud), ``summary``: see :func:`summarize`.

    Raises:
        AdapterError: no adapter, or of another backbone.
        ConfigError: the adapter labels points, or ``out`` holds the scores of other settings.
        DataLayoutError, FileFormatError: official files are missing or damaged.
        PointAdaptError: the data set has other classes than the adapter.
    """
    config = configured(RobustnessConfig, config, options)
    with only_run_in(config.out):
        return _run(config, on_cell)


def _run(config: RobustnessConfig, on_cell: OnCell | None) -> RobustnessResults:
    from ..adapters.protocol import autocast, load_ready

    use_threads(config.threads)
    task = _task(config.adapter)
    source = _source(config)
    settings = {**source.settings, "most": config.most, "seed": config.seed, "up": config.up}
    record = _record(config, settings)
    cells = cells_of(config)
    missing = [cell for cell in cells if _key(cell) not in record["scores"]]
    if missing:
        model = load_ready(config.adapter, config.backbone)
        with autocast(model, source.precision):
            for cell in missing:
                if on_cell is not None:
                    on_cell(len(record["scores"]), len(cells))
                record["scores"][_key(cell)] = _score(model, source.clouds(cell), source.truth)
                write_json(config.out / RESULTS, record)
    table = _table(source.suite, record["scores"], task.metric)
    results = {**record, "task": task.name, **table}
    results |= {"title": source.title} if source.title else {}
    results["summary"] = summarize(
        source.suite, results["clean"], results["cells"], source.classes, task.metric
    )
    write_json(config.out / RESULTS, results)
    return cast(RobustnessResults, results)


def _task(adapter: Path) -> type[Task]:
    """The task of an adapter, which must answer for whole clouds.

    Raises:
        ConfigError: it labels points, whose labels do not follow them into corrupted clouds.
    """
    from ..adapters.folder import read_adapter_config

    task = TASKS[read_adapter_config(adapter)["task"]]
    if task.per_point:
        raise ConfigError(
            f"{adapter}: its task, {task.name}, labels points, and corruptions drop and add points "
            "without labels: pass an adapter of a task that answers for whole clouds"
        )
    return task


def cells_of(config: RobustnessConfig) -> list[Cell]:
    """What there is to score: the clean clouds, and each corruption at each severity."""
    suite = config.data if config.data in SUITES else config.suite
    return [(CLEAN, 0), *((name, s) for name in SUITES[str(suite)] for s in SEVERITIES)]


def summarize(
    suite: str, clean: float, cells: Mapping[str, Any], classes: tuple[str, ...] = CLASSES,
    metric: str = ACCURACY,
) -> dict[str, Any]:  # fmt: skip
    """The benchmarks' figures from accuracies in percent, or means of another score.

    Args:
        suite: whose corruptions they are.
        clean: the score on clean clouds.
        cells: corruption -> five of {metric: …}.
        classes: the suite's reference is of ModelNet40's classes; for others there is no CE.
        metric: what the score is called.

    Returns:
        ``clean``, ``mean`` and ``corruptions`` name -> its mean, where the score is no accuracy.
        Of accuracies ``clean_accuracy``, ``mean_accuracy``, ``mean_error`` in percent,
        ``corruptions`` name -> its ``accuracy``, ``error`` and, of ModelNet-C, ``ce`` and ``rce``;
        ``mce`` and ``rmce``, where 1 is the suite's reference; ``definition``.
    """
    means = {name: float(np.mean([s[metric] for s in scores])) for name, scores in cells.items()}
    if metric != ACCURACY:
        mean = float(np.mean(list(means.values())))
        rows = {name: {metric: value} for name, value in means.items()}
        return _rounded({"clean": clean, "mean": mean, "corruptions": rows})
    return _rounded(_of_accuracies(suite, clean, means, classes))


def _of_accuracies(
    suite: str, clean: float, means: Mapping[str, float], classes: tuple[str, ...]
) -> dict[str, Any]:
    about = ABOUT[suite]
    known = about.reference if classes == CLASSES else {}
    rows: dict[str, dict[str, float]] = {}
    for name, accuracy in means.items():
        rows[name] = {"accuracy": accuracy, "error": 100 - accuracy}
        if known:
            ours, theirs = accuracy / 100, known[name]
            rows[name]["ce"] = (1 - ours) / (1 - theirs)
            rows[name]["rce"] = (clean / 100 - ours) / (known[CLEAN] - theirs)
    mean = float(np.mean([row["accuracy"] for row in rows.values()]))
    out: dict[str, Any] = {
        "clean_accuracy": clean, "mean_accuracy": mean, "mean_error": 100 - mean,
        "definition": about.definition,
    }  # fmt: skip
    for key, name in (("mce", "ce"), ("rmce", "rce")):
        if all(name in row for row in rows.values()):
            out[key] = float(np.mean([row[name] for row in rows.values()]))
    out["corruptions"] = rows
    return out


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value


@dataclass(frozen=True)
class _Source:
    """Where corrupted clouds come from."""

    suite: str
    precision: Any
    settings: dict[str, Any]
    classes: tuple[str, ...]
    clouds: Callable[[Cell], Clouds]
    truth: Clouds | None = None  # the clean clouds, with all that is known of them
    title: str = ""


def _source(config: RobustnessConfig) -> _Source:
    from ..adapters.protocol import Protocol

    if config.data in SUITES:
        if config.root is None:
            raise ConfigError(f"{config.data} is read from its official files: pass --root DIR")
        return _official(config)
    protocol = Protocol.of(config.adapter, config.data, config.root, config.data_options)
    test = _subset(protocol.load("test"), config.most)
    suite = config.suite

    def clouds(cell: Cell) -> Clouds:
        name, severity = cell
        points = _brought_down(test.points, protocol.points, name)
        if name != CLEAN:
            points = corrupt(
                points, suite, name, severity, seed=config.seed, up=config.up,
                back=not protocol.normalise,
            )  # fmt: skip
        return Clouds(points, test.labels, test.classes, test.ids)  # what points had is gone

    settings = {"data": protocol.data, "options": _plain(protocol.options)}
    made = "made here of the test split, not the official files"
    settings = {"suite": suite, **settings, "corruptions": made, "clouds": len(test)}
    title = protocol.dataset.title()
    return _Source(suite, protocol.precision, settings, test.classes, clouds, test, title)


def _brought_down(points: np.ndarray, n: int, name: str) -> np.ndarray:
    """As many farthest points as the model was trained with; the double where half are dropped."""
    import torch

    from ..ops.subset import take

    if name == "density_inc" and points.shape[1] >= 2 * n:
        n = 2 * n
    return take(torch.from_numpy(points), n).numpy()


def _official(config: RobustnessConfig) -> _Source:
    from ..adapters.protocol import Protocol

    suite = str(config.data)
    base = load_dataset(suite, root=config.root)
    assert isinstance(base, CorruptedTest)
    missing = [each for _, each in base.variants() if not _there(each)]
    if missing:
        missing[0].load("test")  # says what is missing

    def clouds(cell: Cell) -> Clouds:
        name, severity = cell
        chosen = replace(base, corruption=name, severity=severity or 1)
        return _subset(chosen.load("test"), config.most)

    precision = Protocol.of(config.adapter, suite).precision
    settings = {"suite": suite, "data": suite, "options": {"root": str(config.root)}}
    settings |= {"corruptions": "official files", "clouds": len(clouds((CLEAN, 0)))}
    return _Source(suite, precision, settings, base.CLASSES, clouds)


def _there(each: Any) -> bool:
    root = each.found_root()
    return any(each.file(folder).is_file() for folder in (root, root / each.FOLDER))


def _subset(clouds: Clouds, most: int) -> Clouds:
    from ..inference.linear_svm import fixed_subset

    return fixed_subset(clouds, most)


def _score(model: Any, clouds: Clouds, truth: Clouds | None) -> dict[str, Any]:
    from ..inference.score import evaluate

    n, metric = clouds.points.shape[1], model.adapter.task.metric
    return {metric: evaluate(model, clouds, n, truth=truth)[metric], "points": n}


def _key(cell: Cell) -> str:
    return cell[0] if cell[0] == CLEAN else f"{cell[0]}_{cell[1]}"


def _record(config: RobustnessConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """What ``out`` holds of this very run, or a new record."""
    from ..adapters import folder as adapter_folder

    folder = adapter_folder.located(config.adapter)
    adapter = adapter_folder.read_adapter_config(folder)
    head = {
        "format": FORMAT, "adapter": str(config.adapter), "method": adapter["method"],
        "adapter_sha256": sha256_of(folder / adapter_folder.WEIGHTS),
        "backbone_sha256": adapter["backbone"]["sha256"], "settings": settings,
    }  # fmt: skip
    path = config.out / RESULTS
    if not path.exists():
        return {**head, "scores": {}}
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("scores"), dict):
        raise PointAdaptError(f"{path} is no record of robustness: choose another --out")
    different = [key for key in head if found.get(key) != head[key]]
    if different:
        raise ConfigError(
            f"{path} holds scores of other {' and '.join(different)}: choose another --out"
        )
    return {**head, "scores": found["scores"]}


def _table(suite: str, scores: Mapping[str, Any], metric: str) -> dict[str, Any]:
    cells = {name: [scores[f"{name}_{s}"] for s in SEVERITIES] for name in SUITES[suite]}
    return {"metric": metric, "clean": scores[CLEAN][metric], "cells": cells}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
