"""NumPy files under the names that data sets use, and those that promise more than they hold."""

import io
import struct
import zipfile

import numpy as np
import pytest

from pointadapt.io import read_cloud, read_points
from pointadapt.io.arrays import load_npz


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(text):
    text = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def promise(shape, kind="<f8"):
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}")


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("points.npy", content)
    return stream.getvalue()


def test_what_pointcept_calls_its_arrays(put, scan):
    colours = np.tile(np.array([[255, 0, 51]], "u1"), (40, 1))
    path = put("a.npz", npz(coord=scan, color=colours, normal=scan, segment=np.arange(40.0) % 7,
                            instance=np.zeros(40), scene_id=np.array("scene0000_00")))  # fmt: skip
    cloud = read_cloud(path)
    np.testing.assert_array_equal(cloud.points, scan)
    np.testing.assert_allclose(cloud.colors, np.tile([[1, 0, 0.2]], (40, 1)), atol=1e-7)
    np.testing.assert_array_equal(cloud.normals, scan.astype(np.float32))
    np.testing.assert_array_equal(cloud.labels, np.arange(40) % 7)


@pytest.mark.parametrize("name", ["Points", "XYZ", "Pos", "COORDS", "Vertices", "point_cloud"])
def test_names_in_any_case(put, scan, name):
    path = put("a.npz", npz(**{"Labels": np.arange(40)[:, None], name: scan, "other": scan + 1}))
    np.testing.assert_array_equal(read_cloud(path).points, scan)
    np.testing.assert_array_equal(read_cloud(path).labels, np.arange(40))


def test_two_arrays_that_may_be_the_points_are_named(put, scan, refused):
    said = refused(put("a.npz", npz(Points=scan, POINTS=scan + 1)))
    assert "'Points' (number 1) and 'POINTS' (number 2)" in said
    np.testing.assert_array_equal(read_points(put("b.npz", npz(points=scan, POINTS=-scan))),
                                  scan.astype(np.float32))  # fmt: skip


def test_objects_beside_the_points_are_left_alone(put, scan):
    odd = np.array([{"name": "chair"}], dtype=object)
    np.testing.assert_array_equal(read_cloud(put("a.npz", npz(points=scan, meta=odd))).points, scan)


@pytest.mark.parametrize(
    "kind",
    [
        [("X", "f8"), ("Y", "f8"), ("Z", "f8"), ("Label", "i4")],
        [("label", "i4"), ("xyz", "f8", (3,)), ("rgb", "u1", (3,))],
        [("position", "f8", (3,)), ("segment", "i4", (1,))],
    ],
)
@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_records(put, scan, kind, shape):
    table = np.zeros(40, kind)
    wide = next((n for n in table.dtype.names if table[n].shape == (40, 3)), None)
    if wide:
        table[wide] = scan
    else:
        table["X"], table["Y"], table["Z"] = scan.T
    last = next(n for n in table.dtype.names if n.lower() in ("label", "segment"))
    table[last] = np.arange(40).reshape(table[last].shape)
    cloud = read_cloud(put("a.npy", npy(table.reshape(shape))))
    np.testing.assert_array_equal(cloud.points, scan)
    np.testing.assert_array_equal(cloud.labels, np.arange(40))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npy", promise((10**12, 3)), "cut short: 0 of 24,000,000,000,000 bytes"),
        ("a.npy", promise((-4, 3)), "damaged header"),
        ("a.npy", promise((2**62, 2**62)), "cut short"),
        ("a.npy", header("(" * 100), "damaged header"),
        ("a.npy", promise((9,), "|O"), "Python objects"),
        ("a.npz", zipped(promise((10**12, 3))), "array 'points' is cut short"),
        ("a.npz", zipped(b"no array"), "array 'points' has a damaged header"),
        ("a.npz", b"PK\3\4" + bytes(50), "is damaged: File is not a zip file"),
    ],
)
def test_promises_are_compared_with_the_bytes(put, refused, name, content, said):
    assert said in refused(put(name, content))


def test_a_small_archive_that_unpacks_to_a_large_one_is_refused(put, refused, monkeypatch):
    monkeypatch.setattr("pointadapt.io.limits.ROOM", 1 << 20)
    path = put("a.npz", zipped(promise((250_000, 3), "<f4") + bytes(3_000_000)))
    assert path.stat().st_size < 4_000
    assert "would take 3.0 MB of memory, but has" in refused(path)


def test_only_what_is_chosen_is_unpacked(put, scan):
    path = put("a.npz", npz(a=scan, b=scan + 1, c=scan + 2))
    found = load_npz(path, lambda names: [name for name in names if name != "b"])
    assert sorted(found) == ["a", "c"]
    np.testing.assert_array_equal(found["c"], scan + 2)
