"""S3DIS: 272 scanned rooms of six areas, 13 classes of points (Armeni et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...core import console
from ...core.errors import (
    ConfigError,
    DataLayoutError,
    FileFormatError,
    PointAdaptError,
    PointCloudError,
)
from ...core.files import sha256_of
from ..base import DATASETS
from ..reading.block_data import BlockData
from ..reading.blocks import Scene, SceneFile
from ..reading.s3dis_rooms import CLASSES, is_prepared, prepare, raw_rooms, read_index

FOLDER = "Stanford3dDataset_v1.2_Aligned_Version"
ROOMS = {1: 44, 2: 40, 3: 23, 4: 49, 5: 68, 6: 48}  # of each area, in the official release
PREPARED = "_rooms"  # what the prepared folder's name adds to that of the raw tree


@DATASETS.register("s3dis")
@dataclass
class S3dis(BlockData):
    """S3DIS in blocks of 1 m x 1 m: 4,096 points, labelled with one of 13 classes.

    ::

        ROOT/Area_1/conferenceRoom_1/Annotations/beam_1.txt     the raw release: rows x y z r g b
        ROOT/Area_1_conferenceRoom_1.npy                        or rooms, as the field prepares them

    The raw tree is made into rooms at the first use: (n, 7) float32 arrays x y z r g b label, in
    ``ROOT_rooms`` beside it or in ``rooms``. Rooms are mapped into memory and read one at a time.

    Points are metres from the middle of the block; features are red green blue from 0 to 1, and
    x y z as shares of the room's extent. Together they are the field's nine channels.

    Training draws on the five other areas: PointNet++'s rule, see ``blocks``. An epoch of the
    field's code is new blocks each time (47,000 without Area 5); here they are drawn at load.
    Six-fold results: train with each ``area``, then pool the confusion matrices::

        for a in 1 2 3 4 5 6; do
            pointadapt train --recipe dapt-s3dis --root DIR --data-options area=$a --out runs/a$a
            pointadapt score-scenes --adapter runs/a$a/adapter --out runs/a$a/rooms.json
        done
        pointadapt pool runs/a?/rooms.json

    Attributes:
        root: the raw tree, the folder that holds it, or a folder of prepared rooms.
        area: the area that is the test split, 1 to 6.
        rooms_dir: where rooms prepared from the raw tree are kept.
    """

    licence: ClassVar[str] = "research use under its authors' terms, see the url"
    citation: ClassVar[str] = (
        "Armeni et al., 3D Semantic Parsing of Large-Scale Indoor Spaces, CVPR 2016"
    )
    url: ClassVar[str] = "https://cvg-data.inf.ethz.ch/s3dis/"
    where: ClassVar[str] = (
        f"Ask for {FOLDER}.zip at https://cvg-data.inf.ethz.ch/s3dis/, unpack it, and pass the "
        "folder with Area_1 to Area_6."
    )
    CLASSES: ClassVar[tuple[str, ...]] = CLASSES

    area: int = 5
    rooms_dir: Path | None = None

    def label_names(self) -> tuple[str, ...]:
        """The 13 classes."""
        return CLASSES

    def feature_names(self) -> tuple[str, ...]:
        """Colours, and the place within the room."""
        return ("red", "green", "blue", "x", "y", "z")

    def scenes(self, split: str) -> Sequence[SceneFile]:
        """The rooms of the test area, or of the five others."""
        if self.area not in ROOMS:
            raise ConfigError(f"area={self.area}: the areas are 1 to 6")
        start = f"Area_{self.area}_"
        paths = [p for p in self._paths() if p.name.startswith(start) == (split == "test")]
        return [SceneFile(p.stem, len(_mapped(p)), lambda p=p: open_room(p)) for p in paths]

    def verify(self) -> list[str]:
        """What differs from the official release, a line each; empty if nothing does.

        Counts the rooms of each area, and compares prepared rooms with their checksums.
        """
        try:
            paths = self._paths()
        except PointAdaptError as error:
            return [str(error)]
        notes = []
        for area, official in ROOMS.items():
            count = sum(path.name.startswith(f"Area_{area}_") for path in paths)
            if count != official:
                notes.append(f"Area_{area}: {count} rooms, the official release has {official}")
        index = read_index(paths[0].parent)
        for path in paths:
            if path.stem in index and sha256_of(path) != index[path.stem]["sha256"]:
                notes.append(f"{path}: changed since it was prepared: delete it")
        return notes

    def _paths(self) -> list[Path]:
        """The prepared rooms, made first where only the raw tree is there."""
        root = self.found_root()
        folder = next((p for p in (root, root / FOLDER) if raw_rooms(p)), None)
        if folder is not None:
            return self._prepared(folder)
        paths = sorted(root.glob("Area_[1-6]_*.npy"))
        if not paths:
            raise DataLayoutError(
                f"{root}: neither Area_1/ROOM/Annotations nor Area_1_ROOM.npy is in it. "
                f"{self.where}"
            )
        return paths

    def _prepared(self, raw: Path) -> list[Path]:
        raw, rooms = raw.absolute(), raw_rooms(raw)
        out = Path(self.rooms_dir or raw.with_name(raw.name + PREPARED))
        if not all(is_prepared(out, name) for name in rooms):
            to = console.output(stderr=True)
            to.print(f"s3dis: preparing {len(rooms)} rooms in {out}, once", soft_wrap=True)
            with console.progress("rooms", len(rooms)) as done:
                prepare(rooms, out, done, lambda note: to.print(note, soft_wrap=True))
        return [out / f"{name}.npy" for name in rooms]


def _mapped(path: Path) -> np.ndarray:
    """A room (n, 7), in the file."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileFormatError(
            f"{path}: cut short, or no .npy file: {' '.join(str(error).split())}; delete it"
        ) from error
    if rows.ndim != 2 or rows.shape[1] != 7 or rows.dtype.kind not in "fiu" or not len(rows):
        raise FileFormatError(
            f"{path}: must be numbers (n, 7), x y z r g b label, not {rows.dtype} {rows.shape}"
        )
    return rows


def open_room(path: Path) -> Scene:
    """A prepared room; its colours stay in the file.

    Raises:
        FileFormatError: it is damaged, or has a label that is none of the 13.
        PointCloudError: NaN or infinite coordinates.
    """
    rows = _mapped(path)
    labels = np.array(rows[:, 6])
    wrong = np.flatnonzero(~np.isin(labels, np.arange(len(CLASSES))))
    if len(wrong):
        raise FileFormatError(
            f"{path}: label {labels[wrong[0]]:g} in row {wrong[0]} (counted from 0) is outside "
            f"0 to {len(CLASSES) - 1}, the {len(CLASSES)} classes"
        )
    xyz = np.array(rows[:, :3], dtype=np.float64)
    if not np.isfinite(xyz).all():
        raise PointCloudError(f"{path}: has NaN or infinite coordinates")
    xyz -= xyz.min(axis=0)
    points = xyz.astype(np.float32)
    extent = np.maximum(points.max(axis=0), 1e-6)

    def features(index: np.ndarray) -> np.ndarray:
        colors = np.asarray(rows[index.ravel(), 3:6], dtype=np.float32) / 255
        return np.concatenate(
            [colors.reshape(*index.shape, 3), points[index] / extent], axis=-1, dtype=np.float32
        )

    return Scene(path.stem, points, labels.astype(np.int8), features)
