"""Your own labelled scenes: LAS and LAZ, PLY, NumPy arrays, text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.errors import ConfigError, DataLayoutError, PointCloudError
from ...core.notes import note
from ...io.columns import check_called
from ...io.las import RETURNS
from ...ops.point_traits import POINT_TRAITS, point_traits
from ..base import DATASETS, HELD_OUT, SKIPPED, titled
from ..reading.bad_files import (
    SKIPS,
    Skip,
    name_under,
    read_each,
    reasons,
    refuse,
    tell_skipped,
)
from ..reading.benchmark import SPLITS, check_choice
from ..reading.block_data import BlockData
from ..reading.blocks import Scene, SceneFile
from ..reading.label_names import FILES, label_names
from ..reading.labelled import SUFFIXES, Labelled, read_labelled
from ..reading.tree import all_files, readable_files, split_folders, tell_unread, tell_val
from ..reading.widths import AUTO, Width, fitting_width

PLACE = ("x", "y", "z")  # features that every scene has: the place within it, from 0 to 1
USUAL = ("red", "green", "blue", "intensity")
USUAL_WORD, TRAITS_WORD, RETURNS_WORD = "usual", "traits", "returns"  # features by the group
LAS_LABEL, NEVER_CLASSIFIED = "classification", 0  # of LAS
TILES = 5  # blocks along a side of the tiles into which a single scene is split


@DATASETS.register("folder_segmentation")
@dataclass
class FolderSegmentation(BlockData):
    """Scenes of your own, each point labelled, in one of three layouts.

    ::

        ROOT/train/a.las  ROOT/test/b.las     split here
        ROOT/a.las  ROOT/b.las                whole files are held out for test
        ROOT/a.las                            square tiles of the one scene are held out

    Labels are the classification of LAS and LAZ, a property of PLY (label, class, classification,
    scalar_Label, …), a column of that name in text with a header, or the last column of NumPy
    arrays and bare text. Classes are named by ``classes.txt`` or ``classes.json`` in ROOT (a name a
    line, or "code name"), else by ASPRS for LAS, else "class 7". Coordinates are moved to the
    scene's corner in float64 first, so that UTM loses nothing.

    All scenes are held in memory to draw blocks from them: 24 bytes a point and 4 for each column
    of the file, and about 50 more of the scene that is being cut. Predicting needs none of that.

    Attributes:
        root: the folder, or one file.
        seed: fixes the split and the blocks.
        block: width of a block in metres. By default ("auto") it is chosen from the density: the
            median block holds twice as many points as enter the network. Rooms come to about 1,
            airborne scans to 10 to 100. It is kept with the adapter.
        stride: from one test block to the next, in metres; 0 is a block.
        label: the column of labels, by name, or by its place from 0 in bare arrays (-1: the last).
        ignore: labels that nobody should learn; negative ones never count. By default those that
            LAS calls never classified (0), and none in other formats.
        features: what the network is told of each point besides coordinates: columns of the files,
            and x, y, z for the place within the scene, from 0 to 1. By default red, green, blue and
            intensity where all files have them, and every column of bare arrays ("usual"); "none"
            for none. "traits" are the height above ground, the shape around and the like of each
            point, see :mod:`pointadapt.ops.point_traits`: they are taken from the whole scene, and
            take about 10 seconds for a million points. "returns" are return_number and
            number_of_returns where all files have them, as LAS does.
        test_fraction: share of files or tiles that becomes test where no split is given.
        columns: what x, y and z are called where columns have names, such as
            ``columns=easting,northing,height``.
        skip: "bad" goes on without the files that cannot be read; "none" makes them an error.
    """

    licence: ClassVar[str] = "yours"
    citation: ClassVar[str] = ""
    url: ClassVar[str] = ""
    where: ClassVar[str] = (
        "Put labelled scenes (.las .laz .ply .npy .txt .csv) into ROOT/train and ROOT/test, or "
        "into ROOT."
    )

    own_scenes: ClassVar[bool] = True
    formerly: ClassVar[Mapping[str, Any]] = {"block": 1.0}

    block: Width = AUTO
    stride: float = 0.0
    label: str | None = None
    ignore: tuple[int, ...] | None = None
    features: tuple[str, ...] = ()
    test_fraction: float = 0.2
    columns: tuple[str, ...] = ()
    skip: Skip = "none"
    _told: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _read: dict[Path, Labelled] = field(default_factory=dict, init=False, repr=False)
    _labels: dict[int, str] = field(default_factory=dict, init=False, repr=False)
    _made: dict[Path, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _chosen: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        self.block = Width(self.block)
        self.stride = self.stride or self.block

    def settled(self) -> dict[str, str]:
        """The width of a block, where it was chosen."""
        return {"block": str(self.block)} if self._chosen else {}

    def label_names(self) -> tuple[str, ...]:
        """The classes of all files, by their codes."""
        return tuple(self._labels.values())

    def feature_names(self) -> tuple[str, ...]:
        """The features asked for, or those that all files have."""
        files = list(self._read.values())
        common = [n for n in files[0].columns if all(n in file.columns for file in files)]
        groups = {
            USUAL_WORD: (*(n for n in USUAL if n in common), *(n for n in common if n.isdigit())),
            TRAITS_WORD: POINT_TRAITS,
            RETURNS_WORD: tuple(n for n in RETURNS if n in common),
            "none": (),
        }
        asked = self.features or (USUAL_WORD,)
        names = tuple(one for name in asked for one in groups.get(name, (name,)))
        for name in names:
            if name not in (*common, *PLACE, *POINT_TRAITS):
                known = ", ".join((*common, *PLACE, TRAITS_WORD))
                raise ConfigError(f"feature {name!r}: not all files have it; they have: {known}")
        return names

    def scenes(self, split: str) -> Sequence[SceneFile]:
        """The scenes of ``split``; all files of both splits are read."""
        if not 0 < self.test_fraction < 1:
            raise ConfigError(f"test_fraction={self.test_fraction}: between 0 and 1")
        check_choice("value of skip", self.skip, SKIPS)
        check_called(self.columns)
        root = self.found_root()
        splits = self._split(root)
        if not self._read:
            self._read_all(root, splits)
            self._name(root)
        if not self.block:
            known = [self._read[path] for path in splits["train"] if path in self._read]
            self._choose_width(known or list(self._read.values()))
        files = [self._read[path] for path in splits[split] if path in self._read]
        if not files:
            raise DataLayoutError(f"{root}: no file for {split} can be read")
        if splits["train"] == splits["test"]:  # one file, of which tiles are held out
            scenes = [_part(self._scene(files[0]), *self._tiles(files[0], split))]
        else:
            scenes = [self._scene(file) for file in files]
        return [SceneFile(s.name, len(s), lambda s=s: s) for s in scenes]

    def title(self) -> str:
        """The name of the folder, or of the one file."""
        return titled(self)

    def told(self) -> dict[str, Any]:
        """The files that a drawn split holds out, and those that are left out."""
        return {name: values for name, values in self._told.items() if values}

    def _read_all(self, root: Path, splits: dict[str, list[Path]]) -> None:
        """Read the files of both splits; all that cannot be read are told, or left out."""
        paths = list(dict.fromkeys(path for some in splits.values() for path in some))
        good, bad = read_each(paths, lambda p: read_labelled(p, self.label, self.columns))
        folder = root.parent if root.is_file() else root
        if self.skip == "none" or not good:
            refuse(bad, len(paths), folder)
        tell_skipped(bad, len(paths), folder)
        self._read, self._told[SKIPPED] = good, reasons(bad, folder)
        if not root.is_file() and len(paths) > 1 and {*SPLITS} - split_folders(root).keys():
            held = [name_under(path, folder) for path in splits["test"] if path in good]
            self._told[HELD_OUT] = held

    def _check_width(self) -> None:
        if self.block or self.stride:
            super()._check_width()

    def _choose_width(self, files: Sequence[Labelled]) -> None:
        """Blocks as wide as the density of the training scenes makes them."""
        self.block = Width(fitting_width([file.points for file in files], self.points))
        self.stride, self._chosen = self.stride or self.block, True
        note(
            f"blocks are {self.block} m wide, which the density of the points makes fitting "
            f"(another width: --data-options block=METRES)"
        )
        super()._check_width()

    def _split(self, root: Path) -> dict[str, list[Path]]:
        if root.is_file():
            if root.suffix.lower() not in SUFFIXES:
                raise DataLayoutError(f"{root}: its ending is none of {' '.join(SUFFIXES)}")
            return {split: [root] for split in SPLITS}
        folders = split_folders(root)
        if {*SPLITS} <= folders.keys():
            tell_val(root, [folders["test"]])
            found = {split: _scene_files(folders[split]) for split in SPLITS}
            _tell_unread(root, [path for paths in found.values() for path in paths])
            return found
        files = _scene_files(root)
        _tell_unread(root, files)
        if len(files) == 1:
            return {split: files for split in SPLITS}
        order = np.random.default_rng(self.seed).permutation(len(files))
        held = min(max(1, round(self.test_fraction * len(files))), len(files) - 1)
        test = {files[k] for k in order[:held]}
        return {"train": [f for f in files if f not in test], "test": sorted(test)}

    def _name(self, root: Path) -> None:
        """Find the classes of all files, and check that there is something to tell apart."""
        codes = {int(k) for file in self._read.values() for k in np.unique(self._codes(file))}
        las = all(
            path.suffix.lower() in (".las", ".laz") and file.label == LAS_LABEL
            for path, file in self._read.items()
        )
        folder = root.parent if root.is_file() else root
        codes -= {-1}
        self._labels = label_names(folder, codes, las)
        if len(codes) < 2:
            found = ", ".join(self._labels[k] for k in codes) or "nothing"
            raise DataLayoutError(
                f"{root}: the points are labelled {found}: two classes are needed; check label= "
                "and ignore="
            )

    def _codes(self, file: Labelled) -> np.ndarray:
        """(M,) label of each point as in the file, -1 where it does not count."""
        las = file.path.suffix.lower() in (".las", ".laz") and file.label == LAS_LABEL
        ignore = ((NEVER_CLASSIFIED,) if las else ()) if self.ignore is None else self.ignore
        return np.where(np.isin(file.labels, ignore) | (file.labels < 0), -1, file.labels)

    def _scene(self, file: Labelled) -> Scene:
        codes, known = self._codes(file), np.array(list(self._labels))
        labels = np.where(codes < 0, -1, np.searchsorted(known, codes))
        names, points = self.feature_names(), file.points
        for name in names:
            if name in file.columns and not np.isfinite(file.columns[name]).all():
                raise PointCloudError(
                    f"{file.path}: column {name} has NaN or infinite values: leave it out with "
                    "features=NAMES, or repair it"
                )
        extent = np.maximum(file.extent, 1e-6).astype(np.float32)
        traits = self._traits(file, names)

        def features(index: np.ndarray) -> np.ndarray:
            within = (points[index] / extent).clip(0, 1)  # strays are outside
            place = dict(zip(PLACE, np.moveaxis(within, -1, 0), strict=True))
            every = [
                place[n] if n in PLACE else traits[n][index] if n in traits
                else file.columns[n][index] for n in names
            ]  # fmt: skip
            return np.stack(every, axis=-1).astype(np.float32)

        return Scene(file.path.name, points, labels.astype(np.int32), features)

    def _traits(self, file: Labelled, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Those of ``names`` that are traits, by name; made once for each file."""
        wanted = [name for name in names if name in POINT_TRAITS]
        if not wanted:
            return {}
        if file.path not in self._made:
            self._made[file.path] = point_traits(file.points, self.block)
        made = self._made[file.path]
        return {name: made[:, POINT_TRAITS.index(name)] for name in wanted}

    def _tiles(self, file: Labelled, split: str) -> tuple[np.ndarray, str]:
        """The points of one scene that belong to a split: those of some square tiles."""
        size, xy = TILES * self.block, file.points[:, :2]
        cell = np.floor(xy / size).astype(np.int64)
        _, tile = np.unique(cell, axis=0, return_inverse=True)
        tile = tile.ravel()
        count = int(tile.max()) + 1
        if count < 2:
            raise DataLayoutError(
                f"{file.path}: one scene, smaller than two tiles of {size:g} m ({TILES} blocks): "
                "give a test scene as well, or a smaller block"
            )
        order = np.random.default_rng(self.seed).permutation(count)
        held = min(max(1, round(self.test_fraction * count)), count - 1)
        test = np.isin(tile, order[:held])
        return np.flatnonzero(test if split == "test" else ~test), split


def _part(scene: Scene, keep: np.ndarray, split: str) -> Scene:
    """Some points of a scene."""
    name = f"{scene.name}:{split}"
    return Scene(name, scene.points[keep], scene.labels[keep], lambda k: scene.features(keep[k]))


def _tell_unread(root: Path, scenes: Sequence[Path]) -> None:
    """Say which files are not read; the names of the classes are no scene, but read."""
    named = [root / name for name in FILES if (root / name).is_file()]
    tell_unread(root, [*scenes, *named])


def _scene_files(folder: Path) -> list[Path]:
    """The files of scenes in a folder, sorted."""
    try:
        found = [p for p in readable_files(folder, suffixes=SUFFIXES) if p.name not in FILES]
    except DataLayoutError:
        found = []
    if not found:
        deep = [path for path in all_files(folder) if path.suffix.lower() in SUFFIXES]
        where = f"found {deep[0]}, " if deep else ""
        raise DataLayoutError(
            f"{folder}: holds no scene ({' '.join(SUFFIXES)}); {where}expected ROOT/FILE, or "
            "ROOT/train/FILE and ROOT/test/FILE"
        )
    return found
