"""The command ``pointadapt``, also as ``python -m pointadapt``: first the signals, then imports."""

import sys

from .core import stops


def main() -> int:
    """Run the command that the words after the program's name give; returns its exit status."""
    stops.install()
    try:
        from .cli.main import main as run

        return run()
    except KeyboardInterrupt:  # between the handler and the command's own
        return stops.INTERRUPTED
    finally:
        stops.uninstall()


if __name__ == "__main__":
    sys.exit(main())
