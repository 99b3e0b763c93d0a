"""ModelNet-C: ModelNet40's test clouds under 7 atomic corruptions (Ren et al., ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..base import DATASETS
from ..reading.corrupted import CLEAN, CorruptedTest
from ..reading.files import RawClouds, numbered, read_h5


@DATASETS.register("modelnet_c")
@dataclass
class ModelNetC(CorruptedTest):
    """ModelNet-C from its official files: 7 corruptions at 5 severities. Nothing to train on.

    ::

        ROOT/<corruption>_<level>.h5                 data (2468, N, 3), label (2468, 1)
        ROOT/clean.h5

    The files count levels from 0 to 4: they are the severities 1 to 5 here. N runs from 256
    (``dropout_global`` 5) to 1,524 (``add_local`` 5). y is up.

    Attributes:
        root: the folder ``modelnet_c``, or the one that holds it.
    """

    licence: ClassVar[str] = "academic research only, as ModelNet40"
    citation: ClassVar[str] = (
        "Ren, Pan, Liu, Benchmarking and Analyzing Point Cloud Classification under Corruptions, "
        "ICML 2022"
    )
    url: ClassVar[str] = "https://github.com/jiawei-ren/ModelNet-C"
    where: ClassVar[str] = (
        "Get modelnet_c.zip by the download link at https://github.com/jiawei-ren/ModelNet-C, "
        "unpack it, and pass the folder with clean.h5."
    )
    FOLDER: ClassVar[str] = "modelnet_c"

    def file(self, folder: Path) -> Path:
        """Where the chosen clouds lie in ``folder``."""
        level = "" if self.corruption == CLEAN else f"_{self.severity - 1}"
        return folder / f"{self.corruption}{level}.h5"

    def read(self, path: Path) -> RawClouds:
        """The clouds of a file."""
        points, labels = read_h5(path)
        ids = numbered(path.stem, len(labels))
        return RawClouds(path, labels, self.CLASSES, ids, points.__getitem__, "first")
