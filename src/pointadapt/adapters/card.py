"""The card of an adapter: what it is, what it scores and how it is used, for people and the Hub."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..core.foreign_text import for_markdown, markdown_code, one_line
from ..tasks import TASKS, make_task

SIZES = "log_radius"  # key of the configuration: of the training clouds, the least and the largest


def card(
    config: Mapping[str, Any], size: int, place: str = "this/folder", licence: str = ""
) -> str:  # fmt: skip
    """Markdown under a head that the Hugging Face Hub understands.

    Args:
        config: what the adapter says of itself.
        size: bytes of its weights.
        place: where it is loaded from.
        licence: of the adapter, as the Hub calls it ("mit"); "" for none that is stated.
    """
    results, lines = config["results"], []
    for key, value in {**results, **results.get("protocol", {})}.items():
        if not isinstance(value, dict):
            text = ", ".join(map(str, value)) or "none" if isinstance(value, list) else value
            lines.append(f"| {for_markdown(key.replace('_', ' '))} | {for_markdown(text)} |")
    table = "\n".join(["| | |", "|---|---|", *lines]) if lines else "No results were recorded."
    parts = config["parts"]
    labels = f"{len(parts)} parts: {for_markdown(', '.join(parts))}.\n" if parts else ""
    return f"""---
{_head(config, licence)}---
# {config["method"]} adapter{" for " + for_markdown(config["dataset"]) if config["dataset"] else ""}

{len(config["classes"])} classes: {for_markdown(", ".join(config["classes"]))}.
{labels}

- backbone: {markdown_code(config["backbone"]["name"])}, sha256 `{config["backbone"]["sha256"]}`
- {config["points"]} points a cloud, {config["backbone"]["groups"]} patches of \
{config["backbone"]["group_size"]}
- {size / 1e6:.2f} MB, options {markdown_code(config["method_options"])}{_unit(config)}

## Results

{table}

## Use

{_use(config, place)}"""


def _use(config: Mapping[str, Any], place: str) -> str:
    given, shapes = "points", f"(B, {config['points']}, 3)"
    task, traits = make_task(config["task"], config["task_options"]), ""
    if task.given_class:
        given, shapes = f"{given}, category", f"{shapes}, and (B,) indices into the classes"
    prepared = "each cloud centred and scaled" if config["normalise"] else "coordinates as stored"
    if config["features"]:
        given = f"{given}, features=features"
        shapes = f"{shapes}, and (B, {config['points']}, {len(config['features'])}) features: "
        shapes += one_line(", ".join(config["features"]), 1000)
    if task.given_traits(config["head_inputs"]):
        given += ", traits=traits"
        traits = "\ntraits = pointadapt.ops.cloud_traits(points)  # of whole clouds, as stored"
    return f"""```sh
pip install pointadapt
pointadapt predict FILES --adapter {place}
```

```python
import pointadapt

model = pointadapt.load("{place}"){traits}
points = model.adapter.prepared(points)  # {prepared}
logits = model({given})  # {shapes}
```
"""


def _head(config: Mapping[str, Any], licence: str) -> str:
    """The card's YAML: what the Hub sorts, searches and ranks by; only what it has a name for."""
    from huggingface_hub import ModelCardData

    from ..data import DATASETS

    data, method, task = config["results"].get("data", ""), config["method"], config["task"]
    known = bool(data in DATASETS and DATASETS[data].url)  # a user's folder is no data set there
    about = ModelCardData(
        library_name="pointadapt", tags=["point-cloud", method, task],
        license=licence or None, base_model=_on_the_hub(config["backbone"]["name"]),
        datasets=[data] if known else None, **_scores(config),
    )  # fmt: skip
    return about.to_yaml() + "\n"


def _scores(config: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of the adapter's own protocol, as arguments of the Hub's card."""
    from huggingface_hub import EvalResult

    results, task = config["results"], config["task"]
    keys = (measure.key for measure in TASKS[task].measures)
    got = {key: results[key] for key in keys if isinstance(results.get(key), (int, float))}
    if not got:
        return {}
    data = str(results.get("data") or "unknown")
    title = config["dataset"] or data
    rows = [
        EvalResult(
            task_type=task, dataset_type=data, dataset_name=title, metric_type=key,
            metric_value=value, metric_name=key.replace("_", " "),
        )
        for key, value in got.items()
    ]  # fmt: skip
    name = f"{config['method']} adapter for {title}"
    return {"metrics": list(got), "model_name": name, "eval_results": rows}


def _on_the_hub(backbone: str) -> str | None:
    """The repository that published the backbone; None where that is not on the Hub."""
    from ..backbones.published.tags import all_tags

    tag = all_tags().get(backbone)
    url = tag.url if tag else backbone
    if not url.startswith("hf://"):
        return None
    owner, repository = url.removeprefix("hf://").split("/")[:2]
    return f"{owner}/{repository.partition('@')[0]}"


def _unit(config: Mapping[str, Any]) -> str:
    """A line on how large the training clouds were, where that is known."""
    if SIZES not in config:
        return ""
    low, high = (2 * math.exp(radius) for radius in config[SIZES])
    return f"\n- trained on clouds of {low:.3g} to {high:.3g} across, in the unit of their files"
