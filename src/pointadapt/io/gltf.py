"""The parts of a binary glTF 2.0 file: its description, and arrays of numbers in its bytes."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import FileFormatError
from .limits import check_present

JSON, BINARY = b"JSON", b"BIN\0"
KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
# Extensions of pictures, materials, light and descriptions change no point.
HARMLESS = (
    "KHR_materials_", "KHR_texture_", "EXT_texture_", "MSFT_texture_", "KHR_lights_",
    "EXT_lights_", "KHR_xmp", "KHR_animation_pointer", "KHR_mesh_quantization",
)  # fmt: skip
PACKED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression",
          "EXT_mesh_gpu_instancing")  # fmt: skip


@dataclass(frozen=True)
class Document:
    """What a file holds.

    Attributes:
        json: the description.
        buffers: bytes by number; None where they lie elsewhere.
        size: bytes of the file.

    """

    json: dict[str, Any]
    buffers: tuple[bytes | None, ...]
    size: int

    @classmethod
    def read(cls, path: Path) -> Document:
        """From a .glb file.

        Raises:
            FileFormatError: it is damaged, cut short, or needs an extension that is not read.

        """
        data = path.read_bytes()
        described, binary = _chunks(data)
        for name in described.get("extensionsRequired", ()):
            if not str(name).startswith(HARMLESS):
                raise FileFormatError(_needs(str(name)))
        buffers = [_buffer(k, each, binary) for k, each in enumerate(described.get("buffers", ()))]
        return cls(described, tuple(buffers), len(data))

    def items(self, kind: str) -> list[dict[str, Any]]:
        """All that the description has of one kind, such as "nodes"."""
        return self.json.get(kind, [])

    def item(self, kind: str, number: int) -> dict[str, Any]:
        """One of them.

        Raises:
            FileFormatError: there is none of that number.

        """
        items = self.items(kind)
        if not isinstance(number, int) or not 0 <= number < len(items):
            raise FileFormatError(f"has no {kind} number {number!r}, which it refers to")
        return items[number]

    def array(self, number: int) -> np.ndarray:
        """The numbers (count, width) of an accessor: whole ones too, as float64 if normalised.

        Raises:
            FileFormatError: it is damaged, or longer than the bytes that it is in.

        """
        accessor = self.item("accessors", number)
        count, kind = int(accessor["count"]), KINDS[accessor["componentType"]]
        width = WIDTHS[accessor["type"]]
        if "bufferView" in accessor:
            start = int(accessor.get("byteOffset", 0))
            values = self._strided(accessor["bufferView"], start, count, width, kind)
        else:  # zeros, but for those that are listed
            check_present(self.size, count, "numbers of an array without data")
            values = np.zeros((count, width), kind)
        if "sparse" in accessor:
            values = self._with_sparse(values, accessor["sparse"], width, kind)
        return _real(values) if accessor.get("normalized") else values

    def check_plain(self, owner: dict[str, Any]) -> None:
        """Refuse what is described by an extension that is not read.

        Raises:
            FileFormatError: it is.

        """
        for name in owner.get("extensions", {}):
            if name in PACKED:
                raise FileFormatError(_needs(name))

    def _with_sparse(
        self, values: np.ndarray, sparse: dict[str, Any], width: int, kind: str
    ) -> np.ndarray:
        count, at, new = int(sparse["count"]), sparse["indices"], sparse["values"]
        places = self._strided(
            at["bufferView"], int(at.get("byteOffset", 0)), count, 1, KINDS[at["componentType"]]
        )[:, 0].astype(np.int64)
        if len(places) and places.max() >= len(values):
            raise FileFormatError(f"has a sparse array with place {places.max()} of {len(values)}")
        values = values.copy()
        values[places] = self._strided(
            new["bufferView"], int(new.get("byteOffset", 0)), count, width, kind
        )
        return values

    def _strided(self, number: int, start: int, count: int, width: int, kind: str) -> np.ndarray:
        view, dtype = self.item("bufferViews", number), np.dtype(kind)
        data = self._view(view)
        step = int(view.get("byteStride", 0)) or width * dtype.itemsize
        end = start + (step * (count - 1) + width * dtype.itemsize if count else 0)
        if min(start, count) < 0 or step < dtype.itemsize:
            raise FileFormatError("has a damaged array: a place or length below zero")
        check_present(len(data), end, "bytes of an array")
        return np.ndarray((count, width), dtype, data, start, (step, dtype.itemsize))

    def _view(self, view: dict[str, Any]) -> bytes:
        number = view["buffer"]
        self.item("buffers", number)
        data = self.buffers[number]
        if data is None:
            self.check_plain(view)
            raise FileFormatError(
                f"keeps its data in {self.items('buffers')[number].get('uri', 'another file')!r}: "
                "save it as one .glb"
            )
        start, length = int(view.get("byteOffset", 0)), int(view["byteLength"])
        if min(start, length) < 0:
            raise FileFormatError("has a damaged view of its data")
        check_present(len(data), start + length)
        return data[start : start + length]


def _needs(name: str) -> str:
    return f"needs the glTF extension {name}, which is not read: save it without, or as .ply"


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes | None]:
    """The description, and the bytes that belong to it."""
    if data[:4] != b"glTF":
        raise FileFormatError("is no GLB file")
    check_present(len(data), 20)
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise FileFormatError(f"is glTF of version {version}: save it as version 2")
    check_present(len(data), length)
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<I4s", data, at)
        check_present(length - at - 8, size)
        chunks.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    try:
        described = json.loads(chunks[JSON].decode())
    except (KeyError, ValueError, RecursionError) as error:
        raise FileFormatError("has a damaged description (JSON)") from error
    if not isinstance(described, dict):
        raise FileFormatError("has a damaged description (JSON)")
    return described, chunks.get(BINARY)


def _buffer(number: int, described: dict[str, Any], binary: bytes | None) -> bytes | None:
    uri = described.get("uri")
    if uri is None:
        return binary if number == 0 else None
    kind, comma, text = str(uri).partition(",")
    if not (kind.startswith("data:") and kind.endswith(";base64") and comma):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileFormatError("has damaged data (base64)") from error


def _real(values: np.ndarray) -> np.ndarray:
    """Normalised whole numbers as what they stand for, 0 to 1 or -1 to 1 (glTF 2.0, 3.6.2.2)."""
    if values.dtype.kind == "f":
        return values
    return np.maximum(values / np.iinfo(values.dtype).max, -1.0)
