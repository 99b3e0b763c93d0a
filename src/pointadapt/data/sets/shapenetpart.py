"""ShapeNetPart: 16 classes of CAD models, 50 parts (Yi et al., SIGGRAPH Asia 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...core.errors import DataLayoutError, FileFormatError
from ...core.files import read_json
from ..base import DATASETS
from ..reading.files import existing, read_table
from ..reading.part_benchmark import PartBenchmark, RawParts

FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
SYNSETS = {  # synset -> class and its number of parts; parts are numbered through in this order
    "02691156": ("Airplane", 4), "02773838": ("Bag", 2), "02954340": ("Cap", 2),
    "02958343": ("Car", 4), "03001627": ("Chair", 4), "03261776": ("Earphone", 3),
    "03467517": ("Guitar", 3), "03624134": ("Knife", 2), "03636649": ("Lamp", 4),
    "03642806": ("Laptop", 2), "03790512": ("Motorbike", 6), "03797390": ("Mug", 2),
    "03948459": ("Pistol", 3), "04099429": ("Rocket", 3), "04225987": ("Skateboard", 3),
    "04379243": ("Table", 3),
}  # fmt: skip
LISTS = {"train": ("train", "val"), "test": ("test",)}  # the field trains on both


@DATASETS.register("shapenetpart")
@dataclass
class ShapeNetPart(PartBenchmark):
    """ShapeNetPart from its official tree; training takes "train" and "val", as the field does.

    ::

        ROOT/02691156/<id>.txt                       rows x y z nx ny nz label
        ROOT/train_test_split/shuffled_train_file_list.json, …_val_…, …_test_…

    The official parts have numbers, no names: they are called Airplane/0 to Airplane/3 and so on.
    Files have about 500 to 3,000 points. Reading all of them takes a minute or two.

    Attributes:
        root: the folder, or the one that holds it.
        val: train on the split "val" too.
    """

    licence: ClassVar[str] = "research use, under ShapeNet's terms, see the url"
    citation: ClassVar[str] = (
        "Yi et al., A Scalable Active Framework for Region Annotation in 3D Shape Collections, "
        "SIGGRAPH Asia 2016"
    )
    url: ClassVar[str] = "https://shapenet.org/"
    where: ClassVar[str] = (
        f"Get {FOLDER}.zip (from ShapeNet, or a mirror named by the projects that use it), unpack "
        "it, and pass the folder."
    )
    CLASSES: ClassVar[tuple[str, ...]] = tuple(name for name, _ in SYNSETS.values())
    PARTS: ClassVar[tuple[str, ...]] = tuple(
        f"{name}/{k}" for name, count in SYNSETS.values() for k in range(count)
    )

    val: bool = True

    def official_counts(self) -> dict[str, int]:
        """Number of clouds of each split in the official release."""
        return {"train": 14007 if self.val else 12137, "test": 2874}

    def raw(self, split: str) -> RawParts:
        """The clouds of ``split`` as stored, in the order of the lists."""
        root, lists = self._root(), LISTS[split] if self.val else (split,)
        entries = [entry for name in lists for entry in _listed(root, name)]
        order = {synset: k for k, synset in enumerate(SYNSETS)}
        labels = np.array([order[synset] for synset, _ in entries], dtype=np.int64)
        ids = tuple(f"{synset}/{name}" for synset, name in entries)
        return RawParts(root, labels, ids, lambda i: _read(root / f"{ids[i]}.txt"))

    def _root(self) -> Path:
        root = self.found_root()
        for path in (root, root / FOLDER):
            if (path / "train_test_split").is_dir():
                return path
        raise DataLayoutError(f"{root}: no train_test_split, and no {FOLDER} in it. {self.where}")


def _listed(root: Path, split: str) -> list[tuple[str, str]]:
    """(synset, id) of the clouds of one official list, "shape_data/<synset>/<id>" each."""
    path = existing(
        root / "train_test_split" / f"shuffled_{split}_file_list.json",
        "the official tree has one for each of train, val and test",
    )
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise FileFormatError(f"{path}: must be a list of 'shape_data/<synset>/<id>'")
    found = []
    for entry in entries:
        parts = entry.split("/") if isinstance(entry, str) else []
        if len(parts) != 3 or not parts[2] or parts[1] not in SYNSETS or ".." in parts:
            raise FileFormatError(
                f"{path}: {entry!r} is no 'shape_data/<synset>/<id>' of the {len(SYNSETS)} classes"
            )
        found.append((parts[1], parts[2]))
    return found


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) and labels (N,), float32, of a file."""
    rows = read_table(path, delimiter=None)
    if rows.shape[1] != 7:
        raise FileFormatError(
            f"{path}: has {rows.shape[1]} columns, not the 7 of x y z nx ny nz label"
        )
    return rows[:, :3], rows[:, 6]
