"""The command ``pointadapt``: one sub-command, one library call; wrong input, one line."""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from tyro.conf import subcommand

from ..core import console, stops
from ..core.config import TrainConfig, read_config
from ..core.errors import explain
from ..core.fields import build
from ..core.files import CHECKPOINT
from ..core.notes import notes_shown
from ..core.version import __version__
from ..recipes.start import completed, recipe_values
from . import commands
from .words import check_words, in_one_line

ABOUT = (
    "One frozen 3D backbone, many tiny adapters. Start with: pointadapt demo. "
    "Then: pointadapt train --data folder --root DIR, with one folder of files for each class."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status.

    0 is success, 2 wrong input (one line on standard error; with POINTADAPT_DEBUG=1 the traceback),
    130 an interruption (Ctrl-C), 143 SIGTERM, which first saves what a run has.
    """
    args = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if args[0] == "--version":
        print(f"pointadapt {__version__}")
        return 0
    command: commands.Command | None = None
    try:
        _silence()
        command = parse(args)
        stops.say(partial(how_to_go_on, command=command, args=args))
        if not gc.isenabled():  # see pointadapt.__main__
            gc.freeze()
            gc.enable()
        with notes_shown(console.note_line):
            return command.run()
    except KeyboardInterrupt:
        console.error_line(how_to_go_on("interrupted", args, command))
        return stops.INTERRUPTED
    except stops.Stopped as stopped:
        done = f", {stopped}" if str(stopped) else ""
        console.error_line(how_to_go_on(f"stopped by SIGTERM{done}", args, command))
        return stops.STOPPED
    except BrokenPipeError:  # "pointadapt list | head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        message = explain(error)
        if message is None or os.environ.get("POINTADAPT_DEBUG"):
            raise
        console.error_line(message)
        return 2


def parse(args: Sequence[str]) -> commands.Command:
    """The command that ``args`` give; ends the program where they ask for help.

    Raises:
        PointAdaptError: an unknown word, a wrong or missing value, an unknown recipe, or a
            configuration file that is none.
    """
    choices: dict[str, Any] = commands.every_command()
    fitting = getattr(choices.get(args[0]), "fitting", None)
    if fitting is not None:
        choices[args[0]] = fitting(args)
    where = check_words(args, choices)
    config = _config_class(choices.get(args[0]))
    if config is not None:
        start = _start(args, config)
        values = {f.name: getattr(start, f.name) for f in fields(config)}
        choices[args[0]] = choices[args[0]](**values)  # an instance: flags override it
    kinds = tuple(
        Annotated[c, subcommand(name)]
        if isinstance(c, type)
        else Annotated[type(c), subcommand(name, default=c)]
        for name, c in choices.items()
    )
    every: Any = Union[kinds]  # noqa: UP007 - made at run time
    with in_one_line(where):
        return completed(tyro.cli(every, prog="pointadapt", args=args, description=ABOUT))


def _config_class(command: type | None) -> type[TrainConfig] | None:
    """The training configuration that a command's options extend; None for other commands."""
    bases = command.__mro__[1:] if command is not None else ()
    return next((base for base in bases if issubclass(base, TrainConfig)), None)


def _start(args: Sequence[str], cls: type[TrainConfig]) -> TrainConfig:
    """What the flags override: the recipe's values, and over them the file's."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--recipe", nargs="?", default=None)
    early.add_argument("--config", nargs="?", default=None)
    given, _ = early.parse_known_args(list(args))
    values = read_config(given.config) if given.config else {}
    name = given.recipe or values.get("recipe")
    base = recipe_values(str(name), cls) if name else {}
    where = given.config or f"recipe {name!r}"
    return build(cls, {**base, **values}, where) if base or values else cls()


def how_to_go_on(what: str, args: Sequence[str], command: commands.Command | None = None) -> str:
    """``what`` has ended the command, and how to go on, where one can."""
    if not isinstance(getattr(command, "resume", None), bool):
        return what
    options: Any = command
    if getattr(options, "restarts", False):  # several runs, each with its own checkpoint
        return f"{what}; continue with the same command: pointadapt {shlex.join(args)}"
    if (Path(options.out) / CHECKPOINT).exists():
        again = list(args) if options.resume else [*args, "--resume"]
        return f"{what}; continue with: pointadapt {shlex.join(again)}"
    return f"{what} before the first checkpoint; start again with the same command"


def _silence() -> None:
    """Keep other libraries' notes to developers from a user who can do nothing about them."""
    if os.environ.get("POINTADAPT_DEBUG"):
        return
    for category in (UserWarning, FutureWarning, DeprecationWarning):
        for module in ("torch", "accelerate", "tensorboard", "matplotlib"):
            warnings.filterwarnings("ignore", category=category, module=rf"{module}(\.|$)")
