"""An evaluation from an adapter's folder to scores, a page, a picture and a JSON file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ...adapters.model import PointModel
from ...adapters.protocol import Protocol, autocast, load_ready
from ...core.config.evaluate import EvaluateConfig
from ...core.errors import PointAdaptError
from ...core.fields import build
from ...core.files import check_target, write_json
from ...core.machine import use_threads
from ...core.precision import chosen
from ...core.results import Scores
from ...inference.forest import baseline_of
from ...tasks import Task
from ..beside import baseline_remark, baseline_text, measured
from ..drawing import check_picture
from .draw import draw_examination
from .facts import facts_of
from .look import Examination, examine
from .page import write_page
from .protocol import protocol_facts
from .words import next_steps, remarks

OnCloud = Callable[[int, int], None]  # clouds that are scored, of how many


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: scores, the facts behind them, and what to do next."""

    task: type[Task]
    scores: Scores
    facts: dict[str, Any]
    steps: list[tuple[str, str]]


def evaluate(adapter: Path | str, *, on_cloud: OnCloud | None = None, **options: Any) -> Scores:
    """Score an adapter on a data set; by default as at the end of its training.

    Args:
        adapter: the folder that training wrote, or hf://owner/name.
        on_cloud: called with the number of clouds that are scored, and of all.
        options: options by name, as :class:`~pointadapt.core.config.EvaluateConfig` lists them.

    Returns:
        The scores of the adapter's task, in percent unless the task says otherwise.

    Raises:
        AdapterError: no adapter, a damaged one, or one of another backbone.
        ConfigError, UnknownNameError: a wrong option.
        DataLayoutError, FileFormatError: the data are not there, or are not those of the adapter.
        PointAdaptError: the model predicts NaN, or something cannot be written.
    """
    config = build(EvaluateConfig, {"adapter": adapter, **options}, "this call")
    return run(config, on_cloud).scores


def run(config: EvaluateConfig, on_cloud: OnCloud | None = None) -> Evaluation:
    """See :func:`evaluate`."""
    _check_targets(config)
    use_threads(config.threads)
    model = load_ready(config.adapter, config.backbone)
    protocol = Protocol.of(
        config.adapter, config.data, config.root, config.data_options, about=model.adapter.about
    )
    clouds, began = protocol.load(config.split), time.monotonic()
    precision = chosen(config.precision or protocol.precision)
    voting = config.voting or protocol.voting

    def tell(done: int) -> None:
        if on_cloud is not None:
            on_cloud(done, len(clouds))

    with autocast(model, precision):
        seen = examine(
            model, clouds, protocol.points, votes=config.votes, voting=voting, on_batch=tell
        )
    seconds = round(time.monotonic() - began, 1)
    facts = facts_of(seen, config.pictures)
    facts["protocol"] = protocol_facts(
        config.adapter, model, protocol, split=config.split, clouds=len(clouds),
        votes=config.votes, **({"voting": voting} if config.votes else {}), precision=precision,
        seconds=seconds,
    )  # fmt: skip
    facts |= _baseline(config, model, seen)
    facts["remarks"] = remarks(facts)
    steps = next_steps(config)
    if config.picture is not None:
        draw_examination(seen, config.picture)
    if config.report_json is not None:
        write_json(config.report_json, facts)
    if config.html is not None:
        write_page(config.html, seen, facts, steps)
    ece = {"ece": facts["calibration"]["ece"]} if "calibration" in facts else {}
    where = {"adapter": str(config.adapter), "data": protocol.data, "split": config.split}
    forest = {"baseline": facts["baseline"]} if "baseline" in facts else {}
    scores = cast(Scores, {**seen.scores, **ece, **forest, **where})
    return Evaluation(type(seen.task), scores, facts, steps)


def _baseline(config: EvaluateConfig, model: PointModel, seen: Examination) -> dict[str, Any]:
    """A forest's score beside the model's, from the clouds that the adapter was trained on.

    Nothing where it is not asked for, where these clouds are no files of the user's own or are not
    at hand, and where it would be scored on the clouds it was fitted to.
    """
    about = model.adapter.about
    if not config.baseline or config.split == "train":
        return {}
    try:
        own = Protocol.of(config.adapter, about=about)
        origin = own.dataset.origin()
        if not (origin.own_files or origin.own_scenes):
            return {}
        forest = baseline_of(seen.task, own.dataset, own.load("train"), seen.clouds)
    except PointAdaptError:
        return {}
    if not forest:
        return {}
    value = seen.scores[measured(forest)]
    said = baseline_remark(value, forest, len(seen.clouds), about["results"])
    return {"baseline": {**forest, "remark": f"{baseline_text(forest)}: {said}"}}


def _check_targets(config: EvaluateConfig) -> None:
    """Refuse files that could not be written, before the work that they are to show."""
    for target in (config.html, config.report_json):
        if target is not None:
            check_target(target)
    if config.picture is not None:
        check_picture(config.picture)
