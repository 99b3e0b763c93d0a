"""Write a small look-alike of a folder of one's own files: balls and boxes, in every format.

    python make.py FOLDER

The files are written here byte by byte (LAS by laspy), not by pointadapt: what pointadapt reads
from them is checked against an independent hand.
"""

import json
import struct
import sys
from itertools import cycle
from pathlib import Path

import numpy as np

# A box, 1 x 2 x 3, corner at the origin, as 6 outward quads.
CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)], dtype=np.float64)
QUADS = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
TRIANGLES = np.array([(q[0], q[i], q[i + 1]) for q in QUADS for i in (1, 2)])


def ball(n=64, seed=0):
    """(n, 3) float32 on the unit sphere, in steps of 1/1024 so that text holds them exactly."""
    points = np.random.default_rng(seed).normal(size=(n, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return (np.rint(points * 1024) / 1024).astype(np.float32)


# ---- clouds: name of the form -> (ending, bytes of a file with these points (n, 3) float32)


def rows(points, delimiter=" ", decimal="."):
    lines = (delimiter.join(repr(float(v)) for v in row) for row in points)
    return "\n".join(lines).replace(".", decimal) + "\n"


def text(delimiter=" ", head="", decimal="."):
    return lambda p: (head.format(n=len(p)) + rows(p, delimiter, decimal)).encode()


def ply(kind, number):
    def write(points):
        head = (
            f"ply\nformat {kind} 1.0\ncomment hand-made\nelement vertex {len(points)}\n"
            "property float x\nproperty float y\nproperty float z\nend_header\n"
        )
        body = rows(points).encode() if number is None else points.astype(number).tobytes()
        return head.encode() + body

    return write


def lzf_compress(data):
    """LZF by greedy matches of 3 to 264 bytes."""
    out, literals, seen, at = bytearray(), bytearray(), {}, 0

    def flush():
        for start in range(0, len(literals), 32):
            part = literals[start : start + 32]
            out.append(len(part) - 1)
            out.extend(part)
        literals.clear()

    while at < len(data):
        key = bytes(data[at : at + 3])
        start = seen.get(key)
        seen[key] = at
        if start is None or at - start > 8192 or len(key) < 3:
            literals.append(data[at])
            at += 1
            continue
        length = 3
        while (
            length < 264 and at + length < len(data) and data[start + length] == data[at + length]
        ):
            length += 1
        flush()
        back, short = at - start - 1, length - 2
        out += bytes([min(short, 7) << 5 | back >> 8])
        out += bytes([short - 7] if short >= 7 else []) + bytes([back & 255])
        at += length
    flush()
    return bytes(out)


def pcd(kind):
    """With a padding field of 4 bytes between the coordinates and an intensity."""

    def write(points):
        n = len(points)
        head = (
            "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z _ intensity\n"
            "SIZE 4 4 4 1 2\nTYPE F F F U U\nCOUNT 1 1 1 4 1\n"
            f"WIDTH {n}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA {kind}\n"
        )
        if kind == "ascii":
            lines = (f"{x!r} {y!r} {z!r} 0 0 0 0 7" for x, y, z in points.tolist())
            return (head + "\n".join(lines) + "\n").encode()
        if kind == "binary":
            body = b"".join(struct.pack("<3f4xH", *row, 7) for row in points)
        else:
            planes = points.T.astype("<f4").tobytes() + bytes(4 * n) + struct.pack("<H", 7) * n
            packed = lzf_compress(planes)
            body = struct.pack("<II", len(packed), len(planes)) + packed
        return head.encode() + body

    return write


def npy(points):
    import io

    stream = io.BytesIO()
    np.save(stream, points)
    return stream.getvalue()


def npz(points):
    import io

    stream = io.BytesIO()
    np.savez(stream, points=points, other=np.arange(3))
    return stream.getvalue()


def las(compress):
    def write(points):
        import io

        import laspy

        header = laspy.LasHeader(version="1.2", point_format=3)
        header.scales, header.offsets = np.full(3, 2.0**-10), np.zeros(3)
        file = laspy.LasData(header)
        file.x, file.y, file.z = points.T.astype(np.float64)
        stream = io.BytesIO()
        file.write(stream, do_compress=compress)
        return stream.getvalue()

    return write


CLOUDS = {
    "npy": (".npy", npy),
    "npz": (".npz", npz),
    "txt": (".txt", text()),
    "txt-tabs": (".txt", text("\t")),
    "txt-decimal-comma": (".txt", text(" ", decimal=",")),
    "xyz-comment": (".xyz", text("  ", "# one\n// two\n\n")),
    "asc": (".asc", text()),
    "pts-count": (".pts", text(" ", "{n}\n")),
    "csv": (".csv", text(",")),
    "csv-spaces": (".csv", text(", ")),
    "csv-header": (".csv", text(",", "x,y,z\n")),
    "csv-semicolon": (".csv", text(";", '"X";"Y";"Z"\n', decimal=",")),
    "ply-ascii": (".ply", ply("ascii", None)),
    "ply-little": (".ply", ply("binary_little_endian", "<f4")),
    "ply-big": (".ply", ply("binary_big_endian", ">f4")),
    "pcd-ascii": (".pcd", pcd("ascii")),
    "pcd-binary": (".pcd", pcd("binary")),
    "pcd-compressed": (".pcd", pcd("binary_compressed")),
    "off-cloud": (".off", lambda p: f"OFF\n{len(p)} 0 0\n{rows(p)}".encode()),
    "obj-cloud": (".obj", lambda p: ("v " + rows(p).strip().replace("\n", "\nv ") + "\n").encode()),
    "las": (".las", las(False)),
    "laz": (".laz", las(True)),
}


# ---- meshes: name of the form -> (ending, bytes of a file with the box, of this height)


def off(first="OFF\n", quads=True, faces=True):
    def write(points):
        polygons = [] if not faces else QUADS if quads else TRIANGLES.tolist()
        lines = (" ".join(map(str, (len(q), *q))) for q in polygons)
        head = f"{first}{len(points)} {len(polygons)} 0\n"
        return (head + rows(points) + "\n".join(lines) + "\n").encode()

    return write


def ply_mesh(kind, order, triangles):
    def write(points):
        polygons = TRIANGLES.tolist() if triangles else QUADS
        head = (
            f"ply\nformat {kind} 1.0\nelement vertex {len(points)}\n"
            "property double x\nproperty double y\nproperty double z\n"
            f"element face {len(polygons)}\nproperty list uchar int vertex_index\nend_header\n"
        )
        if not order:
            faces = "".join(" ".join(map(str, (len(q), *q))) + "\n" for q in polygons)
            return (head + rows(points) + faces).encode()
        body = points.astype(f"{order}f8").tobytes()
        for q in polygons:
            body += struct.pack(f"{order}B{len(q)}i", len(q), *q)
        return head.encode() + body

    return write


def obj(points):
    vertices = "".join(f"v {x} {y} {z}\n" for x, y, z in points)
    faces = "".join("f " + " ".join(f"{k + 1}/1/1" for k in q) + "\n" for q in QUADS[:3])
    back = "".join("f " + " ".join(str(k - len(points)) for k in q) + "\n" for q in QUADS[3:])
    head = f"# box\nmtllib none.mtl\no box\n{vertices}vt 0 0\nvn 0 0 1\n"
    return f"{head}{faces}g rest\n{back}".encode()


def stl_text(points):
    facets = "".join(
        "facet normal 0 0 0\n outer loop\n"
        + "".join(f"  vertex {x} {y} {z}\n" for x, y, z in points[face])
        + " endloop\nendfacet\n"
        for face in TRIANGLES
    )
    return f"solid box\n{facets}endsolid box\n".encode()


def stl_binary(points, title=b"solid is how some binary files begin, too"):
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *points[f].ravel(), 0) for f in TRIANGLES)
    return title.ljust(80) + struct.pack("<I", len(TRIANGLES)) + body


