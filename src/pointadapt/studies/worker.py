"""A process for training runs, which ends as soon as the process that started it is gone.

``python -m pointadapt.studies.worker RUN.yaml … [--timed] [--patience=SECONDS]``

Several runs are trained together.

Otherwise two would write into one folder after a restart. It watches before it imports anything:
imports take seconds, in which a killed parent would go unnoticed.
"""

from __future__ import annotations

import os
import sys
import threading

from ..core import stops


def main(args: list[str]) -> int:
    """Be a worker; the exit status is that of the command line."""
    _end_with_parent()
    stops.install()
    try:
        return _work([a for a in args if a[:2] != "--"], [a for a in args if a[:2] == "--"])
    except KeyboardInterrupt:
        return stops.INTERRUPTED
    except stops.Stopped as stopped:
        print(f"stopped by SIGTERM, {stopped}", file=sys.stderr)
        return stops.STOPPED


def _end_with_parent() -> None:
    """End this process when the one that started it does, however that comes about."""

    def wait() -> None:
        while os.read(0, 1):  # empty once the other end of standard input is closed
            pass
        os._exit(stops.INTERRUPTED)

    threading.Thread(target=wait, daemon=True).start()


def _work(paths: list[str], options: list[str]) -> int:
    from ..core import console
    from ..core.config import TrainConfig, load_config
    from ..core.errors import explain
    from .jobs import PATIENCE, work

    waits = [float(o.partition("=")[2]) for o in options if o.startswith("--patience=")]
    try:
        config, *beside = (load_config(path, TrainConfig) for path in paths)
        work(config, "--timed" in options, waits[0] if waits else PATIENCE, beside)
        return 0
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        console.error_line(message)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
