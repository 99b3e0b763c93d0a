"""Whole small files of every format, ways to damage them, and files made to harm.

The whole files are written byte by byte by ``tests/data/folder/make.py`` and here, not by
pointadapt. Each way to damage is a function of bytes and a random generator.
"""

from __future__ import annotations

import io
import json
import re
import runpy
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

MAKE = Path(__file__).parents[1] / "tests/data/folder/make.py"
HUGE = (2**31 - 1, 2**31, 2**32 - 1, 10**9, 3 * 10**8)
WORDS = (
    b"nan", b"-nan(ind)", b"1.#QNAN", b"1e400", b"-1", b"9" * 20, b"\xc2\xb2", b"", b"0",
    b"1.5D+03", b"1,5", b"x", b'"', b"\x1a", b"\xff\xfe", b"4294967295",
)  # fmt: skip
Damage = Callable[[bytes, np.random.Generator], bytes]


def whole_files() -> dict[str, tuple[str, bytes]]:
    """Name -> (ending, bytes) of whole files: clouds of 64 points, and boxes."""
    made = SimpleNamespace(**runpy.run_path(str(MAKE)))
    ball, corners = made.ball(), made.CORNERS
    found = {name: (end, write(ball)) for name, (end, write) in made.CLOUDS.items()}
    found |= {name: (end, write(corners)) for name, (end, write) in made.MESHES.items()}
    found |= {
        "glb-mesh": (".glb", glb(corners, made.TRIANGLES)), "glb-points": (".glb", glb(ball)),
        "npy-records": (".npy", records(ball)),
        "npz-pointcept": (".npz", archive(coord=ball, color=ball, segment=np.arange(64) % 5)),
        "csv-labels": (".csv", labelled(ball)), "pcd-organised": (".pcd", organised(ball)),
        "ply-lists": (".ply", mixed_ply(ball)),
    }  # fmt: skip
    return found


def glb(points: np.ndarray, faces: np.ndarray | None = None) -> bytes:
    """A binary glTF of one mesh, or of points."""
    binary = points.astype("<f4").tobytes()
    primitive: dict[str, object] = {"attributes": {"POSITION": 0}, "mode": 0}
    views = [{"buffer": 0, "byteOffset": 0, "byteLength": len(binary)}]
    arrays = [{"bufferView": 0, "componentType": 5126, "count": len(points), "type": "VEC3"}]
    if faces is not None:
        index = faces.astype("<u2").tobytes()
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(index)})
        arrays.append(
            {"bufferView": 1, "componentType": 5123, "count": faces.size, "type": "SCALAR"}
        )
        primitive |= {"indices": 1, "mode": 4}
        binary += index
    return gltf(
        {
            "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}], "meshes": [{"primitives": [primitive]}],
            "accessors": arrays, "bufferViews": views, "buffers": [{"byteLength": len(binary)}],
        },
        binary,
    )  # fmt: skip


