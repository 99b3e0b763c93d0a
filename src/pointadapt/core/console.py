"""The terminal: where messages go, progress bars, and how sizes, times and commands are written."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.text import Text

from .foreign_text import for_json, for_terminal
from .progress_lines import ProgressLines

LONGEST = 1200  # characters of an error that are shown
WIDE = 200  # columns where nobody sees where lines end: a pipe or a file


class _Output(Console):
    """What is printed cannot steer the terminal, whoever wrote it; only styles do."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(for_terminal(text), **how)  # before its width is measured

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=for_terminal(segment.text))


def output(*, stderr: bool = False) -> Console:
    """Standard output, or standard error: coloured where a person watches, else plain and wide.

    All of the project prints through this one.
    """
    own = _Output(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not own.is_terminal and "COLUMNS" not in os.environ:
        own.width = WIDE
    return own


def print_json(values: Any) -> None:
    """``values`` as JSON on standard output."""
    print(for_json(values))


def error_line(message: str) -> None:
    """``pointadapt: error: message`` on standard error, on one line that can be read."""
    text = "pointadapt: error: " + shortened(" ".join(message.split()))
    output(stderr=True).print(text, style="red", soft_wrap=True)


def shortened(text: str) -> str:
    """``text`` without its middle where it is long: what is wrong comes first, what to do last."""
    if len(text) <= LONGEST:
        return text
    head, tail = text[: LONGEST * 2 // 3], text[-LONGEST // 4 :]
    return f"{head} [… {len(text) - len(head) - len(tail):,} characters …] {tail}"


def note_line(message: str) -> None:
    """``pointadapt: note: message`` on standard error, on one line."""
    text = "pointadapt: note: " + " ".join(shortened(message).split())
    output(stderr=True).print(text, style="yellow", soft_wrap=True)


def command_line(text: str, *parts: object) -> str:
    """``text`` and ``parts``, quoted as a shell needs it."""
    return " ".join([text, *(shlex.quote(str(part)) for part in parts)])


def invocation(command: str, config: Any) -> str:
    """The command line that gives the dataclass ``config``, by the values that are no defaults."""
    parts: list[object] = []
    for field in fields(config):
        value, default = getattr(config, field.name), field.default
        if value == default:
            continue
        flag = "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            parts.append(flag if value else "--no-" + flag[2:])
        else:
            parts += [flag, *(value if isinstance(value, tuple) else [value])]
    return command_line(f"pointadapt {command}", *parts)


class Words(TextColumn):
    """A text beside a progress bar, for which square brackets are no style."""

    def render(self, task: Task) -> Text:
        return Text(for_terminal(self.text_format.format(task=task)))


def progress_line(text: str) -> None:
    """``pointadapt: text`` on standard error, for logs."""
    line = "pointadapt: " + " ".join(shortened(text).split())
    output(stderr=True).print(line, soft_wrap=True)


def progress_lines(what: str, total: int | None, unit: str = "", done: int = 0) -> ProgressLines:
    """Lines on standard error that say how far something is."""
    return ProgressLines(progress_line, duration, what, total, unit, done)


@contextmanager
def progress(
    what: str, total: int | None, *, unit: str = "", done: int = 0, shown: bool = True
) -> Iterator[Callable[..., None]]:
    """A bar on standard error where someone watches, else a line for each tenth.

    Gives a function to tell how many are done, and if wanted a note beside it.
    """
    own = output(stderr=True)
    if not shown:
        yield lambda done, note="": None
    elif not own.is_terminal:
        yield progress_lines(what, total, unit, done).tell
    else:
        columns = (Words("{task.description}"), BarColumn(), MofNCompleteColumn())
        more = (Words("{task.fields[note]}"), TimeRemainingColumn())
        with Progress(*columns, *more, console=own, transient=True) as bar:
            task = bar.add_task(what, total=total, completed=done, note="")
            yield lambda done, note="": bar.update(task, completed=done, note=note)


class _Counted(ProgressColumn):
    """How many of the things called ``unit`` are done, and how many a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = f" {unit}" if unit else ""

    def render(self, task: Task) -> Text:
        rate = "" if task.speed is None or not self.unit else f", {task.speed:,.0f} a second"
        whole = "" if task.total is None else f" of {int(task.total):,}"
        return Text(f"{int(task.completed):,}{whole}{self.unit}{rate}")


@contextmanager
def stages(unit: str = "points") -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar for one stage after another; gives a function (stage, units done, of how many).

    Where nobody watches, a line for each tenth of a stage.
    """
    counted = _Counted(unit)
    columns = (Words("{task.description}"), BarColumn(), counted, TimeRemainingColumn())
    own = output(stderr=True)
    if not own.is_terminal:
        yield _staged_lines(unit)
        return
    with Progress(*columns, console=own, transient=True) as bar:
        now = {"what": "", "task": bar.add_task("", total=None)}

        def tell(what: str, done: int, total: int | None) -> None:
            if what != now["what"]:
                bar.remove_task(now["task"])  # type: ignore[arg-type]
                now.update(what=what, task=bar.add_task(what, total=total))
            bar.update(now["task"], completed=done)  # type: ignore[arg-type]

        yield tell


def _staged_lines(unit: str) -> Callable[[str, int, int | None], None]:
    stages: dict[str, ProgressLines] = {}

    def tell(what: str, done: int, total: int | None) -> None:
        if what not in stages:
            stages.clear()
            stages[what] = progress_lines(what, total, unit, done)
        stages[what].tell(done)

    return tell


@contextmanager
def downloading(what: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """A bar of bytes like :func:`progress`; gives a function (bytes done, of how many, note)."""
    columns = (Words("{task.description}"), BarColumn(), DownloadColumn())
    more = (TransferSpeedColumn(), TimeRemainingColumn(), Words("{task.fields[note]}"))
    own = output(stderr=True)
    off = not own.is_terminal
    with Progress(*columns, *more, console=own, transient=True, disable=off) as bar:
        task = bar.add_task(what, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


def size(bytes_: float) -> str:
    """Bytes as a person reads them: 4.1 MB."""
    for unit in ("B", "kB", "MB"):
        if bytes_ < 1000:
            return f"{bytes_:.0f} B" if unit == "B" else f"{bytes_:.1f} {unit}"
        bytes_ /= 1000
    return f"{bytes_:.2f} GB"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 8.3 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
