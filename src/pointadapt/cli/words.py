"""Mistyped commands, options and values: one line that says which word, and where help is."""

from __future__ import annotations

import difflib
import io
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import fields, is_dataclass

from tyro.conf import Suppress

from ..core.errors import ConfigError

# What the parser says where a value may be of several kinds, and then why it is of none of them.
_SEVERAL = re.compile(r"no type matching (\S+) could be instantiated from \[(.*?)\]\..*")


def check_words(args: Sequence[str], commands: Mapping[str, type]) -> str:
    """Refuse an unknown command, sub-command or option; values are left to the parser.

    Args:
        args: the words after ``pointadapt``, at least one.
        commands: by name.

    Returns:
        The command that they name, with ``pointadapt`` before it.

    Raises:
        ConfigError: one line: the word, the nearest known one, and where help is.
    """
    words, where, kinds = list(args), "pointadapt", dict(commands)
    while words and not words[0].startswith("-"):
        word = words.pop(0)
        if word not in kinds:
            raise ConfigError(_unknown("command", word, kinds, where))
        cls = kinds[word]
        where = f"{where} {getattr(cls, 'spelt', word)}"
        kinds = _members(cls)
        if not kinds:
            _check_options(words, cls, where)
            break
    return where


@contextmanager
def in_one_line(where: str) -> Iterator[None]:
    """What the parser says of wrong values in a box, as one line.

    Raises:
        ConfigError: it ended the program with an error.
    """
    with redirect_stderr(io.StringIO()) as said:
        try:
            yield
        except SystemExit as end:
            if not end.code:  # help was asked for
                raise
            text = _unboxed(said.getvalue()) or "wrong options"
            raise ConfigError(f"{text}; see {where} --help") from end


def _unboxed(text: str) -> str:
    """The words of a box after its title, up to its next rule: below it help is repeated."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    parts = re.split(r"^(?:[╭╰]|[│ ]*(?:───|---)).*$", plain, flags=re.MULTILINE)
    said = parts[1] if len(parts) > 1 else plain
    said = " ".join(said.replace("│", " ").split()).rstrip(" .")
    return _SEVERAL.sub(r"it takes \1, not \2", said)


def _check_options(words: Sequence[str], cls: type, where: str) -> None:
    hints = typing.get_type_hints(cls, include_extras=True)
    known = ["--help"]
    for field in fields(cls):
        about = getattr(hints[field.name], "__metadata__", ())
        if Suppress not in about:
            known += _flags(field.name)
            known += (alias for entry in about for alias in getattr(entry, "aliases", None) or ())
    for word in words:
        if word == "--":
            return
        flag = word.partition("=")[0].replace("_", "-")
        if flag.startswith("--") and flag not in known:
            raise ConfigError(_unknown("option", word, known, where))


def _flags(field: str) -> tuple[str, str]:
    name = field.replace("_", "-")
    return f"--{name}", f"--no-{name}"


def _members(cls: type) -> dict[str, type]:
    """Name -> class of a command's own sub-commands; empty for most commands."""
    found: dict[str, type] = {}
    for hint in typing.get_type_hints(cls).values():
        for kind in typing.get_args(hint):
            if isinstance(kind, type) and is_dataclass(kind):
                found[kind.__name__.lower()] = kind
    return found


def _unknown(kind: str, word: str, known: Iterable[str], where: str) -> str:
    names = list(known)
    near = difflib.get_close_matches(word.partition("=")[0], names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    rest = f"it has: {', '.join(names)}; " if kind == "command" and not near else ""
    return f"unknown {kind} {word} of {where}: {hint}{rest}see {where} --help"
