"""``python -m pointadapt`` is the command ``pointadapt``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
