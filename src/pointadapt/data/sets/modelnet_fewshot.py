"""ModelNetFewshot: the few-shot episodes of ModelNet40 that Point-BERT made and later work uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.errors import DataLayoutError, FileFormatError
from ...core.fields import at_least
from ..base import DATASETS
from ..reading.benchmark import Benchmark, check_choice
from ..reading.files import RawClouds, as_labels, numbered
from ..reading.pickles import load_pickle
from .modelnet40 import CLASSES

QUERIES = 20  # of each class, in the official files
FOLDS = 10


@DATASETS.register("modelnet_fewshot")
@dataclass
class ModelNetFewshot(Benchmark):
    """One official few-shot episode of ModelNet40: support (train) and queries (test).

    The files are pickles, of which numpy arrays and plain values alone are read. They hold 8,192
    points a cloud in the order of farthest point sampling, y up, so ``sampling="auto"`` takes the
    first.

    Attributes:
        root: the folder ``ModelNetFewshot``, or the one that holds it.
        way: classes of an episode; 5 and 10 are published.
        shot: support clouds of each; 10 and 20 are published.
        fold: which of the ten episodes, 0 to 9.
    """

    licence: ClassVar[str] = "academic research only; the shapes belong to their authors"
    citation: ClassVar[str] = (
        "Sharma and Kaul, Self-Supervised Few-Shot Learning on Point Clouds, NeurIPS 2020; files "
        "by Yu et al., Point-BERT, CVPR 2022; shapes by Wu et al., 3D ShapeNets, CVPR 2015"
    )
    url: ClassVar[str] = "https://github.com/Julie-tang00/Point-BERT/blob/master/DATASET.md"
    where: ClassVar[str] = (
        "Get ModelNetFewshot, to which Point-BERT's DATASET.md links, and pass the folder that "
        "holds 5way_10shot/0.pkl."
    )
    CLASSES: ClassVar[tuple[str, ...]] = CLASSES
    own_episodes: ClassVar[bool] = True

    way: int = 5
    shot: int = 10
    fold: int = 0

    def __post_init__(self) -> None:
        at_least(self, 1, "way", "shot")
        at_least(self, 0, "fold")

    def official_counts(self) -> dict[str, int]:
        """Number of clouds of each split in the official release."""
        return {"train": self.way * self.shot, "test": self.way * QUERIES}

    def _compare(self, raw: RawClouds, official: int) -> Iterable[str]:
        if len(raw.labels) != official:
            yield f"{len(raw.labels)} clouds, the official release has {official}"
        counts = np.bincount(raw.labels, minlength=self.way)
        if len(set(counts.tolist())) > 1:
            yield f"the classes have {', '.join(map(str, counts))} clouds, not equally many"

    def file(self) -> Path:
        """The pickle of this episode.

        Raises:
            DataLayoutError: it is not there.
        """
        root = self.found_root()
        names = (f"{self.way}way_{self.shot}shot", f"{self.way}way{self.shot}shot")
        for folder in (root, root / "ModelNetFewshot"):
            for name in names:
                if (folder / name / f"{self.fold}.pkl").is_file():
                    return folder / name / f"{self.fold}.pkl"
        raise DataLayoutError(f"{root}: no {names[0]}/{self.fold}.pkl is there. {self.where}")

    def raw(self, split: str) -> RawClouds:
        """The clouds of ``split`` as stored."""
        check_choice("split", split, ("train", "test"))
        path = self.file()
        content = load_pickle(path)
        classes = _class_names(path, content, self.way)
        clouds, labels = _entries(path, content, split)[:2]
        return RawClouds(
            path, labels, classes, numbered(split, len(labels)), clouds.__getitem__, "first"
        )


def _entries(path: Path, content: Any, split: str) -> tuple[list[np.ndarray], np.ndarray, list]:
    """Points of each cloud, labels (n,) within the episode, and what else its tuple holds."""
    items = content.get(split) if isinstance(content, dict) else None
    good = isinstance(items, list) and all(
        isinstance(item, (list, tuple))
        and len(item) >= 2
        and isinstance(item[0], np.ndarray)
        and item[0].ndim == 2
        for item in items
    )
    if not good or items is None:
        raise FileFormatError(
            f"{path}: must be a dictionary of 'train' and 'test', lists of (points, label, …)"
        )
    labels = as_labels(path, [np.asarray(item[1]).reshape(-1) for item in items], len(items))
    return [item[0] for item in items], labels, [item[2:] for item in items]


def _class_names(path: Path, content: Any, way: int) -> tuple[str, ...]:
    """Names by label: the third value of a tuple is the class's number in ModelNet40."""
    names: dict[int, str] = {}
    for split in ("train", "test"):
        _, labels, rest = _entries(path, content, split)
        for label, more in zip(labels.tolist(), rest, strict=True):
            name = _name(more) or f"class {label}"
            if names.setdefault(label, name) != name:
                raise FileFormatError(f"{path}: label {label} is both {names[label]} and {name}")
    found = tuple(names.get(label, f"class {label}") for label in range(way))
    if len(set(found)) < way:
        raise FileFormatError(f"{path}: two labels are one class: {', '.join(found)}")
    return found


def _name(more: Sequence[Any]) -> str:
    number = np.asarray(more[0]) if more else np.empty(0)
    if number.size != 1 or number.dtype.kind not in "iu":
        return ""
    return dict(enumerate(CLASSES)).get(int(number.reshape(())), "")
