"""The command-line reference, a page for each command, written from the commands themselves."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union

from griffe import Docstring
from tyro.conf import Positional, Suppress

from pointadapt.cli.commands import every_command

WORDS = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}  # what a value is called
CALLS = {"list": "available", "pool": "pool_scores", "data verify": "verify_data",
         "data show": "show_data"}  # fmt: skip


@dataclass(frozen=True)
class Option:
    """An option, or an argument without a name, as a reader sees it.

    Attributes:
        usage: how it is written, such as ``--points NUMBER``.
        default: its value where it is not given; empty where there is none.
        required: the command does not run without it.
        text: what it does, in Markdown.
    """

    usage: str
    default: str
    required: bool
    text: str

    def row(self) -> str:
        """Its row of the table."""
        default = "required" if self.required else f"`{self.default}`" if self.default else ""
        return f"| {_cell(f'`{self.usage}`')} | {_cell(default)} | {_cell(self.text)} |"


def command_pages() -> dict[str, str]:
    """Name of each command -> its page in Markdown, in the order of ``pointadapt --help``."""
    return {name: _page(name, cls) for name, cls in every_command().items()}


def index_page() -> str:
    """The page that lists all commands."""
    known = every_command().items()
    rows = [f"| [`pointadapt {name}`]({name}.md) | {_summary(cls)} |" for name, cls in known]
    return "\n".join(
        ["# Command line", "",
         "Every command prints its options with `--help`, and its result as JSON with `--json`.",
         "These pages are written from the commands themselves.", "",
         "| command | what it does |", "|---|---|", *rows, ""]
    )  # fmt: skip


def options_of(cls: type) -> Iterator[Option]:
    """The options of a command's dataclass, in the order of ``--help``; hidden ones left out."""
    hints, texts = typing.get_type_hints(cls, include_extras=True), attribute_texts(cls)
    for field in fields(cls):
        marks = getattr(hints[field.name], "__metadata__", ())
        if Suppress in marks:
            continue
        required = field.default is MISSING and field.default_factory is MISSING
        default = None if required or field.default is MISSING else field.default
        bare = hints[field.name].__origin__ if marks else hints[field.name]
        usage = _usage(field.name, bare, marks)
        text = texts.get(field.name, "").replace("\n", " ")
        yield Option(usage, _shown(default), required, text)


def attribute_texts(cls: type) -> dict[str, str]:
    """What the docstrings of a class and of its bases say of each attribute."""
    found: dict[str, str] = {}
    for base in cls.__mro__:
        for section in Docstring(base.__doc__ or "").parse("google"):
            if section.kind.value == "attributes":
                for entry in section.value:
                    found.setdefault(entry.name, entry.description)
    return found


def members(cls: type) -> dict[str, type]:
    """Name -> class of a command's own sub-commands; empty for most commands."""
    kinds = (kind for hint in typing.get_type_hints(cls).values() for kind in typing.get_args(hint))
    return {kind.__name__.lower(): kind for kind in kinds if is_dataclass(kind)}  # type: ignore[union-attr]


def _page(name: str, cls: type) -> str:
    inner = members(cls)
    parts = [f"# pointadapt {name}", "", *_texts(cls), ""]
    if not inner:
        return "\n".join([*parts, *_body(name, cls), *_fitting(cls)])
    for word, kind in inner.items():
        whole = f"{name} {word}"
        parts += [f"## pointadapt {whole}", "", *_texts(kind), "", *_body(whole, kind)]
    return "\n".join(parts)


def _body(name: str, cls: type) -> list[str]:
    options = list(options_of(cls))
    given = [o.usage for o in options if o.required or not o.usage.startswith("--")]
    line = " ".join(["pointadapt", name, *given, "[OPTIONS]"])
    call = CALLS.get(name, name.replace("-", "_").replace(" ", "_"))
    return ["```sh", line, "```", "", f"From Python: [`pointadapt.{call}`][pointadapt.{call}].", "",
            *_table(options), ""]  # fmt: skip


def _table(options: Iterable[Option]) -> list[str]:
    rows = [option.row() for option in options]
    return ["| option | default | what it does |", "|---|---|---|", *rows]


def _fitting(cls: type) -> list[str]:
    """The options that a command has for one kind of adapter or another."""
    if not hasattr(cls, "fitting"):
        return []
    from pointadapt.inference.predictor import PREDICTORS

    lines: list[str] = []
    for kind in (PREDICTORS[name] for name in PREDICTORS):
        lines += [f"## With an adapter that {kind.about}", "", *_table(options_of(kind)), ""]
    from pointadapt.cli.at_server import PredictAtServer

    texts, table = _texts(PredictAtServer), _table(options_of(PredictAtServer))
    return [*lines, "## By a running server", "", *texts, "", *table, ""]


def _texts(cls: type) -> list[str]:
    """The paragraphs of a docstring before its attributes."""
    sections = Docstring(cls.__doc__ or "").parse("google")
    return [section.value for section in sections if section.kind.value == "text"]


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _usage(name: str, hint: Any, marks: tuple[Any, ...]) -> str:
    """``--name VALUE``, ``--name`` for a switch, or the value alone where it has no name."""
    named = next((m.metavar for m in marks if getattr(m, "metavar", None)), None)
    flag = name.replace("_", "-")
    if hint is bool:
        return f"--{flag}, --no-{flag}"
    value = named or _value(hint)
    return value if Positional in marks else f"--{flag} {value}"


def _value(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _value(next(a for a in args if a is not type(None)))
    if origin is tuple:
        return f"{_value(args[0])}…"
    if origin is Literal:
        return "{" + ",".join(map(str, args)) + "}"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)).upper())


def _shown(default: Any) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
