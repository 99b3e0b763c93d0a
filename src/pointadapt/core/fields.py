"""Dataclasses from plain values: one place that checks names and converts types.

Used for methods, tasks, data sets and configurations alike, whether the values come from a command
line (text), a YAML or JSON file, or Python.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from .errors import ConfigError, UnknownNameError
from .plain import shown

T = TypeVar("T")
LARGEST = 2**53  # of whole numbers that float64 has, too
BUNDLED = ("tiny", "tiny-v2")  # backbones in the package; a folder of that name is ./tiny
LAST_SEED = 2**32 - 1  # of all that draw here: torch, numpy, and sums of a seed and a step


def build(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """An instance of the dataclass ``cls``.

    Args:
        cls: a dataclass all of whose fields have defaults.
        values: field name -> value, or text that reads as one.
        what: what is being built, for messages ("method 'dapt'").

    Raises:
        UnknownNameError: an unknown field, with the nearest known one.
        ConfigError: a value of the wrong type.
    """
    hints = _hints(cls)
    known = [f.name for f in fields(cls) if f.init]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise UnknownNameError(f"option of {what}", key, known)
    return cls(**{k: convert(v, hints[k], f"option {k!r} of {what}") for k, v in values.items()})


@lru_cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def convert(value: Any, hint: Any, what: str) -> Any:
    """``value`` as the type ``hint``.

    Raises:
        ConfigError, UnknownNameError: it cannot be that type.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, args, what)
    if origin is Literal:
        if not isinstance(value, (str, int)) or value not in args:
            raise UnknownNameError(f"value of {what}", str(value), map(str, args))
        return value
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise ConfigError(f"{what} must be a list, not {shown(value)}")
        items = [item.strip() if isinstance(item, str) else item for item in items]
        items = [convert(item, args[0], what) for item in items if item != ""]
        if args[-1] is not Ellipsis and len(items) != len(args):
            raise ConfigError(f"{what} must be {len(args)} values, not {len(items)}")
        return tuple(items)
    return _scalar(value, hint, what)


def _one_of(value: Any, kinds: tuple[Any, ...], what: str) -> Any:
    """``value`` as a union: of a type with None, or of a type with words."""
    words = [
        w for kind in kinds if typing.get_origin(kind) is Literal for w in typing.get_args(kind)
    ]
    nothing = value is None or (isinstance(value, str) and value.lower() == "none")
    if nothing and type(None) in kinds:
        return None
    if isinstance(value, str) and value in words:
        return value
    try:
        return convert(value, next(kind for kind in kinds if kind is not type(None)), what)
    except ConfigError as error:
        if not words:
            raise
        raise ConfigError(f"{error}; it may also be {' or '.join(words)}") from None


def _inner(value: Any, cls: type[T], what: str) -> T:
    """A dataclass inside another one."""
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} must be a table of options, not {shown(value)}")
    return build(cls, value, what)


