"""What a recipe is: a configuration with its command, cost, expected score and source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.config import TrainConfig

NOT_MEASURED = "not measured here"
POINT_MAE = "point_mae-small"


@dataclass(frozen=True)
class Recipe:
    """A named preset of ``pointadapt train``.

    Attributes:
        name: what ``--recipe`` takes.
        summary: what it does, in one line.
        config: the values; flags override them.
        score: the expected score and how it was selected.
        source: where values and score come from.
        hardware: what the time was measured on.
        time: how long it took there.
        needs: what a user has to get first, if anything.
        subcommand: the command it is for.
        root: the folder of the data in its command; by default DIR and the name of the data set.
    """

    name: str
    summary: str
    config: TrainConfig
    score: str
    source: str
    hardware: str = NOT_MEASURED
    time: str = NOT_MEASURED
    needs: str = ""
    subcommand: str = "train"
    root: str = ""

    @property
    def command(self) -> str:
        """The command that runs it."""
        root = self.root or f"DIR/{self.config.data}"
        return f"pointadapt {self.subcommand} --recipe {self.name} --root {root}"


def recipe(name: str, base: TrainConfig, *, about: dict[str, str], **changes: Any) -> Recipe:
    """The recipe ``name``: ``base`` with ``changes``; ``about`` holds the other fields."""
    values = {"recipe": name, "out": Path("runs") / name, **changes}
    return Recipe(name=name, config=replace(base, **values), **about)