MESHES = {
    "off": (".off", off()),
    "off-modelnet": (".off", off("OFF")),  # "OFF8 6 0", as in many files of ModelNet40
    "off-comments": (".off", off("# a box\nOFF # this\n# and that\n\n", quads=False)),
    "ply-mesh-ascii": (".ply", ply_mesh("ascii", "", False)),
    "ply-mesh-quads": (".ply", ply_mesh("binary_little_endian", "<", False)),
    "ply-mesh-triangles": (".ply", ply_mesh("binary_big_endian", ">", True)),
    "obj": (".obj", obj),
    "stl-text": (".stl", stl_text),
    "stl-binary": (".stl", stl_binary),
}


def write(folder, form, name="sample", points=None):
    """Write one file; ``points`` are the ball's for a cloud, the box's corners for a mesh."""
    suffix, encode = {**CLOUDS, **MESHES}[form]
    if points is None:
        points = ball() if form in CLOUDS else CORNERS
    path = Path(folder) / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(points))
    return path


def make(folder, per_class=10):
    """Write classes ``ball`` (clouds) and ``box`` (meshes), and what is to be ignored.

    Returns:
        Options of the data set ``folder``.
    """
    folder = Path(folder)
    for label, forms in (("ball", CLOUDS), ("box", MESHES)):
        for k, form in zip(range(per_class), cycle(forms)):
            points = ball(64, k) if label == "ball" else CORNERS * (1, 1, 1 + k / 8)
            write(folder / label, form, f"{label}_{k:02}", points)
        (folder / label / ".hidden.ply").write_text("not a cloud")
        (folder / label / "notes.md").write_text("not a cloud")
    (folder / "__MACOSX").mkdir(exist_ok=True)
    (folder / "README.txt").write_text("files outside of class folders are not read")
    return {"root": folder, "points": 64}


if __name__ == "__main__":
    print(json.dumps(make(*sys.argv[1:2]), default=str))
