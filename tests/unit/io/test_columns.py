"""One rule says which column is x, y and z: in clouds and scenes, in training and prediction."""

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, FileFormatError
from pointadapt.core.notes import PointAdaptNote
from pointadapt.data.reading.labelled import read_labelled
from pointadapt.io import read_cloud, read_points, write_points
from pointadapt.io.columns import called, each_column, find_column, find_optional, find_xyz
from pointadapt.scenes import open_scene


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (["x", "y", "z"], (0, 1, 2)),
        (["z", "Y", "x", "y"], (2, 3, 0)),
        (["x", "y", "z", "Z", "scalar_z", "SCALAR_Z"], (0, 1, 2)),
        (["X", "Y", "Z", "scalar_x"], (0, 1, 2)),
        (["scalar_X", "x", "scalar_Y", "y", "scalar_Z", "z"], (1, 3, 5)),
        (["scalar_X", "Scalar_Y", "scalar_z"], (0, 1, 2)),
        ([' "X" ', "\ufeffY", "'Z'"], (0, 1, 2)),
        (["x", "y"], None),
        ([], None),
    ],
)
def test_the_exact_name_wins_then_the_case_then_the_prefix(names, places):
    assert find_xyz(names) == places


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["x", "y", "z", "z"], r"may be z, 'z' \(number 3\) and 'z' \(number 4\)"),
        (["scalar_Z", "scalar_z", "x", "y"], "'scalar_Z' .* and 'scalar_z'"),
        (["X", "Y", "Z", "z"], "'Z' .* and 'z'"),  # X, Y and z would be of two kinds
        (["x", "X", "Y", "Z"], "'x' .* and 'X'"),
    ],
)
def test_two_equally_good_columns_are_named(names, said):
    with pytest.raises(FileFormatError, match=said):
        find_xyz(names)


def test_any_column_is_found_by_the_same_rule():
    names = ["Intensity", "scalar_intensity", "LABEL", "red"]
    assert find_column(names, "intensity") == 0
    assert find_column(names, "scalar_intensity") == 1
    assert find_column(names, "Label") == 2
    assert find_column(names, "green") is None
    assert each_column(names) == {"intensity": 0, "label": 2, "red": 3}


def test_what_is_not_needed_is_left_out_with_a_note():
    with pytest.warns(PointAdaptNote, match="'Label' .* and 'LABEL' .*; neither is read"):
        assert find_optional(["Label", "LABEL"], [("label",)]) is None


def ply(names, table, kind="ascii"):
    head = f"ply\nformat {kind} 1.0\nelement vertex {len(table)}\n"
    head += "".join(f"property float {name}\n" for name in names) + "end_header\n"
    if kind == "ascii":
        return head + "".join(" ".join(f"{v:.4f}" for v in row) + "\n" for row in table)
    return head.encode() + table.astype("<f4").tobytes()


def csv(names, table):
    return ",".join(names) + "\n" + "".join(",".join(f"{v:.4f}" for v in r) + "\n" for r in table)


def npy(names, table):
    import io

    rows, stream = np.zeros(len(table), [(name, "f4") for name in names]), io.BytesIO()
    for name, column in zip(names, table.T, strict=True):
        rows[name] = column
    np.save(stream, rows)
    return stream.getvalue()


