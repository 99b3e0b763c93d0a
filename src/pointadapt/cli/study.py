"""What the commands that run many runs have beside the configuration of their study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import Suppress


@dataclass(frozen=True, kw_only=True)
class Study:
    """To be named before the configuration's class.

    Attributes:
        recipe: start from this preset; see "pointadapt list recipes". Flags override it.
        config: start from this YAML file. Flags override it.
        json: print the results as JSON on standard output, all else on standard error.
    """

    restarts: ClassVar[bool] = True  # as it is, by the same command

    recipe: str = ""
    config: Path | None = None
    json: bool = False
    resume: Annotated[bool, Suppress] = False

    def __post_init__(self) -> None:
        """Checked when the command runs, as for ``Train``."""
