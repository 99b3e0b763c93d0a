"""Cross-validation: every cloud is predicted once, by a model that did not see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..core.config import TrainConfig, key_values, to_plain
from ..core.config.cross_validate import CrossValidateConfig
from ..core.errors import ConfigError
from ..core.files import write_csv, write_json
from ..core.folders import only_run_in
from ..core.results import StudyResults
from ..recipes.start import configured
from .jobs import Job, Outcome
from .many import of_folds, run_many

if TYPE_CHECKING:
    import torch

    from ..data import Clouds
    from ..data.sets.folds import FoldIndex
    from ..tasks import Task

# What a run's results say, and the adapter that is given away does not.
_NOT_OF_ADAPTERS = (
    "adapter", "adapter_bytes", "held_out_files", "skipped_files", "validation_files",
)  # fmt: skip
RESULTS, PREDICTIONS, FINAL = "cross_validation.json", "predictions.csv", "final"


def cross_validate(
    config: CrossValidateConfig | Path | str | None = None,
    *,
    on_done: Callable[[Outcome], None] | None = None,
    **options: Any,
) -> StudyResults:
    """Train and score every fold; returns what is written to ``out/cross_validation.json``.

    ``out/predictions.csv`` lists what was predicted of every cloud while it was held out. Folds
    that an earlier, killed call finished are kept, and one that was cut off goes on.

    Args:
        config: all options, or a YAML file with some of them.
        options: options by name, as
            :class:`~pointadapt.core.config.CrossValidateConfig` lists them.
        on_done: called with the outcome of each fold, and of the final run.

    Raises:
        PointAdaptError: bad input, in one line.
    """
    config = configured(CrossValidateConfig, config, options)
    with only_run_in(config.out, FINAL):
        return _run(config, on_done)


def _run(config: CrossValidateConfig, on_done: Callable[[Outcome], None] | None) -> StudyResults:
    from ..data.sets.folds import NONE
    from ..inference.forest import mean_of
    from ..training.setup import check_names, fitted

    check_names(config)
    config = fitted(config)
    index, clouds = _folds(config)
    jobs = [_job(config, k, f"fold {k}", f"folds/{k}") for k in range(index.folds)]
    outcomes = run_many(config, jobs, "cross-validating", on_done=on_done)
    folds = [o.results for o in outcomes if o.results]
    predicted, task = _held_out(config, index, clouds)
    results = _summary(config, index, folds, _pooled(task, predicted, clouds))
    if not task.per_point:
        _write_predictions(config.out / PREDICTIONS, index, clouds, task, predicted)
    results["baseline"] = mean_of(folds)
    if config.final:
        last = _job(config, NONE, FINAL, FINAL)
        (outcome,) = run_many(config, [last], "final training", on_done=on_done)
        settled = {k: str(v) for k, v in index.options.items()}
        results["final_adapter"] = _state(outcome, results, config, settled)
    write_json(config.out / RESULTS, results)
    return cast(StudyResults, results)


def _folds(config: CrossValidateConfig) -> tuple[FoldIndex, Clouds]:
    """The folds, drawn or read, and the clouds in their order."""
    from ..data.checking.repeats import tell_repeated
    from ..data.sets import folds as module
    from ..training.setup import make_dataset

    source, options = make_dataset(config), key_values(config.data_options)
    pool, path = config.pool, config.out / module.NAME
    given = None
    if config.folds_file is not None:
        given = module.read_folds(config.folds_file)
        if given.data != config.data:
            raise ConfigError(f"{config.folds_file} holds folds of {given.data}, not {config.data}")
        pool = given.pool
    count = given.folds if given is not None else config.folds
    drawn, clouds = module.draw_folds(source, options, pool, count, config.seed)
    if given is not None:
        module.check_same(config.folds_file or path, given, clouds)
    # Which clouds are together is the file's; how they are read is this run's.
    index = drawn if given is None else replace(given, options=drawn.options)
    if path.exists() and module.read_folds(path) != index:
        raise ConfigError(
            f"{path} holds other folds, of other data or other options: choose another --out, "
            "or take them as they are with --folds-file"
        )
    index.write(path)
    tell_repeated(clouds)
    return index, clouds


def _job(config: CrossValidateConfig, fold: int, name: str, place: str) -> Job:
    """The training run that holds out ``fold``; its data set is the index file."""
    values = {f.name: getattr(config, f.name) for f in fields(TrainConfig)}
    source = (f"source_root={config.root}",) if config.root else ()
    data = {"data": "folds", "root": config.out, "data_options": (f"fold={fold}", *source)}
    return Job(name, TrainConfig(**{**values, **data, "out": config.out / place, "resume": False}))


def _held_out(
    config: CrossValidateConfig, index: FoldIndex, clouds: Clouds
) -> tuple[torch.Tensor, Task]:
    """What the task predicts of every cloud, by the adapter of the fold that held it out."""
    import numpy as np
    import torch

    from ..adapters.protocol import autocast, load_ready
    from ..inference.forward import predict_clouds

    fold_of, parts, order, task = index.fold_of(), [], [], None
    for k in range(index.folds):
        model, at = load_ready(config.out / f"folds/{k}/adapter"), np.flatnonzero(fold_of == k)
        held = clouds.subset(at)
        with autocast(model, config.precision):
            found = predict_clouds(
                model, held, config.points, votes=config.votes, voting=config.voting,
                seed=config.seed,
            )  # fmt: skip
        parts.append(found)
        order.append(at)
        task = model.adapter.task
    assert task is not None
    back = np.argsort(np.concatenate(order))
    return torch.cat(parts)[torch.from_numpy(back)], task


def _pooled(task: Task, predicted: torch.Tensor, clouds: Clouds) -> dict[str, Any]:
    """Scores over all held-out predictions at once, with the confusion matrix: rows by name."""
    import torch

    from ..tasks.metrics import confusion_matrix

    names = task.names(clouds.classes, clouds.part_names, clouds.feature_names)
    target, category = torch.from_numpy(task.target(clouds)), torch.from_numpy(clouds.labels)
    scores = task.score(predicted, target, names, category)
    chosen, labels = task.chosen(predicted), task.labels(names)
    if chosen is not None and not task.per_point:
        matrix = confusion_matrix(chosen, target, len(labels))
        scores["confusion"] = dict(zip(labels, matrix.tolist(), strict=True))
    return scores


def _summary(
    config: CrossValidateConfig, index: FoldIndex, folds: Sequence[Mapping[str, Any]],
    pooled: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    from ..data.base import SKIPPED
    from ..tasks import TASKS

    def columns(run: Mapping[str, Any]) -> dict[str, Any]:
        return {"clouds": run["protocol"]["test_clouds"]}

    protocol = {
        "folds": index.folds, "pool": index.pool, "fold_seed": index.seed,
        "clouds": len(index.clouds),
    }  # fmt: skip
    found = of_folds(config, folds, TASKS[config.task].metric, columns, protocol)
    for key in ("train_clouds", "test_clouds"):  # differ from fold to fold
        del found["protocol"][key]
    skipped = {SKIPPED: folds[0][SKIPPED]} if SKIPPED in folds[0] else {}
    return {**found, "pooled": dict(pooled), **skipped}


def _write_predictions(
    path: Path, index: FoldIndex, clouds: Clouds, task: Task, predicted: torch.Tensor
) -> None:
    """A row a cloud; wrong and sure is where to look for mistaken labels.

    Of tasks without labels, whether a number is right is left open.
    """
    import torch

    names = task.names(clouds.classes, clouds.part_names, clouds.feature_names)
    target = torch.from_numpy(task.target(clouds))
    rows: list[tuple[object, ...]] = [("path", "label", "predicted", "confidence", "right", "fold")]
    for place, row, true in zip(index.clouds, predicted, target, strict=True):
        name = place.id or f"{place.split}/{place.index}"
        truth, said = task.truth(true, names), task.answer(row, names)
        sure = "" if said.confidence is None else f"{said.confidence:.6f}"
        right = "" if not task.labels(names) else "yes" if said.label == truth else "no"
        rows.append((name, truth, said.label, sure, right, place.fold))
    write_csv(path, rows)


def _state(
    outcome: Outcome, results: Mapping[str, Any], config: CrossValidateConfig,
    settled: Mapping[str, str],
) -> str:  # fmt: skip
    """Write into the final adapter what data it is of, and its scores; returns its folder.

    The data are the user's, not folds of them: the adapter is used without this run's folder. Its
    own scores were of clouds that it was trained on, which say nothing, unless test was left alone.
    """
    from ..adapters import folder as adapter_folder

    assert outcome.results is not None
    own, folder = outcome.results, Path(outcome.results["adapter"])
    source = to_plain(config)
    known = {**own["config"], **{k: source[k] for k in ("data", "root", "data_options")}}
    stated: dict[str, Any] = {
        **own, "data": config.data, "config": known, "settled": dict(settled),
    }  # fmt: skip
    if results["protocol"]["pool"] == "all":
        pooled = results["pooled"]
        scores = {k: v for k, v in pooled.items() if k in own or k == results["metric"]}
        count, clouds = (results["protocol"][key] for key in ("folds", "clouds"))
        scored = f"{count}-fold cross-validation; this adapter itself was trained on all clouds"
        protocol = {**own["protocol"], "test_clouds": clouds}
        stated |= {**scores, "scored": scored, "protocol": protocol}
    adapter_folder.save_adapter(
        adapter_folder.load(folder), folder, backbone=config.backbone, points=config.points,
        dataset=own.get("title", config.data),
        available=adapter_folder.read_adapter_config(folder)["available"],
        results={k: v for k, v in stated.items() if k not in _NOT_OF_ADAPTERS},
    )  # fmt: skip
    write_json(config.out / FINAL / "results.json", stated)
    return str(folder)
