"""What a sub-command is: a dataclass of options with ``run``, registered by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Command(Protocol):
    """The options of a sub-command as fields.

    One whose options depend on what it is given has a class method ``fitting(args)`` besides, which
    returns the class that has them; ``spelt`` is how that is asked for.
    """

    def run(self) -> int:
        """Make one library call, print what came of it, and return the exit status."""
        ...


COMMANDS: dict[str, type[Any]] = {}


def command(name: str) -> Callable[[C], C]:
    """Class decorator that makes a dataclass the sub-command ``name``.

    Raises:
        ValueError: another class has that name. (The same one again, as on a reload, may.)
    """

    def enter(cls: C) -> C:
        present = COMMANDS.get(name)
        if present is not None and present.__module__ != cls.__module__:
            raise ValueError(f"{cls.__module__} takes the name of the command {name!r}")
        COMMANDS[name] = cls
        return cls

    return enter


def plain(cls: type[T], command: Any) -> T:
    """The configuration inside a command: the fields that ``cls`` has, checked by it."""
    return cls(**{f.name: getattr(command, f.name) for f in fields(cls)})  # type: ignore[arg-type]
