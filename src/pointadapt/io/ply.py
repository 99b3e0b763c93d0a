"""PLY, text or binary, a cloud or a mesh. Read here, written through plyfile.

plyfile takes gigabytes for a list that promises them, and refuses blank lines and tabs in headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .cloud import Cloud, cloud_from_columns, columns_from_cloud, structured
from .limits import check_present
from .mesh import triangulate
from .ply_header import Element, Header, read_header
from .ply_rows import BinaryRows, Rows, TextRows

FACE_LISTS = ("vertex_indices", "vertex_index")


def read_ply(path: Path) -> Cloud:
    """Read the ``vertex`` element, and the ``face`` element's polygons cut into triangles.

    Raises:
        FileFormatError: the file is damaged, or cut short.

    """
    header, data = read_elements(path, ("vertex", "face"))
    _, vertices = header.vertices()
    columns = vertex_columns(vertices, data["vertex"])
    face = next((e for e in header.elements if e.name == "face"), None)
    return cloud_from_columns(columns, None if face is None else _faces(face, data["face"]))


def vertex_columns(vertices: Element, rows: Rows) -> list[tuple[str, np.ndarray]]:
    """The columns of the vertices with their names, which may be there twice."""
    return [(vertices.properties[k].name, values) for k, values in rows.numbers.items()]


def read_elements(path: Path, wanted: Sequence[str]) -> tuple[Header, dict[str, Rows]]:
    """The header, and the data of the elements called so, the first of each name.

    Raises:
        FileFormatError: the file is damaged, or cut short.

    """
    with path.open("rb") as stream:
        header = read_header(stream)
        body = stream.read()
    header.vertices()
    _check_counts(header, len(body))
    last = max(k for k, e in enumerate(header.elements) if e.name in wanted)
    rows = BinaryRows(header.order, body) if header.order else TextRows(body)
    found: dict[str, Rows] = {}
    for element in header.elements[: last + 1]:
        found.setdefault(element.name, rows.read(element))
    return header, found


def write_ply(stream: BinaryIO, cloud: Cloud, ascii: bool) -> None:
    """Write binary little-endian, or text; coordinates keep their precision."""
    from plyfile import PlyData, PlyElement

    elements = [PlyElement.describe(structured(columns_from_cloud(cloud)), "vertex")]
    if cloud.faces is not None:
        table = np.empty(len(cloud.faces), dtype=[(FACE_LISTS[0], "<i4", (3,))])
        table[FACE_LISTS[0]] = cloud.faces
        elements.append(PlyElement.describe(table, "face"))
    PlyData(elements, text=ascii, byte_order="<").write(stream)


def _check_counts(header: Header, size: int) -> None:
    """Compare what the header promises with the bytes that follow, before anything is made."""
    least = [e.least() if header.order else 2 * len(e.properties) for e in header.elements]
    promised = sum(
        element.count * max(one, 1)
        for element, one in zip(header.elements, least, strict=True)
        if element.properties
    )
    check_present(size + (0 if header.order else 1), promised)  # the last line may lack its end


def _faces(element: Element, rows: Rows) -> np.ndarray | None:
    names = [p.name for p in element.properties]
    place = next((names.index(name) for name in FACE_LISTS if name in names), None)
    if place is None or place not in rows.lists:
        return None
    items, counts = rows.lists[place]
    return triangulate(items.astype(np.int64), counts)
