"""PLY by our own parser, against plyfile, which wrote the files."""

import struct

import numpy as np
import pytest

from pointadapt.io import read_cloud, read_points

FACES = ([0, 1, 2], [2, 3, 4, 5], [1, 2, 3, 4, 5], [5, 6, 7])
FANS = [(0, 1, 2), (2, 3, 4), (2, 4, 5), (1, 2, 3), (1, 3, 4), (1, 4, 5), (5, 6, 7)]


def written(path, scan, text, order, faces=FACES, extra=False):
    from plyfile import PlyData, PlyElement

    kinds = [("x", "f8"), ("y", "f8"), ("z", "f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1"),
             ("class", "i4")]  # fmt: skip
    table = np.zeros(len(scan), kinds)
    table["x"], table["y"], table["z"] = scan.T
    table["red"], table["class"] = 255, np.arange(len(scan)) - 3
    rows = np.empty(len(faces), [("flag", "u1"), ("vertex_indices", "O")])
    rows["flag"] = 9
    rows["vertex_indices"][:] = [np.array(f, "i4") for f in faces]
    elements = [PlyElement.describe(table, "vertex"), PlyElement.describe(rows, "face")]
    if extra:
        lists = np.empty(3, [("names", "O")])
        lists["names"][:] = [np.arange(k, dtype="i4") for k in range(3)]
        elements.insert(0, PlyElement.describe(lists, "before"))
    PlyData(elements, text=text, byte_order=order).write(path)
    return path


@pytest.mark.parametrize("faces", [FACES, FACES[:1] * 5])
@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, "<"), (False, ">")])
def test_what_plyfile_writes_is_read(tmp_path, scan, text, order, extra, faces):
    path = written(tmp_path / "a.ply", scan, text, order, faces, extra)
    cloud = read_cloud(path)
    np.testing.assert_array_equal(cloud.points, scan)
    np.testing.assert_array_equal(cloud.colors[:2], [(1, 0, 0)] * 2)
    np.testing.assert_array_equal(cloud.labels, np.arange(40) - 3)
    np.testing.assert_array_equal(cloud.faces, FANS if faces is FACES else [(0, 1, 2)] * 5)


def lines(scan):
    return "".join(f"{x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in scan)


HEAD = (
    "ply\nformat ascii 1.0\ncomment made\nobj_info by hand\nelement vertex 40\nproperty float x\n"
    "property float y\nproperty float z\nend_header\n"
)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.replace("\nelement", "\n\n  \ncomment\nelement"),
        lambda h: h.replace("element ", "element\t").replace("float ", "float\t "),
        lambda h: h.replace("\n", "\r\n"),
        lambda h: h.replace("\n", "\r"),
        lambda h: h.replace("end_header", "end_header  "),
        lambda h: h.replace("made", "gemacht für Zoë"),
        lambda h: h.replace("float x", "float32 x").replace("float y", "double y"),
    ],
)
def test_headers_of_other_programs(put, scan, change):
    ends = "\r" if "\r" in change(HEAD) and "\n" not in change(HEAD) else "\n"
    data = (change(HEAD) + lines(scan).replace("\n", ends)).encode("latin-1")
    np.testing.assert_allclose(read_points(put("a.ply", data)), scan, atol=1e-6)


def test_binary_data_begin_right_after_the_header(put, scan):
    head = HEAD.replace("ascii", "binary_little_endian").replace("\nelement", "\n\n\telement")
    data = head.encode() + scan.astype("<f4").tobytes()
    np.testing.assert_array_equal(read_points(put("a.ply", data)), scan.astype(np.float32))


@pytest.mark.parametrize("count", [3 * 10**8, 2**32 - 1, 200])
@pytest.mark.parametrize("kind", ["uint", "int"])
def test_a_list_longer_than_the_file_is_refused(put, refused, scan, count, kind):
    head = HEAD.replace("ascii", "binary_little_endian").replace(
        "end_header", f"element face 2\nproperty list {kind} int vertex_indices\nend_header"
    )
    body = struct.pack("<I3iI", 3, 0, 1, 2, count)
    said = refused(put("a.ply", head.encode() + scan.astype("<f4").tobytes() + body))
    assert "cut short" in said or "damaged" in said


@pytest.mark.parametrize("kind", ["ascii", "binary_big_endian"])
def test_more_vertices_than_bytes_are_refused(put, refused, scan, kind):
    head = HEAD.replace("ascii", kind).replace("vertex 40", "vertex 300000000")
    body = lines(scan).encode() if kind == "ascii" else scan.astype(">f4").tobytes()
    assert "is cut short" in refused(put("a.ply", head.encode() + body))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace("element vertex 40", "element vertex forty"), "damaged header"),
        (lambda t: t.replace("property float y", "property list float int y"), "no whole number"),
        (lambda t: t.replace("property float y", "property strange y"), "damaged header"),
        (lambda t: t.replace("ascii", "rot13"), "without a known format"),
        (lambda t: t.replace("end_header\n", ""), "cut short within its header"),
        (lambda t: t.rsplit("\n", 3)[0], "is cut short: 38 of 40 lines"),
        (lambda t: t[:-8] + " zero\n", "'zero'"),
    ],
)
def test_damage_is_said(put, refused, scan, change, said):
    assert said in refused(put("a.ply", change(HEAD + lines(scan))))


def test_numbers_that_do_not_fit_their_type_are_refused(put, refused, scan):
    head = HEAD.replace("property float z", "property float z\nproperty uchar red")
    rows = lines(scan).replace("\n", " 300\n")
    assert "has numbers in red that are no uint8" in refused(put("a.ply", head + rows))
