"""Text as other programs and other countries write it; the numbers are worked out by hand."""

import numpy as np
import pytest

from pointadapt.core.errors import PointCloudError
from pointadapt.io import read_points
from pointadapt.io.numbers import is_number, plain_numbers
from pointadapt.scenes import open_scene


def rows(points, gap=" ", form="%.4f"):
    return "".join(gap.join(form % v for v in row) + "\n" for row in points)


@pytest.mark.parametrize(
    "word",
    [
        "1.#QNAN",
        "-1.#IND",
        "1.#SNAN",
        "1.#QNAN0",
        "1.#R",
        "-nan(ind)",
        "nan(snan)",
        "NaN(0x7ff8)",
        "-NaN",
        "qnan",
        "sNaN",
    ],
)
def test_every_spelling_of_nan(put, scan, word):
    assert np.isnan(float(plain_numbers(word)))
    text = rows(scan).replace(f"{scan[3, 1]:.4f}", word, 1)
    for name in ("a.txt", "a.csv"):
        content = text if name == "a.txt" else text.replace(" ", ",")
        with pytest.raises(PointCloudError, match="1 of 40 points, first in row 3"):
            read_points(put(name, content))
        left = read_points(put(name, content), nan="drop")
        np.testing.assert_allclose(left, np.delete(scan, 3, axis=0), atol=1e-6)


@pytest.mark.parametrize("word", ["1.#INF", "-1.#INF00", "1.#J", "inf", "-Infinity"])
def test_every_spelling_of_infinity(word):
    assert np.isinf(float(plain_numbers(word)))


def test_words_that_are_no_numbers_stay_so():
    for word in ("1.#", "banana", "nano", "d5", "", "1.2.3", "0x10"):
        assert not is_number(word), word


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("exponents.xyz", lambda p: rows(p, form="%.6E").replace("E", "D")),
        ("small.xyz", lambda p: rows(p, form="%.6e").replace("e", "d")),
        ("blank.csv", lambda p: rows(p, ",") + "   \n\t\n"),
        ("empty-cells.csv", lambda p: rows(p, ",") + ",,\n"),
        ("ctrl-z.txt", lambda p: rows(p) + "\x1a"),
        ("ctrl-z-more.txt", lambda p: rows(p) + "\x1a\nrest of a disk block"),
        ("blocks.pts", lambda p: "15\n" + rows(p[:15]) + "25\n" + rows(p[15:])),
        ("two-tabs.txt", lambda p: rows(p, "\t\t")),
        ("scan.asc", lambda p: rows(p, "\t")),
        ("pandas.csv", lambda p: "0,1,2\n" + rows(p, ",")),
        ("pandas-index.csv", lambda p: ",0,1,2\n" + "".join(
            f"{k},{line}\n" for k, line in enumerate(rows(p, ",").splitlines()))),
        ("pandas-semicolon.csv", lambda p: "0;1;2\n" + rows(p, ";").replace(".", ",")),
        ("quoted.csv", lambda p: '"Z","Y","X"\n' + rows(p[:, ::-1], ",")),
        ("remark.txt", lambda p: "# X Y Z\n" + rows(p) + "# the end\n// really\n"),
    ],
)  # fmt: skip
def test_text_of_other_programs(put, scan, name, text):
    path = put(name, text(scan))
    np.testing.assert_allclose(read_points(path), scan, atol=1e-6)
    source = open_scene(path)
    assert source.count == len(scan)
    parts = [xyz for xyz, _ in source.chunks((), 16)]
    np.testing.assert_allclose(np.concatenate(parts), scan, atol=1e-6)


@pytest.mark.parametrize("gap", [";", " ", "\t"])
def test_commas_are_decimal_even_after_whole_numbers(put, scan, gap):
    text = f"0{gap}0{gap}0\n" * 120 + rows(scan, gap).replace(".", ",")  # more than a first look
    found = read_points(put("a.csv", text))
    np.testing.assert_allclose(found[120:], scan, atol=1e-6)


def test_decimal_commas_between_commas_are_refused(put, scan, refused):
    path = put("a.csv", "0,0,0\n" + rows(scan, ",").replace(".", ","))
    assert "has 6 columns in a line, and 3 in the first" in refused(path)


def test_a_first_point_of_0_1_2_stays_a_point(put, noted):
    found, notes = noted(put("a.csv", "0,1,2\n3,4,5\n6,1,8\n"))
    np.testing.assert_array_equal(found, [(0, 1, 2), (3, 4, 5), (6, 1, 8)])
    assert notes == ["its first line, 0,1,2, is taken for a point, not for a header"]
    found, notes = noted(put("b.txt", "0 1 2\n0.5 1 2\n0 1.5 2.5\n"))
    assert len(found) == 3 and not notes


def test_counts_of_all_blocks_are_added(put, scan, refused):
    text = "15\n" + rows(scan[:15]) + "24\n" + rows(scan[15:])
    for read in (read_points, open_scene):
        assert "says it has 39 points but holds 40" in refused(put("a.pts", text), read=read)


def test_a_grid_of_heights_is_no_cloud(put, refused):
    grid = "ncols 3\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2 3\n4 5 6\n"
    assert "is an ESRI grid of heights" in refused(put("a.asc", grid))


def test_a_line_without_end_is_refused_at_once(put, refused):
    assert "line of more than 65,536 characters" in refused(put("a.xyz", "1 " * 100_000))


def test_an_empty_cell_does_not_move_the_columns(put, scan, refused):
    lines = rows(np.c_[scan, scan], "\t").splitlines()
    cells = lines[7].split("\t")
    lines[7] = "\t".join([cells[0], "", *cells[1:-1]])
    assert "''" in refused(put("a.txt", "\n".join(lines)))


@pytest.mark.parametrize("line", ["NULL 1 2", "1.0 \u22122.0 3.0", "1.5+2 1 2", "*** 1 2"])
@pytest.mark.parametrize("gap", [" ", ","])
def test_a_damaged_first_point_is_not_taken_for_a_header(put, scan, noted, refused, line, gap):
    first = line.replace(" ", gap) + "\n"
    found, notes = noted(put("a.csv", first + rows(scan, gap)))
    assert len(found) == 40
    assert notes == [f"its line 1, {line!r}, is not read, since it is no point"]
    header = gap.join("xyz") + "\n"
    for read in (read_points, open_scene):
        said = refused(put("b.csv", header + first + rows(scan, gap)), read=read)
        assert f"its line 2, {line!r}, is no point" in said


def test_what_stands_before_the_points(put, scan, noted):
    for before in ("a scan of 1998\n", "x,y,z\n", "# 1 2 n\n", "40\n", ",,\n"):
        found, notes = noted(put("a.csv", before + rows(scan, ",")))
        assert len(found) == 40 and not notes, before
    found, notes = noted(put("a.csv", "x,y,z\nm,m,m\n" + rows(scan, ",")))
    assert len(found) == 40
    assert notes == ["its line 2, 'm m m', is not read, since it is no point"]
