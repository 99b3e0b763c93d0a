"""PLY, text or binary, a cloud or a mesh, through plyfile."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .cloud import Cloud, cloud_from_columns, columns_from_cloud, structured
from .mesh import triangulate

FACE_LISTS = ("vertex_indices", "vertex_index")


def read_ply(path: Path) -> Cloud:
    """Read the ``vertex`` element, and the ``face`` element's polygons cut into triangles."""
    ply = _parse(path)
    if "vertex" not in ply:
        found = ", ".join(element.name for element in ply.elements) or "nothing"
        raise FileFormatError(f"has no 'vertex' element; it holds: {found}")
    vertices = ply["vertex"].data
    columns = {n: np.array(vertices[n]) for n in vertices.dtype.names if vertices[n].ndim == 1}
    columns = {n: values for n, values in columns.items() if values.dtype.kind in "fiu"}
    return cloud_from_columns(columns, _faces(ply))


def write_ply(stream: BinaryIO, cloud: Cloud, ascii: bool) -> None:
    """Write binary little-endian, or text; coordinates keep their precision."""
    from plyfile import PlyData, PlyElement

    elements = [PlyElement.describe(structured(columns_from_cloud(cloud)), "vertex")]
    if cloud.faces is not None:
        table = np.empty(len(cloud.faces), dtype=[(FACE_LISTS[0], "<i4", (3,))])
        table[FACE_LISTS[0]] = cloud.faces
        elements.append(PlyElement.describe(table, "face"))
    PlyData(elements, text=ascii, byte_order="<").write(stream)


def _parse(path: Path):  # noqa: ANN202 - plyfile is imported inside
    """Parse the file; binary faces that are all triangles are mapped at once, not one by one."""
    from plyfile import PlyData, PlyElementParseError

    triangles = {"face": dict.fromkeys(FACE_LISTS, 3)}
    try:
        return PlyData.read(str(path), known_list_len=triangles)
    except PlyElementParseError:
        return PlyData.read(str(path))
    except UnicodeDecodeError:  # plyfile wants ASCII even of comments
        head, end, body = path.read_bytes().partition(b"end_header")
        head = head.decode("ascii", "replace").encode("ascii", "replace")
        return PlyData.read(BytesIO(head + end + body))


def _faces(ply) -> np.ndarray | None:  # noqa: ANN001
    if "face" not in ply or not ply["face"].count:
        return None
    element = ply["face"]
    names = [p.name for p in element.properties if p.name in FACE_LISTS]
    if not names:
        return None
    polygons = element.data[names[0]]
    if polygons.dtype != object:
        return np.array(polygons, dtype=np.int64)
    counts = np.fromiter(map(len, polygons), dtype=np.int64, count=len(polygons))
    return triangulate(np.concatenate(polygons).astype(np.int64), counts)
