"""Write a toy data set and four cross-validation folds of it: python make.py FOLDER."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from pointadapt.data import load_dataset
from pointadapt.data.sets.folds import NAME, draw_folds

TOY = Path(__file__).parents[1] / "toy" / "make.py"


def make(root: Path) -> dict[str, object]:
    """Write FOLDER/toy and FOLDER/folds.json, and return the options with which to load one."""
    runpy.run_path(str(TOY))["make"](root / "toy")
    source = load_dataset("folder", root=root / "toy", points=64)
    draw_folds(source, {}, "all", folds=4, seed=0)[0].write(root / NAME)
    return {"root": root, "source_root": root / "toy", "points": 64}


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
