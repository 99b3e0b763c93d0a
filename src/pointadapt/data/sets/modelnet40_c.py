"""ModelNet40-C: ModelNet40's test clouds under 15 corruptions (Sun et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..base import DATASETS
from ..reading.corrupted import CLEAN, CorruptedTest
from ..reading.files import RawClouds, as_labels, existing, numbered, read_npy


@DATASETS.register("modelnet40_c")
@dataclass
class ModelNet40C(CorruptedTest):
    """ModelNet40-C from its official files: 15 corruptions at 5 severities. Nothing to train on.

    ::

        ROOT/data_<corruption>_<severity>.npy        points (2468, N, 3)
        ROOT/data_original.npy                       the clean clouds (``corruption=clean``)
        ROOT/label.npy                               (2468,) or (2468, 1)

    N runs from 649 (``density`` 5) to 2,048 (``upsampling`` 5). y is up.

    Attributes:
        root: the folder ``modelnet40_c``, or the one that holds it.
    """

    licence: ClassVar[str] = "academic research only, as ModelNet40; code under BSD-3-Clause"
    citation: ClassVar[str] = (
        "Sun et al., Benchmarking Robustness of 3D Point Cloud Recognition Against Common "
        "Corruptions, arXiv:2201.12296, 2022"
    )
    url: ClassVar[str] = "https://github.com/jiachens/ModelNet40-C"
    where: ClassVar[str] = (
        "Get modelnet40_c by the download link at https://github.com/jiachens/ModelNet40-C, and "
        "pass the folder with data_uniform_1.npy and label.npy."
    )
    FOLDER: ClassVar[str] = "modelnet40_c"

    def file(self, folder: Path) -> Path:
        """Where the chosen clouds lie in ``folder``."""
        if self.corruption == CLEAN:
            return folder / "data_original.npy"
        return folder / f"data_{self.corruption}_{self.severity}.npy"

    def read(self, path: Path) -> RawClouds:
        """The clouds of a file, whose labels lie beside it."""
        points = read_npy(path, clouds=True)
        labels = path.with_name("label.npy")
        values = as_labels(labels, read_npy(existing(labels, "it holds the classes")), len(points))
        ids = numbered(path.stem, len(values))
        return RawClouds(path, values, self.CLASSES, ids, points.__getitem__, "first")
