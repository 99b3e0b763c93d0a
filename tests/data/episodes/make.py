"""Write a toy data set and two few-shot episodes of it: python make.py FOLDER."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from pointadapt.data.sets.episodes import Setting, draw_episodes

TOY = Path(__file__).parents[1] / "toy" / "make.py"


def make(root: Path) -> dict[str, object]:
    """Write FOLDER/toy and FOLDER/episodes, and return the options with which to load one."""
    runpy.run_path(str(TOY))["make"](root / "toy")
    setting = Setting("folder", {}, way=3, shot=6, queries=3)
    for episode in draw_episodes(setting, 2, root / "toy"):
        episode.write(root / "episodes")
    return {"root": root / "episodes", "source_root": root / "toy", "points": 64}


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
