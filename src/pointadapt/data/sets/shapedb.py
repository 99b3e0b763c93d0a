"""ShapeDB: 2,470 meshes of 69 classes from a course's teaching collection, for pre-training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.errors import DataLayoutError, FileFormatError
from ..base import DATASETS
from ..reading.benchmark import Benchmark
from ..reading.files import RawClouds, numbered, points_and_labels, read_npz

FILE = "shapedb_2048.npz"
NAMES = (
    "AircraftBuoyant Apartment AquaticAnimal Bed Bicycle Biplane Bird Bookset Bottle "
    "BuildingNonResidential Bus Car Cellphone Chess City ClassicPiano Computer ComputerKeyboard "
    "Cup DeskLamp DeskPhone Door Drum Fish FloorLamp Glasses Guitar Gun Hand Hat Helicopter House "
    "HumanHead Humanoid Insect Jet Knife MilitaryVehicle Monitor Monoplane Motorcycle Mug "
    "MultiSeat Musical_Instrument NonWheelChair PianoBoard PlantIndoors PlantWildNonTree Quadruped "
    "RectangleTable Rocket RoundTable Shelf Ship Sign Skyscraper Spoon Starship SubmachineGun "
    "Sword Tool Train Tree Truck TruckNonContainer Vase Violin Wheel WheelChair"
)


@DATASETS.register("shapedb")
@dataclass
class ShapeDB(Benchmark):
    """The shape database of Utrecht University's course Multimedia Retrieval, 2,048 points a shape.

    For pre-training: about 131 of its shapes are near-duplicates of others, so no split of it is a
    benchmark. ``test`` is the last cloud of each class, to look at and not to report. Shapes stand
    in no common orientation. Where a cloud has more than ``points`` points, ``sampling="auto"``
    draws them at random.

    Attributes:
        root: the folder with ``shapedb_2048.npz`` (points (n, 2048, 3), label (n,), class_names
            and, if it is there, model_id (n,)), or the one that holds that folder as ``shapedb``.
    """

    licence: ClassVar[str] = "none is stated; the shapes belong to their authors: research only"
    citation: ClassVar[str] = (
        "ShapeDatabase_INFOMR, course Multimedia Retrieval (INFOMR), Utrecht University"
    )
    url: ClassVar[str] = "https://github.com/MaxRee94/ShapeDatabase_INFOMR"
    where: ClassVar[str] = (
        f"Get the meshes at {url}, draw 2,048 points on each surface, and store them as {FILE}: "
        "points (n, 2048, 3), label (n,), class_names."
    )
    CLASSES: ClassVar[tuple[str, ...]] = tuple(NAMES.split())

    def official_counts(self) -> dict[str, int]:
        """Number of clouds of each split of the whole collection."""
        return {"train": 2401, "test": 69}

    def raw(self, split: str) -> RawClouds:
        """The clouds of ``split`` as stored."""
        root = self.found_root()
        paths = [root / FILE, root / "shapedb" / FILE]
        path = next((p for p in paths if p.is_file()), None)
        if path is None:
            raise DataLayoutError(f"{root}: no {FILE} is there. {self.where}")
        arrays = read_npz(path)
        points, labels = points_and_labels(path, arrays, "points")
        classes = tuple(map(str, arrays.get("class_names", self.CLASSES)))
        ids = tuple(map(str, arrays.get("model_id", numbered("shapedb", len(labels)))))
        if len(ids) != len(labels):
            raise FileFormatError(f"{path}: {len(ids)} of 'model_id' for {len(labels)} clouds")
        held_out = np.zeros(len(labels), dtype=bool)
        held_out[[int(np.flatnonzero(labels == k)[-1]) for k in np.unique(labels)]] = True
        chosen = np.flatnonzero(held_out if split == "test" else ~held_out)
        return RawClouds(
            path, labels[chosen], classes, tuple(ids[i] for i in chosen),
            points[chosen].__getitem__, "random",
        )  # fmt: skip
