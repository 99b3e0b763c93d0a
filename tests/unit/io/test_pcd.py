"""PCD: how its colours are packed, raw data under binary_compressed, and damaged headers."""

import struct

import numpy as np
import pytest

from pointadapt.io import read_cloud


def head(points, data, fields="x y z", kinds="F F F", counts="1 1 1", height=1):
    size = " ".join("4" for _ in fields.split())
    return (
        f"# .PCD v0.7\nVERSION 0.7\nFIELDS {fields}\nSIZE {size}\nTYPE {kinds}\nCOUNT {counts}\n"
        f"WIDTH {points // height}\nHEIGHT {height}\nPOINTS {points}\nDATA {data}\n"
    ).encode()


def lines(table):
    return "".join(" ".join(f"{v:.9g}" for v in row) + "\n" for row in table).encode()


def test_compressed_data_that_are_stored_as_they_are(put, scan):
    planes = scan.T.astype("<f4").tobytes()
    data = head(40, "binary_compressed") + struct.pack("<II", 480, 480) + planes
    np.testing.assert_array_equal(read_cloud(put("a.pcd", data)).points, scan.astype(np.float32))


@pytest.mark.parametrize("fields", ["X Y Z", "x y z"])
def test_pixels_without_measurement_are_left_out(put, scan, fields):
    pixels = scan.copy()
    pixels[::4] = np.nan
    data = head(40, "ascii", fields, height=5) + lines(pixels).replace(b"nan", b"-nan(ind)")
    np.testing.assert_allclose(read_cloud(put("a.pcd", data)).points, scan[np.arange(40) % 4 > 0])


@pytest.mark.parametrize("alpha", [0, 255])
@pytest.mark.parametrize("data", ["ascii", "binary"])
@pytest.mark.parametrize("kind", ["F", "U", "I", "F, but whole"])
def test_packed_colours(put, scan, kind, data, alpha):
    bits = np.full(40, alpha << 24 | 255 << 16 | 51, np.uint32)
    bits[0] = alpha << 24
    if kind == "F" and alpha == 255:
        pytest.skip("such a float32 is NaN or may be; programs write alpha 0")
    if kind == "F, but whole" and data == "binary" and alpha:
        pytest.skip("float32 cannot hold it")
    whole = bits.astype(np.int64) if kind in ("U", "F, but whole") else bits.view("i4")
    packed = bits.view("f4") if kind == "F" else whole
    fields = head(40, data, "x y z rgb", f"F F F {kind[0]}", "1 1 1 1")
    if data == "ascii":
        words = [f"{v:.17g}" if kind == "F" else str(v) for v in packed.tolist()]
        body = b"".join(
            line + b" " + word.encode() + b"\n"
            for line, word in zip(lines(scan).splitlines(), words, strict=True)
        )
    else:
        last = packed.astype({"F": "<f4", "U": "<u4", "I": "<i4"}[kind[0]])
        rows = np.zeros(40, [("xyz", "<f4", 3), ("rgb", last.dtype)])
        rows["xyz"], rows["rgb"] = scan, last
        body = rows.tobytes()
    colors = read_cloud(put("a.pcd", fields + body)).colors
    np.testing.assert_allclose(colors[0], 0)
    np.testing.assert_allclose(colors[1:], np.tile([[1, 0, 0.2]], (39, 1)), atol=1e-7)


def test_fields_without_numbers_and_old_names(put, scan):
    old = head(40, "ascii", "x y z", counts="1 1 1").replace(b"FIELDS", b"COLUMNS")
    np.testing.assert_allclose(read_cloud(put("a.pcd", old + lines(scan))).points, scan, atol=1e-6)
    none = head(40, "binary", "x y z nothing", "F F F F", "1 1 1 0")
    body = scan.astype("<f4").tobytes()
    np.testing.assert_array_equal(
        read_cloud(put("b.pcd", none + body)).points, scan.astype(np.float32)
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (head(10**12, "binary"), "is cut short: 0 of 12,000,000,000,000 bytes"),
        (head(-5, "binary") + bytes(60), "damaged PCD header: POINTS -5"),
        (head(1, "binary", counts="1 1 2000000000") + bytes(60), "damaged PCD header: COUNT"),
        (head(1, "binary", "x y x") + bytes(60), "occurs more than once"),
        (head(40, "binary_compressed") + struct.pack("<II", 9, 480) + b"\xe0\xff\0" * 3,
         "damaged compressed data"),
        (head(3 * 10**8, "binary_compressed") + struct.pack("<II", 9, 3_600_000_000)
         + b"\xe0\xff\0" * 3, "9 bytes cannot hold 3600000000"),
        (head(2, "ascii") + b"1 2 3\n4 five 6\n", "could not convert string 'five'"),
    ],
)  # fmt: skip
def test_damage_is_said(put, refused, data, said):
    assert said in refused(put("a.pcd", data))
