"""What a run starts from: a recipe's values, over them a file's, over them the given ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ..core.config import TrainConfig, key_values, read_config, to_plain
from ..core.errors import ConfigError
from ..core.fields import build
from ..core.precision import settled

C = TypeVar("C")


def configured(cls: type[C], config: C | Path | str | None, options: Mapping[str, Any]) -> C:
    """The configuration that a Python call asks for, as the command line would make it.

    Its precision is the one that is computed in, see :func:`pointadapt.core.precision.chosen`.

    Args:
        cls: its class.
        config: the whole of it, or a YAML file with some of its values.
        options: values by name, which win; ``recipe`` starts from a preset.

    Raises:
        UnknownNameError: no such option, or no recipe of that name.
        ConfigError: a wrong value, a recipe of another command, or no YAML file.
    """
    return settled(_configured(cls, config, options))


def _configured(cls: type[C], config: C | Path | str | None, options: Mapping[str, Any]) -> C:
    if isinstance(config, cls):
        return build(cls, {**_values(config), **options}, cls.__name__) if options else config
    if config is not None and not isinstance(config, (str, Path)):
        raise ConfigError(
            f"a configuration is a {cls.__name__} or the path of a YAML file, not {config!r}"
        )
    values = {**(read_config(config) if config is not None else {}), **options}
    name = values.get("recipe")
    base = recipe_values(str(name), cls) if name else {}
    where = str(config) if config is not None and not options else "this call"
    values = {**base, **values}
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name not in values and field.default is MISSING:
            raise ConfigError(f"{cls.__name__} needs {field.name}=…")
    return completed(build(cls, values, where))


def completed(config: C) -> C:
    """``config`` with its recipe's options of data and task beside the given ones, which win.

    So ``--recipe dapt-scenes --data-options ignore=1`` keeps the features of the recipe. Options of
    another data set or task than the recipe's are left as they are given.
    """
    from . import RECIPES

    recipe = RECIPES.get(getattr(config, "recipe", ""))
    if recipe is None or not isinstance(config, TrainConfig):
        return config
    changes = {}
    for of, name in (("data", "data_options"), ("task", "task_options")):
        given, base = getattr(config, name), getattr(recipe.config, name)
        if getattr(config, of) == getattr(recipe.config, of) and given != base:
            known = key_values(given)
            kept = (item for item in base if item.partition("=")[0] not in known)
            changes[name] = (*kept, *given)
    return replace(config, **changes) if changes else config


def _values(config: Any) -> dict[str, Any]:
    return dict(vars(config))


def recipe_values(name: str, cls: type[Any]) -> dict[str, Any]:
    """The values of the recipe ``name`` for a configuration of the class ``cls``.

    Raises:
        UnknownNameError: there is no such recipe.
        ConfigError: it is for another command.
    """
    from . import get_recipe

    recipe = get_recipe(name)
    if not issubclass(cls, type(recipe.config)):
        raise ConfigError(f"recipe {name!r} is for another command: {recipe.command}")
    values = to_plain(recipe.config)
    if cls is not TrainConfig and type(recipe.config) is TrainConfig:
        for key in ("out", "tensorboard", "tracker", "save_every"):  # of a plain training run
            del values[key]
    return values
