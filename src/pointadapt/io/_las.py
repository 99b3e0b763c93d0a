"""LAS and LAZ, the formats of airborne and terrestrial laser scans, through laspy."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import FileFormatError
from ._cloud import Cloud, cloud_from_columns, need

FINEST, STEPS = -9, 2**31 - 2  # coordinates are 32-bit steps of a power of ten


def read_las(path: Path) -> Cloud:
    """Read coordinates in float64, classification, and colours where the point format has them.

    Raises:
        FileFormatError: laspy is missing, or fewer points than the header promises.

    """
    laspy = need("laspy", "las")
    with path.open("rb") as stream:
        if stream.read(4) != b"LASF":
            raise FileFormatError("is no LAS file")
    if path.suffix.lower() == ".laz":
        need("lazrs", "las")
    las = laspy.read(path)
    if len(las.points) != las.header.point_count:
        raise FileFormatError(f"is cut short: {len(las.points)} of {las.header.point_count} points")
    present = {"red", "green", "blue", "classification"} & set(las.point_format.dimension_names)
    columns = {name: np.asarray(las[name]) for name in present}
    return cloud_from_columns({**columns, **dict(zip("xyz", np.array(las.xyz).T, strict=True))})


def write_las(stream: BinaryIO, cloud: Cloud, _ascii: bool, *, compress: bool = False) -> None:
    """Write LAS 1.4, rounded to the finest power of ten that the extent allows.

    That is a billionth of the extent or finer: 1e-7 for a tile of 100 m.
    """
    laspy = need("laspy", "las")
    header = laspy.LasHeader(version="1.4", point_format=6)
    points = cloud.points.astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    header.offsets = np.floor(low)
    extent = max(float((high - header.offsets).max()), 1e-9)
    exponent = max(FINEST, int(np.ceil(np.log10(extent / STEPS))))
    header.scales = np.full(3, 10.0**exponent)
    las = laspy.LasData(header)
    las.x, las.y, las.z = points.T
    if cloud.labels is not None:
        las.classification = cloud.labels.astype(np.uint8)
    las.write(stream, do_compress=compress)
