"""The sub-commands, one file each: adding one is adding a file here.

Nothing here imports torch until a command runs, so that ``--help`` answers at once. The order of
``ORDER`` is that of ``--help``; other commands follow by name.
"""

import importlib
import pkgutil

from ..base import COMMANDS, Command

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")

ORDER = ("demo", "train", "evaluate", "predict", "fold", "pretrain", "convert", "list")
NAMES = (*(n for n in ORDER if n in COMMANDS), *sorted(set(COMMANDS) - set(ORDER)))

__all__ = ["COMMANDS", "NAMES", "Command"]
