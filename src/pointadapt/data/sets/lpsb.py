"""LPSB: the Labeled Princeton Segmentation Benchmark (Kalogerakis et al., SIGGRAPH 2010)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.errors import DataLayoutError, FileFormatError
from ...core.files import read_json
from ..base import DATASETS
from ..reading.files import as_labels, read_npz
from ..reading.part_benchmark import PartBenchmark, RawParts

FILE = "lpsb_2048.npz"
SPLIT = Path(__file__).with_name("lpsb_split.json")
NAMES = {
    "Airplane": "body wing stabilizer rudder engine", "Ant": "back antenna head leg torso",
    "Armadillo": "torso foot lowerLeg upperLeg tail hand lowerArm upperArm ear head back",
    "Bearing": "bigroller smallroller tinyroller mediumroller base1 base2",
    "Bird": "body head wing tail leg", "Bust": "hair background nose neck ear face mouth eye",
    "Chair": "support leg arm backsupport", "Cup": "body handle", "Fish": "body fin tail",
    "FourLeg": "torso head earhorn leg neck tail", "Glasses": "lens skeleton middle",
    "Hand": "hand thumb finger1 finger2 finger3 finger4",
    "Human": "lowerleg torso upperleg foot head lowerarm upperarm hand",
    "Mech": "bigbox smallbox smallcylinder bigcylinder mediumcylinder", "Octopus": "body leg",
    "Plier": "center handle edge", "Table": "support leg", "Teddy": "torso hand leg head ear",
    "Vase": "body spout handle top base",
}  # fmt: skip


@DATASETS.register("lpsb")
@dataclass
class Lpsb(PartBenchmark):
    """LPSB: 19 classes of 20 shapes each, 94 parts, 2,048 labelled points of each shape's surface.

    There is no official split. Ours holds out 5 shapes of each class, drawn once with seed 0 and
    written down in ``lpsb_split.json`` beside this file: 285 clouds for training, 95 for testing.

    Attributes:
        root: ``lpsb_2048.npz``, or the folder that holds it. Arrays: ``points (n,2048,3)``, ``seg
            (n,2048)`` (indices into ``part_names``), ``category (n,)``, ``category_names (19,)``,
            ``part_names (94,)`` ("Airplane/body"), and ``mesh_id (n,)``, the benchmark's numbers.
    """

    licence: ClassVar[str] = "research use under its authors' terms, see the url"
    citation: ClassVar[str] = (
        "Kalogerakis, Hertzmann, Singh, Learning 3D Mesh Segmentation and Labeling, SIGGRAPH 2010; "
        "meshes: Chen et al., A Benchmark for 3D Mesh Segmentation, SIGGRAPH 2009"
    )
    url: ClassVar[str] = "https://people.cs.umass.edu/~kalo/papers/LabelMeshes/"
    where: ClassVar[str] = (
        "Get the labelled meshes from https://people.cs.umass.edu/~kalo/papers/LabelMeshes/, "
        f"sample 2,048 labelled points of each, and store them as {FILE} with the arrays that "
        "the data set's documentation names."
    )
    CLASSES: ClassVar[tuple[str, ...]] = tuple(NAMES)
    PARTS: ClassVar[tuple[str, ...]] = tuple(
        f"{name}/{part}" for name, parts in NAMES.items() for part in parts.split()
    )

    def official_counts(self) -> dict[str, int]:
        """Number of clouds of each split as written down."""
        return {name: len(ids) for name, ids in written_split().items()}

    def raw(self, split: str) -> RawParts:
        """The clouds of ``split``, in the order of the file."""
        path = self._path()
        arrays = read_npz(path)
        self._check(path, arrays)
        n = len(arrays["points"])
        labels = as_labels(path, arrays["category"], n)
        meshes = as_labels(path, arrays["mesh_id"], n)
        self._check_ids(path, labels, meshes)
        keep = np.flatnonzero(np.isin(meshes, written_split()[split]))
        if not len(keep):
            raise FileFormatError(f"{path}: holds no cloud of the split {split!r}")
        points, seg = arrays["points"][keep], arrays["seg"][keep]
        ids = tuple(f"{self.CLASSES[k]}/{mesh}" for k, mesh in zip(
            labels[keep], meshes[keep], strict=True
        ))  # fmt: skip
        return RawParts(
            path, labels[keep], ids, lambda i: (points[i].astype(np.float32), seg[i].astype(int))
        )

    def _path(self) -> Path:
        root = self.found_root()
        path = root / FILE if root.is_dir() else root
        if not path.is_file():
            raise DataLayoutError(f"{path} is missing. {self.where}")
        return path

    def _check(self, path: Path, arrays: dict[str, Any]) -> None:
        for key in ("points", "seg", "category", "category_names", "part_names", "mesh_id"):
            if key not in arrays:
                raise FileFormatError(
                    f"{path}: has no {key!r}; it holds {', '.join(sorted(arrays)) or 'nothing'}"
                )
        points, seg = arrays["points"], arrays["seg"]
        if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind != "f":
            raise FileFormatError(
                f"{path}: 'points' must be real numbers (n, N, 3), "
                f"not {points.dtype} {points.shape}"
            )
        if seg.shape != points.shape[:2] or seg.dtype.kind not in "iu":
            raise FileFormatError(
                f"{path}: 'seg' must be whole numbers {points.shape[:2]}, "
                f"not {seg.dtype} {seg.shape}"
            )
        for key, own in (("category_names", self.CLASSES), ("part_names", self.PARTS)):
            if tuple(map(str, arrays[key].ravel())) != own:
                raise FileFormatError(
                    f"{path}: {key!r} are not the benchmark's {len(own)} in order"
                )

    def _check_ids(self, path: Path, labels: np.ndarray, meshes: np.ndarray) -> None:
        bad = np.flatnonzero((labels < 0) | (labels >= len(self.CLASSES)))
        if len(bad):
            raise FileFormatError(
                f"{path}: category {labels[bad[0]]} of mesh {meshes[bad[0]]} is outside "
                f"0 to {len(self.CLASSES) - 1}"
            )
        known = {mesh for ids in written_split().values() for mesh in ids}
        odd = sorted(set(meshes.tolist()) - known)
        if odd or len(set(meshes.tolist())) < len(meshes):
            what = f"mesh {odd[0]} is in neither split" if odd else "a mesh is there twice"
            raise FileFormatError(f"{path}: {what} of {SPLIT.name}")


@cache
def written_split() -> dict[str, tuple[int, ...]]:
    """Split -> mesh numbers, as written down."""
    values = read_json(SPLIT)
    return {name: tuple(values[name]) for name in ("train", "test")}