def gltf(described: dict[str, object] | bytes, binary: bytes = b"") -> bytes:
    """The container around a description and its bytes."""
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    chunks = b""
    for kind, data, fill in ((b"JSON", text, b" "), (b"BIN\0", binary, b"\0")):
        padded = data.ljust(-(-len(data) // 4) * 4, fill)
        chunks += struct.pack("<I4s", len(padded), kind) + padded
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def records(points: np.ndarray) -> bytes:
    table = np.zeros(len(points), [("xyz", "<f4", 3), ("rgb", "u1", 3), ("label", "<i4")])
    table["xyz"], table["label"] = points, np.arange(len(points)) % 4
    return saved(table)


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def archive(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def labelled(points: np.ndarray) -> bytes:
    rows = "".join(f"{x},{y},{z},200,{k % 3}\n" for k, (x, y, z) in enumerate(points.tolist()))
    return f"X,Y,Z,intensity,Label\n{rows}".encode()


def organised(points: np.ndarray) -> bytes:
    head = (
        "VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 8\n"
        "HEIGHT 8\nPOINTS 64\nDATA binary\n"
    )
    table = np.zeros((64, 4), "<f4")
    table[:, :3] = np.where(np.arange(64)[:, None] % 7, points, np.nan)
    return head.encode() + table.tobytes()


def mixed_ply(points: np.ndarray) -> bytes:
    """Triangles and quads, so that faces are read one by one."""
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\nproperty float x\n"
        "property float y\nproperty float z\nelement face 20\n"
        "property list uint int vertex_indices\nend_header\n"
    )
    faces = b"".join(struct.pack(f"<I{n}i", n, *range(n)) for n in (3, 4) * 10)
    return head.encode() + points.astype("<f4").tobytes() + faces


# ---- ways to damage


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bytes anywhere, or near the start, where headers are."""
    out = bytearray(data)
    top = len(out) if rng.random() < 0.5 else min(400, len(out))
    for at in rng.integers(0, top, rng.integers(1, 9)):
        out[at] = rng.integers(256)
    return bytes(out)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(1, len(data))]


def drop(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    return data[:start] + data[start + int(rng.integers(1, 40)) :]


def insert(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(0, len(data) + 1))
    return data[:at] + rng.bytes(int(rng.integers(1, 40))) + data[at:]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece of the file again, or the whole of it."""
    start, stop = sorted(rng.integers(0, len(data) + 1, 2))
    return data + data if rng.random() < 0.2 else data[:stop] + data[start:stop] + data[stop:]


def blank(data: bytes, rng: np.random.Generator) -> bytes:
    start, size = int(rng.integers(0, len(data))), int(rng.integers(1, 200))
    return data[:start] + bytes(min(size, len(data) - start)) + data[start + size :]


def number(data: bytes, rng: np.random.Generator) -> bytes:
    """A number in the text becomes huge, negative, or no number."""
    places = list(re.finditer(rb"(?<![\w.])\d+(?:\.\d+)?", data[:4000]))
    if not places:
        return flip(data, rng)
    at = places[int(rng.integers(len(places)))]
    word = WORDS[int(rng.integers(len(WORDS)))] if rng.random() < 0.5 else b"%d" % rng.choice(HUGE)
    return data[: at.start()] + word + data[at.end() :]


def count(data: bytes, rng: np.random.Generator) -> bytes:
    """Four bytes, most often of the header, become a huge number."""
    at = int(rng.integers(0, max(1, min(len(data) - 4, 400 if rng.random() < 0.7 else 10**9))))
    return data[:at] + struct.pack("<I", int(rng.choice(HUGE))) + data[at + 4 :]


def line(data: bytes, rng: np.random.Generator) -> bytes:
    """A line moves, is lost, or is there twice."""
    lines = data.split(b"\n")
    at = int(rng.integers(len(lines)))
    piece = lines.pop(at)
    for _ in range(int(rng.integers(0, 3))):
        lines.insert(int(rng.integers(len(lines) + 1)), piece)
    return b"\n".join(lines)


WAYS: dict[str, Damage] = {
    way.__name__: way for way in (flip, cut, drop, insert, repeat, blank, number, count, line)
}


# ---- files made to harm


def harmful() -> Iterator[tuple[str, str, bytes]]:
    """(what, ending, bytes) of small files that promise much, nest deeply, or go in circles."""
    yield "npz of zeros, 1.5 GB", ".npz", _bomb(1_500_000_000)
    yield "npz whose header promises 12 TB", ".npz", _zipped(_npy_head((10**12, 3)))
    yield "npz of a nested zip", ".npz", _zipped(archive(a=np.zeros(3)))
    yield "npy that promises 24 TB", ".npy", _npy_head((10**12, 3))
    yield "npy of minus one row", ".npy", _npy_head((-1, 3))
    yield "npy with a header of brackets", ".npy", _npy_raw(b"(" * 9000)
    yield "npy of a type of 2 GB", ".npy", _npy_raw(
        b"{'descr': [('x', '<f4', (500000000,))], 'fortran_order': False, 'shape': (9,), }"
    )  # fmt: skip
    for kind in ("ascii", "binary_little_endian"):
        yield f"ply, {kind}, of 3e8 vertices", ".ply", _ply(kind, 3 * 10**8, "float x", b"0 0 0\n")
    yield "ply with a list of 3e8", ".ply", _ply_list(struct.pack("<I", 3 * 10**8))
    yield "ply with a list of -1", ".ply", _ply_list(struct.pack("<i", -1), "int")
    yield "ply of 1e15 faces of nothing", ".ply", _ply_list(b"", count=10**15)
    yield "ply without end", ".ply", b"ply\nformat ascii 1.0\n" + b"comment x\n" * 200_000
    for data in ("ascii", "binary", "binary_compressed"):
        yield f"pcd, {data}, of 1e12 points", ".pcd", _pcd(data, 10**12)
    yield "pcd of fields of 2e9 numbers", ".pcd", _pcd("binary", 1, count=2 * 10**9)
    yield "pcd that unpacks to 4 GB", ".pcd", _pcd("binary_compressed", 3 * 10**8) + struct.pack(
        "<II", 12, 3_600_000_000
    ) + b"\xe0\xff\x00" * 4  # fmt: skip
    yield "stl of 4e9 triangles", ".stl", bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50)
    yield "off of 1e9 vertices", ".off", b"OFF\n1000000000 5 0\n0 0 0\n"
    yield "off with a face of 1e9", ".off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n1000000000 0 1 2\n"
    yield "obj with a vertex of 100 digits", ".obj", b"v 0 0 0\nv 1 0 0\nf 1 2 " + b"9" * 100
    yield "text that counts 1e18 points", ".pts", b"1" + b"0" * 18 + b"\n1 2 3\n4 5 6\n"
    yield "one line of 5 MB", ".xyz", b"1 " * 2_500_000
    yield "5 MB without a line", ".txt", b"z" * 5_000_000
    yield "text of 30,000 columns", ".csv", (b"1," * 30_000 + b"1\n") * 20
    yield "glb of 4e9 vertices", ".glb", _glb_count(4 * 10**9)
    yield "glb of zeros without data", ".glb", _glb_count(10**9, view=False)
    yield "glb nested 1e5 deep", ".glb", gltf(b"[" * 100_000 + b"]" * 100_000)
    yield "glb with a circle of nodes", ".glb", _glb_nodes([{"children": [1]}, {"children": [0]}])
    yield "glb with 20,000 copies of a mesh", ".glb", _copies(20_000)
    yield "las of 4e9 points", ".las", _las(2**32 - 1)
    yield "laz of 4e9 points", ".laz", _las(2**32 - 1, packed=True)
    yield "las with records of 0 bytes", ".las", _las(1000, length=0)
    yield "a picture", ".ply", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
    yield "an ESRI grid", ".asc", b"ncols 3\nnrows 2\ncellsize 1\n1 2 3\n4 5 6\n"


def _bomb(size: int) -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("points.npy", "w", force_zip64=True) as member,
    ):
        member.write(_npy_head((size // 12, 3), "<f4"))
        for _ in range(size // (1 << 22)):
            member.write(bytes(1 << 22))
    return stream.getvalue()


def _zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("points.npy", content)
    return stream.getvalue()


def _npy_head(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    return _npy_raw(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode())


def _npy_raw(text: bytes) -> bytes:
    text = text.ljust(-(-(len(text) + 11) // 64) * 64 - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _ply(kind: str, vertices: int, first: str, body: bytes) -> bytes:
    head = (
        f"ply\nformat {kind} 1.0\nelement vertex {vertices}\nproperty {first}\nproperty float y\n"
    )
    return f"{head}property float z\nend_header\n".encode() + body


def _ply_list(body: bytes, kind: str = "uint", count: int = 1) -> bytes:
    head = (
        "ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\n"
        f"property float y\nproperty float z\nelement face {count}\n"
        f"property list {kind} int vertex_indices\nend_header\n"
    )
    return head.encode() + np.eye(3, dtype="<f4").tobytes() + body


def _pcd(data: str, points: int, count: int = 1) -> bytes:
    return (
        f"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 {count}\nWIDTH {points}\n"
        f"HEIGHT 1\nPOINTS {points}\nDATA {data}\n"
    ).encode()


def _glb_count(vertices: int, view: bool = True) -> bytes:
    array = {"componentType": 5126, "count": vertices, "type": "VEC3"}
    described = json.loads(glb(np.eye(3))[20:].partition(b"\0")[0].rpartition(b"}")[0] + b"}")
    described["accessors"] = [array | ({"bufferView": 0} if view else {})]
    return gltf(described, bytes(36))


def _glb_nodes(nodes: list[dict[str, object]]) -> bytes:
    return gltf({"asset": {"version": "2.0"}, "scenes": [{"nodes": [0]}], "nodes": nodes})


def _copies(number: int) -> bytes:
    ball = np.random.default_rng(0).normal(size=(20_000, 3))
    whole = glb(ball)
    (size,) = struct.unpack_from("<I", whole, 12)
    described, binary = json.loads(whole[20 : 20 + size]), whole[28 + size :]
    described["nodes"] = [{"mesh": 0}] * number
    described["scenes"] = [{"nodes": list(range(number))}]
    return gltf(described, binary)


def _las(points: int, length: int = 20, packed: bool = False) -> bytes:
    head = bytearray(227)
    head[:4], head[24:26] = b"LASF", b"\x01\x02"
    struct.pack_into("<HIIBHI", head, 94, 227, 227, 0, 128 if packed else 0, length, points)
    return bytes(head) + struct.pack("<q", 235) + struct.pack("<II", 0, 0) + bytes(60)
