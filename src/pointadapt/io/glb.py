"""GLB, the binary form of glTF, by a reader of our own.

trimesh drops points, leaves normalised whole numbers as they are, and gives zeros for compressed
meshes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import FileFormatError
from ..core.notes import note
from .cloud import Cloud, unit_colors
from .gltf import Document
from .limits import check_expansion

POINTS, TRIANGLES, STRIP, FAN = 0, 4, 5, 6  # modes of primitives; 1 to 3 are lines
LINES = (1, 2, 3)


@dataclass(frozen=True)
class _Part:
    """What a primitive of a mesh gives: vertices, triangles if any, and colours of points."""

    points: np.ndarray
    faces: np.ndarray | None
    colors: np.ndarray | None


def read_glb(path: Path) -> Cloud:
    """Read all meshes and points of the scene, each where the scene puts it (y is up in glTF).

    Raises:
        FileFormatError: it is damaged, has no mesh, or needs an extension that is not read.

    """
    document = Document.read(path)
    placed = [
        (primitive, place)
        for node, place in _nodes(document)
        for primitive in _primitives(document, node)
    ]
    _check_size(document, [primitive for primitive, _ in placed])
    parts = [_part(document, primitive, place) for primitive, place in placed]
    if not parts:
        raise FileFormatError("has no mesh and no points in its scene")
    starts = np.cumsum([0, *(len(part.points) for part in parts)])
    faces = [p.faces + s for p, s in zip(parts, starts, strict=False) if p.faces is not None]
    colors = [part.colors for part in parts if part.colors is not None]
    return Cloud(
        np.concatenate([part.points for part in parts]),
        colors=np.concatenate(colors) if len(colors) == len(parts) else None,
        faces=np.concatenate(faces) if faces else None,
    )


def _nodes(document: Document) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The nodes of the scene, and where it puts them: (4, 4) matrices."""
    nodes, scenes = document.items("nodes"), document.items("scenes")
    if scenes:
        roots = document.item("scenes", document.json.get("scene", 0)).get("nodes", [])
    else:
        children = {k for node in nodes for k in node.get("children", ())}
        roots = [k for k in range(len(nodes)) if k not in children]
    waiting, seen = [(k, np.eye(4)) for k in reversed(roots)], set()
    while waiting:
        number, parent = waiting.pop()
        node = document.item("nodes", number)
        if number in seen:
            raise FileFormatError(f"has a damaged scene: node {number} is in it twice")
        seen.add(number)
        place = parent @ _matrix(node)
        yield node, place
        waiting += [(k, place) for k in reversed(node.get("children", ()))]


def _matrix(node: dict[str, Any]) -> np.ndarray:
    """(4, 4) of a node: its matrix, or its translation, rotation and scale."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    turn = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), np.float64).reshape(3)
    matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64).reshape(3)
    return matrix


def _primitives(document: Document, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The primitives of a node's mesh that have points or faces."""
    if "mesh" not in node:
        return
    document.check_plain(node)
    if "skin" in node:
        note("moves with a skeleton: it is read in the pose that its vertices are stored in")
    for primitive in document.item("meshes", node["mesh"])["primitives"]:
        if primitive.get("mode", TRIANGLES) in LINES:
            note("has lines, which are not read")
        elif "POSITION" in primitive.get("attributes", ()):
            yield primitive


def _check_size(document: Document, primitives: list[dict[str, Any]]) -> None:
    """Compare what all copies of all meshes would take with the file's size."""
    total = 0
    for primitive in primitives:
        for number in (primitive["attributes"]["POSITION"], primitive.get("indices")):
            if number is not None:
                total += 24 * int(document.item("accessors", number)["count"])
    check_expansion(total, document.size)


def _part(document: Document, primitive: dict[str, Any], place: np.ndarray) -> _Part:
    attributes, mode = primitive["attributes"], primitive.get("mode", TRIANGLES)
    for number in (attributes["POSITION"], primitive.get("indices", attributes["POSITION"])):
        if "bufferView" not in document.item("accessors", number):
            document.check_plain(primitive)  # the data are in the extension alone
    stored = document.array(attributes["POSITION"]).astype(np.float64)
    if stored.shape[1] != 3:
        raise FileFormatError(f"has positions of {stored.shape[1]} numbers, not 3")
    points = stored @ place[:3, :3].T + place[:3, 3]
    index = np.arange(len(points))
    if "indices" in primitive:
        index = document.array(primitive["indices"])[:, 0].astype(np.int64)
        if len(index) and index.max() >= len(points):
            raise FileFormatError(
                f"has a face with vertex {index.max()}, but vertices 0 to {len(points) - 1}"
            )
    if mode != POINTS:
        return _Part(points, _triangles(index, mode), None)
    colors = document.array(attributes["COLOR_0"])[index, :3] if "COLOR_0" in attributes else None
    return _Part(points[index], None, None if colors is None else unit_colors(colors))


def _triangles(index: np.ndarray, mode: int) -> np.ndarray:
    """(F, 3) triangles that vertices in this order are; a rest that is none is left out."""
    if mode == TRIANGLES:
        return index[: len(index) // 3 * 3].reshape(-1, 3)
    if mode == STRIP:
        faces = np.stack([index[:-2], index[1:-1], index[2:]], axis=1)
        faces[1::2] = faces[1::2, [1, 0, 2]]
        return faces
    if mode == FAN:
        return np.stack([np.full_like(index[2:], index[0]), index[1:-1], index[2:]], axis=1)
    raise FileFormatError(f"has primitives of mode {mode!r}, which glTF does not know")
