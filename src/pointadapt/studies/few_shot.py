"""Few-shot classification: every fold of an n-way k-shot protocol, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.table import Table

from ..core import console
from ..core.config import TrainConfig, key_values
from ..core.config.few_shot import FewShotConfig
from ..core.errors import ConfigError, DataLayoutError
from ..core.files import read_json, write_json
from ..core.folders import only_run_in
from ..core.results import StudyResults
from ..recipes.start import configured
from .jobs import Job, Outcome
from .many import of_folds, run_many

if TYPE_CHECKING:
    from ..data.sets.episodes import Setting
    from ..tasks import Measure

RESULTS = "few_shot.json"


def few_shot(
    config: FewShotConfig | Path | str | None = None,
    *,
    on_done: Callable[[Outcome], None] | None = None,
    **options: Any,
) -> StudyResults:
    """Train and score every fold; returns the results that are written to ``out/few_shot.json``.

    Folds that an earlier, killed call finished are kept, and one that was cut off goes on.

    Args:
        config: all options, or a YAML file with some of them.
        options: options by name, as :class:`~pointadapt.core.config.FewShotConfig` lists them.
        on_done: called with the outcome of each fold.

    Raises:
        PointAdaptError: bad input, in one line.
    """
    config = configured(FewShotConfig, config, options)
    with only_run_in(config.out, "episodes"):
        return _run(config, on_done)


def _run(config: FewShotConfig, on_done: Callable[[Outcome], None] | None) -> StudyResults:
    from ..training.setup import fitted

    config = fitted(config, config.way * config.shot)
    setting, folds = _episodes(config)
    jobs = [_fold(config, setting, k) for k in range(folds)]
    what = f"{setting.way}-way {setting.shot}-shot"
    outcomes = run_many(config, jobs, what, on_done=on_done)
    results = _summary(config, setting, [o.results for o in outcomes if o.results])
    write_json(config.out / RESULTS, results)
    return cast(StudyResults, results)


def _episodes(config: FewShotConfig) -> tuple[Setting, int]:
    """What the episodes have in common, and how many there are; draws them where none are given."""
    from ..data.sets.episodes import Setting, draw_episodes, read_episode

    common = {k: getattr(config, k) for k in ("way", "shot", "queries", "seed", "pool")}
    setting = Setting(config.data, key_values(config.data_options), **common)
    if _official(config):
        if config.episodes is not None:
            raise ConfigError(f"{config.data} brings its own episodes: leave out --episodes")
        return replace(setting, queries=20), config.folds
    folder = episodes_folder(config)
    files = [folder / f"{k}.json" for k in range(config.folds)]
    there = [file for file in files if file.exists()]
    if config.episodes is None:
        if there:
            _check_same(folder, read_episode(there[0]).setting, setting)
        if len(there) < len(files):
            for episode in draw_episodes(setting, config.folds, config.root):
                episode.write(folder)
        return setting, config.folds
    if not there or there != files[: len(there)]:
        raise DataLayoutError(f"{folder}: no 0.json, 1.json and so on are there")
    given = read_episode(there[0]).setting
    if config.data not in (TrainConfig.data, given.data):
        raise ConfigError(f"{folder} holds episodes of {given.data}, not of {config.data}")
    for file in there[1:]:
        _check_same(file, read_episode(file).setting, given)
    return given, len(there)


def _official(config: FewShotConfig) -> bool:
    """Whether the data set is episodes that somebody published."""
    from ..data import DATASETS

    return DATASETS[config.data].own_episodes


def episodes_folder(config: FewShotConfig) -> Path:
    """Where the index files are, or are to be written."""
    return config.episodes or config.out / "episodes"


def _check_same(where: Path, was: Setting, now: Setting) -> None:
    for field in fields(now):
        before, after = getattr(was, field.name), getattr(now, field.name)
        if before != after:
            raise ConfigError(
                f"{where} holds episodes with {field.name}={before}, not {after}: "
                "choose another --out, or take them as they are with --episodes"
            )


def _fold(config: FewShotConfig, setting: Setting, k: int) -> Job:
    """The training run of fold ``k``, whose data set is its episode."""
    values = {f.name: getattr(config, f.name) for f in fields(TrainConfig)}
    if _official(config):
        of = {"way": setting.way, "shot": setting.shot, "fold": k}
        options = (*config.data_options, *(f"{key}={value}" for key, value in of.items()))
        data = {"data": config.data, "data_options": options}
    else:
        source = (f"source_root={config.root}",) if config.root else ()
        data = {
            "data": "episodes",
            "root": episodes_folder(config),
            "data_options": (f"fold={k}", *source),
        }
    out = config.out / "folds" / str(k)
    return Job(f"fold {k}", TrainConfig(**{**values, **data, "out": out, "resume": False}))


def _summary(
    config: FewShotConfig, setting: Setting, folds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    from ..inference.forest import mean_of
    from ..tasks import TASKS

    def columns(run: Mapping[str, Any]) -> dict[str, Any]:
        return {"classes": list(run["per_class"])}

    drawn = not _official(config)
    protocol = {
        "episodes": str(episodes_folder(config)) if drawn else f"official files in {config.root}",
        "episode_seed": setting.seed if drawn else None,
        "pool": setting.pool if drawn else "split",
        "folds": len(folds),
    }
    own = {"data": setting.data, "way": setting.way, "shot": setting.shot}
    return {
        **of_folds(config, folds, TASKS[config.task].metric, columns, protocol),
        **own, "queries": setting.queries, "title": folds[0].get("title", setting.data),
        "baseline": mean_of(folds),
    }  # fmt: skip


def read_results(out: Path | str) -> dict[str, Any]:
    """What an earlier :func:`few_shot` wrote."""
    return read_json(Path(out) / RESULTS)


def table(results: Mapping[str, Any]) -> Table:
    """The folds, and mean ± standard deviation below."""
    measure = _measure(results)
    rows = Table("fold", "classes", show_footer=True)
    rows.columns[0].footer = "mean ± sd"
    rows.add_column(measure.head, mean_sd(results), justify="right")
    rows.add_column("epoch", justify="right")
    rows.add_column("time", console.duration(results["seconds"]), justify="right")
    for row in results["folds"]:
        cells = [str(row["fold"]), ", ".join(row["classes"]), measure.number(row[measure.key])]
        cells += [str(row["selected_epoch"]), console.duration(row["seconds"])]
        rows.add_row(*cells)
    return rows


def mean_sd(results: Mapping[str, Any], digits: int = 2) -> str:
    """The score as tables state it: 93.20 ± 2.10, or without a deviation for a single run."""
    measure = _measure(results)
    return measure.mean(results[measure.key], results[f"{measure.key}_sd"], digits)


def _measure(results: Mapping[str, Any]) -> Measure:
    from ..tasks import TASKS

    return TASKS[results["task"]].measures[0]
