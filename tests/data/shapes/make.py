"""Options of a small generated data set: python make.py FOLDER (nothing is written)."""

from __future__ import annotations

import sys
from pathlib import Path


def make(root: Path) -> dict[str, object]:
    """The options with which to load it."""
    del root
    return {"size": 64, "test_size": 32}


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
