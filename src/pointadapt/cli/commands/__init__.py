"""The sub-commands, one file each: adding one is adding a file here, or a plug-in's entry point.

Nothing here imports torch until a command runs, so that ``--help`` answers at once. The order of
``ORDER`` is that of ``--help``; other commands follow by name.
"""

import importlib
import pkgutil
from typing import Any

from ...core.registry import load_plug_ins
from ..base import COMMANDS, Command

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")

ORDER = ("demo", "train", "evaluate", "predict", "fold", "pretrain", "convert", "list")
GROUP = "pointadapt.commands"


def every_command() -> dict[str, type[Any]]:
    """The sub-commands by name, in the order of ``--help``; those of plug-ins too.

    Raises:
        PointAdaptError: a plug-in cannot be imported.
    """
    load_plug_ins(GROUP)
    names = (*(n for n in ORDER if n in COMMANDS), *sorted(set(COMMANDS) - set(ORDER)))
    return {name: COMMANDS[name] for name in names}


__all__ = ["COMMANDS", "Command", "every_command"]