NAMES = ["scalar_Z", "Z", "X", "z", "x", "y", "scalar_y", "label"]
WRITERS = {
    "a.ply": ply, "b.ply": lambda n, t: ply(n, t, "binary_little_endian"), "a.csv": csv,
    "a.npy": npy,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_clouds_scenes_and_labelled_scenes_agree(put, scan, name):
    other = np.full(len(scan), 7.0)
    labels = np.arange(len(scan)) % 3
    table = np.stack(
        [other, other, other, scan[:, 2], scan[:, 0], scan[:, 1], other, labels], axis=1
    )
    path = put(name, WRITERS[name](NAMES, table))
    np.testing.assert_allclose(read_points(path), scan, atol=1e-6)
    np.testing.assert_array_equal(read_cloud(path).labels, labels)
    (xyz, _), *_ = open_scene(path).chunks((), 100)
    np.testing.assert_allclose(xyz, scan, atol=1e-6)
    seen = read_labelled(path)
    np.testing.assert_allclose(seen.points, scan - scan.min(axis=0), atol=1e-6)
    np.testing.assert_array_equal(seen.labels, labels)
    assert not {"x", "y", "z"} & set(seen.columns)


@pytest.mark.parametrize("read", [read_points, read_labelled, open_scene])
@pytest.mark.parametrize("name", ["a.ply", "a.csv"])
def test_an_ambiguous_column_is_refused_everywhere(put, scan, refused, name, read):
    table = np.c_[scan, scan[:, :1], np.arange(len(scan))]
    path = put(name, WRITERS[name](["x", "Y", "Z", "X", "label"], table))
    assert "may be x, 'x' (number 1) and 'X' (number 4)" in refused(path, read=read)


def test_pcd_fields_follow_the_rule(put, scan):
    head = (
        "VERSION .7\nFIELDS X Y Z scalar_z\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
        "WIDTH 40\nHEIGHT 1\nPOINTS 40\nDATA binary\n"
    )
    body = np.c_[scan, np.full(40, 9.0)].astype("<f4").tobytes()
    np.testing.assert_allclose(read_points(put("a.pcd", head.encode() + body)), scan, atol=1e-6)


# ---- columns that the user names


MAP = ("easting", "northing", "height")


@pytest.mark.parametrize("name", WRITERS)
def test_columns_that_are_named_are_x_y_z_everywhere(put, scan, name):
    labels = np.arange(len(scan)) % 3
    decoys = np.full((len(scan), 3), 7.0)  # an x, y and z that mean something else
    table = np.column_stack([decoys, scan[:, [2, 0, 1]], labels])
    names = ["x", "y", "z", "height", "easting", "northing", "label"]
    path = put(name, WRITERS[name](names, table))
    np.testing.assert_allclose(read_points(path, columns=MAP), scan, atol=1e-6)
    np.testing.assert_array_equal(read_cloud(path, columns=MAP).labels, labels)
    source = open_scene(path, MAP)
    (xyz, _), *_ = source.chunks((), 100)
    np.testing.assert_allclose(xyz, scan, atol=1e-6)
    assert not {*MAP} & {*source.names}
    seen = read_labelled(path, columns=MAP)
    np.testing.assert_allclose(seen.points, scan - scan.min(axis=0), atol=1e-6)
    assert not {*MAP} & set(seen.columns)


def test_a_pcd_may_be_named_so(put, scan):
    head = (
        "VERSION .7\nFIELDS easting northing height\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        "WIDTH 40\nHEIGHT 1\nPOINTS 40\nDATA binary\n"
    )
    path = put("a.pcd", head.encode() + scan.astype("<f4").tobytes())
    np.testing.assert_allclose(read_points(path, columns=MAP), scan, atol=1e-6)


@pytest.mark.parametrize("read", [read_points, read_labelled, open_scene])
@pytest.mark.parametrize("name", ["a.ply", "a.csv", "a.npy"])
def test_the_error_names_the_columns_that_are_there(put, scan, refused, name, read):
    path = put(name, WRITERS[name](["e", "n", "h", "label"], np.c_[scan, np.arange(len(scan))]))
    said = refused(path, read=read)
    assert "has no columns x, y, z: only e, n, h, label" in said
    assert "--data-options columns=X,Y,Z" in said and "--columns X,Y,Z" in said


def test_three_columns_of_other_names_are_an_error_once_names_are_given(put, scan, refused):
    path = put("a.csv", csv(["e", "n", "h"], scan))
    np.testing.assert_allclose(read_points(path), scan, atol=1e-4)  # by their places

    def read(path):
        return read_points(path, columns=MAP)

    assert "has no columns easting, northing, height: only e, n, h" in refused(path, read=read)


def test_what_has_no_names_is_read_as_ever(put, scan, tmp_path):
    write_points(tmp_path / "a.xyz", scan)
    write_points(tmp_path / "b.npy", scan)
    write_points(tmp_path / "c.las", scan)
    for path in sorted(tmp_path.glob("?.*")):
        np.testing.assert_allclose(read_points(path, columns=MAP), scan, atol=1e-4)


def test_names_are_typed_with_commas_or_spaces():
    assert called(["e,n,h"]) == called(["e", "n", "h"]) == called(("e, n", "h")) == ("e", "n", "h")
    assert called(()) == ()
    with pytest.raises(ConfigError, match="three different names"):
        called(["e,n"])