def _scalar(value: Any, hint: Callable[[Any], Any], what: str) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return _inner(value, hint, what)
    if hint is bool:
        text = str(value).lower()
        if text not in ("true", "false", "1", "0", "yes", "no"):
            raise ConfigError(f"{what} must be true or false, not {shown(value)}")
        return text in ("true", "1", "yes")
    names = {int: "a whole number", float: "a number"}
    kind = names.get(hint, getattr(hint, "called", hint.__name__))
    wrong = ConfigError(f"{what} must be {kind}, not {shown(value)}")
    if isinstance(value, bool) or (hint is int and isinstance(value, float) and value % 1 != 0):
        raise wrong
    if hint is str and not isinstance(value, (str, int, float, Path)):  # str() would take anything
        raise wrong
    try:
        made = typing.cast(Any, hint)(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if hint is float and not math.isfinite(typing.cast(float, made)):
        raise wrong
    if hint in (int, float):
        _in_range(what, typing.cast(float, made))
    return made


def is_a(value: Any, hint: Any) -> bool:
    """Whether a plain value already is of the type ``hint``: nothing is converted, True is no 1.

    Args:
        value: out of JSON or YAML.
        hint: bool, int, float, str, dict, list, or list[…].
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(is_a(one, args[0]) for one in value)
    if hint in (int, float):
        return isinstance(value, hint) and not isinstance(value, bool) and abs(value) <= LARGEST
    return isinstance(value, hint)


def number_set(name: str, texts: Sequence[str], count: int | None = None) -> set[int]:
    """The numbers in ``texts``: single ones and ranges such as "6-11"; "all" and "none".

    Args:
        name: the option, for messages.
        texts: what it was given.
        count: numbers must be below it; None checks the form alone and returns nothing.

    Raises:
        ConfigError: another text, a range that runs backwards, or a number that is too high.
    """
    numbers: set[int] = set()
    for text in texts:
        first, dash, last = text.partition("-")
        if text in ("all", "none"):
            numbers |= set(range(count or 0)) if text == "all" else set()
            continue
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise ConfigError(f"{name}: {text!r} is no number, range such as 6-11, 'all' or 'none'")
        low, high = int(first), int(last or first)
        if high < low:
            raise ConfigError(f"{name}: the range {text!r} runs backwards")
        if count is not None:
            if high >= count:
                raise ConfigError(f"{name}: there is no {high}; the last is {count - 1}")
            numbers |= set(range(low, high + 1))
    return numbers


def at_least(options: Any, low: float, *names: str) -> None:
    """Raise ConfigError unless these fields of ``options`` are finite and at least ``low``."""
    for name in names:
        value = getattr(options, name)
        if not value >= low:  # nor NaN
            raise ConfigError(f"{name} must be at least {low}, not {shown(value)}")
        _in_range(name, value)


def auto_is_zero(options: Any, *names: str) -> None:
    """Make 0 of the word "auto" in these fields of a frozen dataclass."""
    for name in names:
        if getattr(options, name) == "auto":
            object.__setattr__(options, name, 0)


def positive(options: Any, *names: str) -> None:
    """Raise ConfigError unless these fields of ``options`` are finite and more than 0."""
    for name in names:
        value = getattr(options, name)
        if not value > 0:  # nor NaN
            raise ConfigError(f"{name} must be positive, not {shown(value)}")
        _in_range(name, value)


def _in_range(name: str, value: float) -> None:
    """Raise ConfigError if ``value`` is beyond what whole numbers and float64 share, 2⁵³."""
    if abs(value) > LARGEST:
        size = "large" if value > 0 else "small"
        raise ConfigError(f"{name} is too {size}: {shown(value)}, beyond 2**53 = {LARGEST}")


def seeds(options: Any, *names: str) -> None:
    """Raise ConfigError unless these fields of ``options`` are seeds, 0 to 2³² - 1."""
    for name in names:
        if not 0 <= getattr(options, name) <= LAST_SEED:
            raise ConfigError(
                f"{name} must be 0 to {LAST_SEED}, not {shown(getattr(options, name))}"
            )


def share(options: Any, *names: str) -> None:
    """Raise ConfigError unless these fields of ``options`` are at least 0 and less than 1."""
    for name in names:
        if not 0 <= getattr(options, name) < 1:
            raise ConfigError(f"{name} must be in [0, 1), not {shown(getattr(options, name))}")


def resolve(options: Any, *names: str) -> None:
    """Make the folders in these fields of a frozen dataclass absolute, links followed.

    So they are found from another working directory, too, and one folder has one spelling. Fields
    hold a path, or items name=DIR.
    """
    for name in names:
        value = getattr(options, name)
        if isinstance(value, tuple):
            pairs = (item.partition("=") for item in value)
            items = tuple(
                f"{n}={_resolved(Path(v))}" if v else n + equals for n, equals, v in pairs
            )
            object.__setattr__(options, name, items)
        elif value is not None:
            object.__setattr__(options, name, _resolved(Path(value)))


def resolve_backbone(options: Any, name: str) -> None:
    """The same for a field that holds a backbone, if it is a folder and no bundled name or tag."""
    value = getattr(options, name)
    if value and str(value) not in BUNDLED and (Path(value) / "config.json").is_file():
        object.__setattr__(options, name, str(_resolved(Path(value))))


def resolve_item(options: Any, name: str, key: str, root: Path | None) -> None:
    """The same for the file ``key=FILE`` among the items of a field, unless ``root`` has it."""
    items = getattr(options, name)
    if not isinstance(items, tuple):
        return

    def absolute(item: str) -> str:
        path = Path(str(item).partition("=")[2])
        inside = root is not None and (root / path).exists()
        return item if inside or not path.is_file() else f"{key}={_resolved(path)}"

    changed = (absolute(item) if str(item).startswith(f"{key}=") else item for item in items)
    object.__setattr__(options, name, tuple(changed))


def _resolved(path: Path) -> Path:
    with suppress(OSError, RuntimeError):  # the working directory is gone, links in a circle
        return path.resolve()
    return path
