"""The command ``pointadapt``, also as ``python -m pointadapt``: first the signals, then imports.

Importing torch makes some hundred thousand objects that stay. Until the command begins its work
nobody looks for garbage among them, nor again when the process ends: together half a second.
"""

import gc
import sys

from .core import stops


def main() -> int:
    """Run the command that the words after the program's name give; returns its exit status."""
    stops.install()
    gc.disable()
    try:
        from .cli.main import main as run

        return run()
    except KeyboardInterrupt:  # between the handler and the command's own
        return stops.INTERRUPTED
    finally:
        stops.uninstall()
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
