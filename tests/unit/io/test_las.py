"""LAS: labels in extra dimensions, headers that cannot be, data that promise more than they are."""

import io
import struct

import numpy as np
import pytest

from pointadapt.data.reading.labelled import read_labelled
from pointadapt.io import read_cloud, read_points
from pointadapt.scenes import Tiling, label_scene

laspy = pytest.importorskip("laspy")


def las(points, compress=False, form=6, **extra):
    header = laspy.LasHeader(version="1.4", point_format=form)
    header.scales, header.offsets = np.full(3, 1e-4), np.floor(points.min(axis=0))
    for name, values in extra.items():
        header.add_extra_dim(laspy.ExtraBytesParams(name, values.dtype.str[1:]))
    file, stream = laspy.LasData(header), io.BytesIO()
    file.x, file.y, file.z = points.T
    file.classification = np.full(len(points), 2)
    for name, values in extra.items():
        file[name] = values
    file.write(stream, do_compress=compress)
    return stream.getvalue()


@pytest.mark.parametrize("compress", [False, True])
def test_labels_in_an_extra_dimension_are_read(put, scan, compress):
    labels = (np.arange(40) % 3).astype("u1")
    path = put(f"a.la{'z' if compress else 's'}", las(scan, compress, label=labels))
    np.testing.assert_array_equal(read_cloud(path).labels, labels)
    seen = read_labelled(path)
    assert seen.label == "label" and "classification" in seen.columns
    np.testing.assert_array_equal(seen.labels, labels)
    np.testing.assert_array_equal(read_labelled(path, "classification").labels, np.full(40, 2))
    np.testing.assert_array_equal(read_labelled(path, "Label").labels, labels)


def test_what_predict_writes_into_a_field_is_read_in_training(put, scan):
    path = put("a.las", las(scan * 5))

    def high(points, features):
        up = points[..., 2] > 5
        return np.stack([~up, up], axis=-1).astype(np.float32)

    out = path.with_name("b.las")
    label_scene(path, out, high, ("low", "high"), Tiling(8, 0, 16, passes=0), field="mine")
    written = laspy.read(out)["mine"]
    assert 0 < written.sum() < 40
    np.testing.assert_array_equal(read_labelled(out, "mine").labels, written)
    np.testing.assert_array_equal(read_labelled(out).labels, np.full(40, 2))


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (131, struct.pack("<3d", 0, 0, 0), "x and y and z are the same in all of its points"),
        (147, struct.pack("<d", 0), "scale 0, so that z are the same"),
        (105, struct.pack("<H", 0), "points of 0 bytes"),
        (247, struct.pack("<Q", 10**9), "is cut short: holds 40 of 1,000,000,000 points"),
        (96, struct.pack("<I", 2**31), "damaged header"),
    ],
)
def test_headers_that_cannot_be_are_refused(put, refused, scan, at, value, said):
    data = bytearray(las(scan))
    data[at : at + len(value)] = value
    assert said in refused(put("a.las", bytes(data)))


def test_an_infinite_offset_is_refused(put, refused, scan):
    from pointadapt.core.errors import PointCloudError

    data = bytearray(las(scan))
    struct.pack_into("<d", data, 155, np.inf)
    assert "NaN or infinite" in refused(put("a.las", bytes(data)), PointCloudError)


def test_compressed_data_that_promise_too_much_are_refused(put, refused, scan):
    data = bytearray(las(scan, compress=True))
    struct.pack_into("<Q", data, 247, 10**9)
    assert "of memory, but has" in refused(put("a.laz", bytes(data)))


def test_laspy_and_we_read_the_same(put, scan):
    path = put("a.las", las(scan + np.array([5e5, 5e6, 100])))
    theirs = np.stack([laspy.read(path)[name] for name in "xyz"], axis=1)
    np.testing.assert_array_equal(read_cloud(path).points, theirs)
    ours = read_points(path).astype(np.float64)
    np.testing.assert_allclose(ours - ours[0], theirs - theirs[0], atol=1e-6)
