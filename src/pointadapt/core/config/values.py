"""Configurations as plain values: text, YAML and JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..fields import build
from ..files import atomic, parse
from ..plain import shown
from .train import TrainConfig

MOST_YAML = 128 << 10  # bytes
MOST_PARTS = 20_000
# What may differ between the start of a training run and its continuation.
FOLDERS = ("root", "probe_root", "backbone", "init")
MAY_DIFFER = (
    "out", "resume", "threads", "tensorboard", "tracker", "recipe", "save_every", "step",
    "baseline",
)  # fmt: skip


def key_values(items: tuple[str, ...] | dict[str, Any]) -> dict[str, Any]:
    """``("rank=32", "prompt=false")`` as a dictionary; a dictionary stays as it is.

    Raises:
        ConfigError: an item without "=".
    """
    if isinstance(items, dict):
        return dict(items)
    pairs: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"{shown(item)} is no option: write it as key=value, such as rank=32")
        pairs[key.strip()] = value.strip()
    return pairs


def to_plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON and YAML can hold it."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        return [plain(v) for v in value] if isinstance(value, (tuple, list)) else value

    return {f.name: plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def other_options(
    was: dict[str, Any], now: dict[str, Any], defaults: dict[str, Any] | None = None
) -> str:
    """The first option of an earlier run that differs from now, as text; empty if none does.

    What the earlier run's version did not have yet had its default.

    Args:
        was: the plain values of the earlier run.
        now: those of this one.
        defaults: of both; by default those of training.
    """
    defaults = to_plain(TrainConfig()) if defaults is None else defaults
    for key, value in now.items():
        before = was.get(key, defaults.get(key))
        if key not in MAY_DIFFER and before != value and not _same_folder(key, before, value):
            return f"{key}: {before} then, {value} now"
    return ""


def _same_folder(key: str, before: Any, value: Any) -> bool:
    """Whether both mean one folder, in a run of before folders were stored as absolute paths."""
    if key not in FOLDERS or not isinstance(before, str) or not isinstance(value, str):
        return False
    return Path(before).resolve() == Path(value).resolve()


def read_config(path: Path | str) -> dict[str, Any]:
    """The key: value lines of a YAML file.

    Raises:
        PointAdaptError: the file is missing or not YAML.
    """
    values = parse(path, _from_yaml, "YAML", MOST_YAML, parts=MOST_PARTS)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold key: value lines")
    return values


def _from_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{line}{error.problem}") from error
    except (AttributeError, IndexError, KeyError, TypeError) as error:  # PyYAML's, of wrong tags
        raise ValueError("a value is not of the kind that its tag says") from error


def load_config(path: Path | str, cls: type) -> Any:
    """A configuration from a YAML file.

    Raises:
        PointAdaptError: the file is missing or not YAML.
        UnknownNameError, ConfigError: an unknown key or a value of the wrong type.
    """
    return build(cls, read_config(path), str(path))


def save_config(config: Any, path: Path | str) -> None:
    """A configuration as YAML, atomically."""
    import yaml

    with atomic(path) as temporary:
        text = yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")
