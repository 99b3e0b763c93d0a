"""The configuration of a look inside an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..fields import at_least, seeds


@dataclass(frozen=True)
class InspectConfig:
    """What to look at, and where to write what is seen.

    Attributes:
        adapter: the folder that training wrote, or hf://owner/name.
        paths: files and folders; folders are searched with their sub-folders. A file's class is the
            name of a folder that it lies in. Without any, the adapter's own data are taken.
        data: name of a data set instead; by default the one the adapter was trained on.
        root: its folder on disk.
        data_options: its other options, as key=value.
        split: which part of it.
        out: folder for inspect.html, inspect.json and the pictures.
        most: look at so many clouds, of all classes alike; 0 takes all.
        shown: clouds that are drawn with the scale of their patches.
        seed: fixes which clouds these are, and the picture of the features.
        up: the files' axis that points up; by default as in training.
        nan: what to do with points of files that are not finite; by default as in training.
        backbone: where the backbone is now, if the adapter does not find it.
        threads: CPU threads; 0 leaves it to torch.
    """

    adapter: Path
    paths: tuple[Path, ...] = ()
    data: str | None = None
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    split: Literal["train", "test"] = "test"
    out: Path = Path("inspected")
    most: int = 400
    shown: int = 4
    seed: int = 0
    up: Literal["x", "y", "z"] | None = None
    nan: Literal["error", "drop"] | None = None
    backbone: str | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        at_least(self, 0, "most", "threads")
        at_least(self, 1, "shown")
        seeds(self, "seed")
        if self.paths and (self.data or self.root or self.data_options):
            raise ConfigError(
                "give files to look at, or a data set (--data, --root, --data-options), not both"
            )
