"""What there is to choose from: the registries, the recipes and the augmentations, as rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UnknownNameError
from ..recipes import RECIPES

if TYPE_CHECKING:
    from ..backbones.published.tags import Tag

Row = dict[str, Any]


def backbones() -> list[Row]:
    """The bundled backbones, the published ones, and the sizes to be made with random weights."""
    from ..backbones import BACKBONES
    from ..backbones.published.tags import all_tags
    from ..core.fields import BUNDLED
    from ..pretrained.load import find_backbone

    rows = [_bundled(name, find_backbone(name)) for name in BUNDLED]
    rows += [_published(tag) for tag in all_tags().values()]
    for family in BACKBONES:
        for size, config in BACKBONES[family].sizes.items():
            rows.append(_backbone(f"{family}:{size}", "random", BACKBONES[family], config))
    return rows


def methods() -> list[Row]:
    """The ways to adapt a backbone, with default options.

    ``parameters`` train on ``point_vit:small`` with 15 classes, the head included; ``foldable``
    says how much of the method the frozen layers can take up.
    """
    from ..methods import METHODS

    rows = [
        {
            "name": name,
            "title": cls.title,
            "parameters": _trained(cls()),
            "foldable": cls().foldable,
            "paper": cls.paper,
            "options": options_of(cls),
        }
        for name, cls in ((name, METHODS[name]) for name in METHODS)
    ]
    return rows + [  # of their members nothing is known before their library is imported
        {
            "name": f"{name}:TYPE",
            "title": cls.title,
            "foldable": "no",
            "paper": cls.paper,
            "options": options_of(cls),
        }
        for name, cls in METHODS.families.items()
    ]


def _trained(method: Any) -> int:
    import torch

    from ..adapters.model import Adapter
    from ..backbones.point_vit import PointViT
    from ..tasks import make_task

    with torch.device("meta"):  # sizes only, no memory
        net = PointViT(PointViT.sizes["small"])
        adapter = Adapter(net, method, make_task("classification"), [str(i) for i in range(15)])
    parameters = dict(net.named_parameters())
    own = sum(parameters[name].numel() for name in method.trainable_among(parameters))
    return own + sum(p.numel() for p in adapter.parameters())


def tasks() -> list[Row]:
    """What can be predicted."""
    from ..tasks import TASKS

    return [
        {"name": name, "what": _first_line(TASKS[name]), "options": options_of(TASKS[name])}
        for name in TASKS
    ]


def data() -> list[Row]:
    """The data sets."""
    from ..data import DATASETS

    return [
        {
            "name": name,
            "what": _first_line(cls),
            "where": cls.where,
            "licence": cls.licence,
            "options": options_of(cls),
        }
        for name, cls in ((name, DATASETS[name]) for name in DATASETS)
    ]


def recipes() -> list[Row]:
    """The presets of ``pointadapt train``."""
    return [
        {
            "name": r.name,
            "what": r.summary,
            "expected_score": r.score,
            "time": r.time,
            "hardware": r.hardware,
            "source": r.source,
            "needs": r.needs,
            "command": r.command,
        }
        for r in RECIPES.values()
    ]


def augmentations() -> list[Row]:
    """What ``--augment`` takes."""
    from ..data.transforms import AUGMENTATIONS

    return [{"name": name, "what": _first_line(f)} for name, f in AUGMENTATIONS.items()]


LISTS: dict[str, Callable[[], list[Row]]] = {
    "backbones": backbones,
    "methods": methods,
    "tasks": tasks,
    "data": data,
    "recipes": recipes,
    "augmentations": augmentations,
}

NOTES = {
    "methods": (
        "parameters: trained on point_vit:small with 15 classes, head included. foldable: how much "
        "of it pointadapt fold moves into the backbone."
    ),
}
"""What the columns of a list mean, where their names do not say it."""


def options_of(cls: Any) -> dict[str, Any]:
    """Option -> default of a dataclass; paths as text."""
    fields = [f for f in dataclasses.fields(cls) if f.init]
    values = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def _bundled(name: str, folder: Path | None) -> Row:
    from ..backbones import BACKBONES
    from ..core.fields import build
    from ..core.files import read_json

    if folder is None or not (folder / "config.json").is_file():
        return {"name": name, "weights": "missing from this installation"}
    values = read_json(folder / "config.json")
    cls = BACKBONES[values.pop("family")]
    return _backbone(name, "bundled", cls, build(cls.config_class, values, str(folder)))


def _published(tag: Tag) -> Row:
    from ..backbones import BACKBONES
    from ..pretrained.cache import cached

    known = tag.family in BACKBONES and tag.size in BACKBONES[tag.family].sizes
    config = BACKBONES[tag.family].sizes[tag.size] if known else None
    row: Row = {"name": tag.name, "parameters": tag.parameters}
    if config is not None:
        row = {**row, **_sizes(config)}  # the tag's count is tested to be the network's
    there = "in the cache" if cached(tag) else "to fetch" if tag.url else "to fetch by hand"
    row |= {"weights": f"published, {there}", "licence": tag.licence, "source": tag.source}
    return {**row, "command": f"pointadapt fetch {tag.name}"}


def _backbone(name: str, weights: str, cls: Any, config: Any) -> Row:
    import torch

    with torch.device("meta"):  # sizes only, no memory
        count = sum(p.numel() for p in cls(config).parameters())
    return {"name": name, "weights": weights, "parameters": count, **_sizes(config)}


def _sizes(config: Any) -> Row:
    keys = ("dim", "depth", "heads", "groups", "group_size")
    return {key: getattr(config, key) for key in keys}


__all__ = ["LISTS", "NOTES", "options_of"]


def available(kind: str = "all") -> dict[str, list[dict[str, Any]]]:
    """What there is to choose from: rows of each kind, as ``pointadapt list --json`` prints them.

    Args:
        kind: one of :data:`LISTS`, or "all".

    Raises:
        UnknownNameError: there is no such kind.
    """
    if kind != "all" and kind not in LISTS:
        raise UnknownNameError("kind of list", kind, ("all", *LISTS))
    return {name: LISTS[name]() for name in (LISTS if kind == "all" else [kind])}
