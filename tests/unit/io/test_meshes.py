"""STL and OFF as CAD and modelling programs write them; extents are those of the unit box."""

import struct

import numpy as np
import pytest

from pointadapt.io import read_cloud, read_points

BOX = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
FACES = np.array([
    (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
    (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
])  # fmt: skip


def stl(change=lambda s: s, start="solid part\n", end="endsolid part\n"):
    facet = "facet normal 0 0 1\n outer loop\n{}\n endloop\nendfacet\n"
    lines = ("\n".join("  vertex {} {} {}".format(*BOX[k]) for k in face) for face in FACES)
    return start + change("".join(map(facet.format, lines))) + end


def binary_stl(title=b"made by a scanner"):
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *BOX[f].ravel(), 7) for f in FACES)
    return title.ljust(80) + struct.pack("<I", 12) + body


STL = {
    "upper case": stl(str.upper, "SOLID PART\n", "ENDSOLID PART\n"),
    "ENDSOLID alone": stl(end="ENDSOLID\n"),
    "end solid": stl(end="end solid part\n"),
    "no name": stl(start="solid\n", end="endsolid"),
    "blank lines first": stl(start="\n  \n  solid part\n"),
    "byte order mark": "\ufeff" + stl(),
    "carriage returns": stl().replace("\n", "\r\n"),
    "tabs and exponents": stl(lambda s: s.replace(" 1.0", "\t1.0E+00").replace(" 0.0", "\t0D0")),
    "binary": binary_stl(),
    "binary that begins with solid": binary_stl(b"solid x"),
    "binary that speaks of facets": binary_stl(b"solid") + b"\0facet endsolid",
    "binary and a few bytes": binary_stl() + b"ab",
    "binary and many bytes": binary_stl() + bytes(5000),
}


@pytest.mark.parametrize("what", STL)
def test_stl_of_other_programs(put, noted, what):
    path = put("a.stl", STL[what])
    cloud, notes = noted(path, read_cloud)
    np.testing.assert_array_equal(cloud.points[cloud.faces], BOX[FACES])
    assert bool(notes) == (" bytes" in what or "facets" in what)
    np.testing.assert_allclose(np.ptp(read_points(path), axis=0), 1, rtol=0.05)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (stl(end=""), "ends without 'endsolid'"),
        (stl() + stl(end=""), "ends without 'endsolid'"),
        (binary_stl()[:-1], "is cut short"),
        (b"\0" * 90, "has no points"),
        (stl().replace("vertex 0.0", "vertex zero", 1), "not x y z"),
    ],
)
def test_damaged_stl_is_refused(put, refused, data, said):
    from pointadapt.core.errors import PointAdaptError

    assert said in refused(put("a.stl", data), PointAdaptError)


def off(header, more="", rows=BOX):
    points = "".join("{} {} {}".format(*p) + more + "\n" for p in rows)
    return f"{header}8 12 6\n{points}" + "".join("3 {} {} {}\n".format(*f) for f in FACES)


@pytest.mark.parametrize(
    ("header", "more"),
    [
        ("OFF\n", ""), ("off\n", ""), ("OFF ", ""), ("", ""), ("\n# made\nOFF # so\n\n", ""),
        ("NOFF\n", " 0 0 1"), ("COFF\n", " 255 0 0 255"), ("NCOFF\n", " 0 0 1 255 0 0 255"),
        ("CNOFF\n", " 255 0 0 255 0 0 1"), ("STOFF\n", " 0.5 0.5"), ("stcnoff\n", " 1 2 3 4 5 6"),
    ],
)  # fmt: skip
def test_off_of_other_programs(put, header, more):
    cloud = read_cloud(put("a.off", off(header, more)))
    np.testing.assert_array_equal(cloud.points, BOX)
    np.testing.assert_array_equal(cloud.faces, FACES)


@pytest.mark.parametrize("header", ["4OFF\n", "nOFF\n3\n", "OFF BINARY\n"])
def test_other_kinds_of_off_are_named(put, refused, header):
    assert f"is {header.split(chr(10))[0]}, which is not read" in refused(put("a.off", off(header)))


def test_counts_are_compared_with_the_lines(put, refused):
    data = off("OFF\n").replace("8 12 6", "1000000000 12 6")
    assert "is cut short: 20 of 1,000,000,012 lines" in refused(put("a.off", data))


def test_nan_is_no_comment(put, refused):
    from pointadapt.core.errors import PointCloudError

    data = off("OFF\n").replace("0.0 0.0 1.0", "0.0 0.0 1.#QNAN", 1)
    assert "1 of 8 points, first in row 1" in refused(put("a.off", data), PointCloudError)
    lines = "".join("v {} {} {}\n".format(*p) for p in BOX).replace("1.0\n", "-nan(ind)\n", 1)
    assert "1 of 8 points" in refused(put("a.obj", lines), PointCloudError)
