"""ScanObjectNN: 15 classes of objects cut from scanned rooms (Uy et al., ICCV 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ...core.errors import DataLayoutError
from ..base import DATASETS
from ..reading.benchmark import Benchmark, check_choice
from ..reading.files import RawClouds, numbered, read_h5

NAMES = "bag bin box cabinet chair desk display door shelf table bed pillow sink sofa toilet"

# variant -> folder, end of the file names, clouds of the official release
VARIANTS = {
    "obj_bg": ("main_split", "", {"train": 2309, "test": 581}),
    "obj_only": ("main_split_nobg", "", {"train": 2309, "test": 581}),
    "pb_t50_rs": ("main_split", "_augmentedrot_scale75", {"train": 11416, "test": 2882}),
}
STEMS = {"train": "training_objectdataset", "test": "test_objectdataset"}


@DATASETS.register("scanobjectnn")
@dataclass
class ScanObjectNN(Benchmark):
    """ScanObjectNN in its main split, from the official ``h5_files``.

    Coordinates are as stored, and enter the network so: the released code of no paper that we know
    centres or scales them. The stored clouds have 2,048 points; ``sampling="auto"`` is ``fps``.

    Attributes:
        root: ``h5_files``, the folder that holds it, or a ``main_split`` folder in it.
        variant: ``obj_only`` (the object alone), ``obj_bg`` (with what surrounds it), or
            ``pb_t50_rs`` (cut out with an offset of up to half its size, turned and scaled: the
            hardest).
    """

    licence: ClassVar[str] = "research use under its authors' terms, see the url"
    citation: ClassVar[str] = (
        "Uy et al., Revisiting Point Cloud Classification: A New Benchmark Dataset and "
        "Classification Model on Real-World Data, ICCV 2019"
    )
    url: ClassVar[str] = "https://hkust-vgd.github.io/scanobjectnn/"
    where: ClassVar[str] = (
        "Ask for ScanObjectNN at https://hkust-vgd.github.io/scanobjectnn/, unpack h5_files.zip, "
        "and pass the folder h5_files."
    )
    CLASSES: ClassVar[tuple[str, ...]] = tuple(NAMES.split())
    normalise: ClassVar[bool] = False

    points: int = 2048
    variant: Literal["obj_bg", "obj_only", "pb_t50_rs"] = "pb_t50_rs"

    def official_counts(self) -> dict[str, int]:
        """Number of clouds of each split of ``variant`` in the official release."""
        check_choice("variant", self.variant, VARIANTS)
        return VARIANTS[self.variant][2]

    def raw(self, split: str) -> RawClouds:
        """The clouds of ``split`` as stored."""
        path = self._find(split)
        points, labels = read_h5(path)
        ids = numbered(path.stem, len(labels))
        return RawClouds(path, labels, self.CLASSES, ids, points.__getitem__, "fps")

    def _find(self, split: str) -> Path:
        check_choice("variant", self.variant, VARIANTS)
        folder, end, _ = VARIANTS[self.variant]
        name = f"{STEMS[split]}{end}.h5"
        root = self.found_root()
        for path in _candidates(root, folder):
            if (path / name).is_file():
                return path / name
        raise DataLayoutError(
            f"{root}: no {folder}/{name}, which variant {self.variant!r} needs. {self.where}"
        )


def _candidates(root: Path, folder: str) -> Iterator[Path]:
    """Where ``folder`` may be: under the root or its ``h5_files``, the root itself or beside it."""
    yield root / folder
    yield root / "h5_files" / folder
    root = root.absolute()  # so that "." has a name
    if root.name.startswith("main_split"):
        yield root.parent / folder
