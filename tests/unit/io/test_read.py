import dataclasses
import os
import pickle
import re
import runpy
import struct
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pointadapt import io
from pointadapt.core.errors import (
    ConfigError,
    FileFormatError,
    PointAdaptError,
    PointCloudError,
    UnknownNameError,
)
from pointadapt.io import Cloud, read_cloud, read_points, write_cloud, write_points
from pointadapt.io.pcd import lzf_decompress

TESTS = Path(__file__).parents[2]
look_alike = SimpleNamespace(**runpy.run_path(str(TESTS / "data/folder/make.py")))
BALL, CORNERS = look_alike.ball(), look_alike.CORNERS
EXACT = [s for s in io.WRITABLE if s not in (".las", ".laz")]


def error_of(path, error=FileFormatError, **options):
    """The message, which is one line and begins with the path."""
    with pytest.raises(error) as caught:
        read_points(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300
    return message.removeprefix(f"{path}: ")


def put(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---- reading what another hand wrote


@pytest.mark.parametrize("form", look_alike.CLOUDS)
def test_every_form_of_cloud_is_read_exactly(tmp_path, form):
    path = look_alike.write(tmp_path, form)
    np.testing.assert_array_equal(read_cloud(path).points, BALL)
    points = read_points(path)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, BALL)
    upper = path.rename(path.with_suffix(path.suffix.upper()))
    np.testing.assert_array_equal(read_points(str(upper)), BALL)


@pytest.mark.parametrize("form", look_alike.MESHES)
def test_every_form_of_mesh_is_read_whole(tmp_path, form):
    cloud = read_cloud(look_alike.write(tmp_path, form))
    assert cloud.faces is not None
    assert cloud.faces.shape == (12, 3)
    if form.startswith("stl"):
        np.testing.assert_array_equal(cloud.points[cloud.faces], CORNERS[look_alike.TRIANGLES])
    else:
        np.testing.assert_array_equal(cloud.points, CORNERS)
        np.testing.assert_array_equal(cloud.faces, look_alike.TRIANGLES)


def test_glb_is_read_with_the_places_of_its_scene(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.Trimesh(CORNERS, look_alike.TRIANGLES, process=False)
    scene = trimesh.Scene([box])
    scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([10, 0, 0]))
    cloud = read_cloud(put(tmp_path / "a.glb", scene.export(file_type="glb")))
    assert cloud.faces is not None
    assert cloud.faces.shape == (24, 3)
    np.testing.assert_allclose(np.ptp(cloud.points, axis=0), [11, 2, 3])


def test_every_ending_is_covered():
    tested = {suffix for suffix, _ in {**look_alike.CLOUDS, **look_alike.MESHES}.values()}
    assert tested | {".glb"} == set(io.SUFFIXES)


# ---- writing, then reading


def full_cloud(dtype=np.float32):
    rng = np.random.default_rng(0)
    return Cloud(
        points=BALL.astype(dtype),
        colors=(rng.integers(0, 256, (64, 3)) / 255).astype(np.float32),
        normals=rng.normal(size=(64, 3)).astype(np.float32),
        labels=rng.integers(0, 7, 64),
        faces=rng.integers(0, 64, (5, 3)),
    )


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", EXACT)
def test_what_a_format_holds_reads_back_exactly(tmp_path, suffix, dtype, ascii):
    holds = io.table.FORMATS[suffix].holds
    given = full_cloud(dtype)
    given = Cloud(given.points, **{name: getattr(given, name) for name in holds})
    path = tmp_path / f"a{suffix}"
    write_cloud(path, given, ascii=ascii)
    back = read_cloud(path)
    if suffix in (".npy", ".npz", ".ply", ".pcd"):
        assert back.points.dtype == dtype
    for field in dataclasses.fields(Cloud):
        expected, found = getattr(given, field.name), getattr(back, field.name)
        assert (expected is None) == (found is None), field.name
        if expected is not None:
            np.testing.assert_array_equal(found.astype(expected.dtype), expected)


coordinates = st.floats(-1e6, 1e6, width=32)
arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.tuples(st.integers(1, 9), st.just(3)),
    elements=coordinates,
)


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("suffix", EXACT)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(points=arrays)
def test_any_points_read_back_exactly(tmp_path, suffix, ascii, points):
    write_points(tmp_path / f"a{suffix}", points, ascii=ascii)
    found = read_cloud(tmp_path / f"a{suffix}").points
    np.testing.assert_array_equal(found.astype(points.dtype), points)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_las_keeps_a_billionth_of_the_extent_and_labels(tmp_path, suffix):
    rng = np.random.default_rng(0)
    points = rng.uniform(-50, 50, (200, 3)) + np.array([500_000, 5_200_000, 300])
    labels = rng.integers(0, 20, 200)
    write_cloud(tmp_path / f"a{suffix}", Cloud(points, labels=labels))
    cloud = read_cloud(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(cloud.points, points, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(cloud.labels, labels)


def test_integers_and_half_precision_are_written_as_floats(tmp_path):
    write_points(tmp_path / "a.npy", np.arange(12).reshape(4, 3))
    assert read_cloud(tmp_path / "a.npy").points.dtype == np.float64
    write_points(tmp_path / "b.ply", np.ones((2, 3), np.float16))
    assert read_cloud(tmp_path / "b.ply").points.dtype == np.float32


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((4, 2)), r"shape \(4, 2\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.full((4, 3), np.nan), "NaN"),
        (np.array([["a", "b", "c"]]), "not numbers"),
    ],
)
def test_bad_points_are_not_written(tmp_path, points, message):
    with pytest.raises(PointCloudError, match=message):
        write_points(tmp_path / "a.npy", points)
    assert not list(tmp_path.iterdir())


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"\.npy has no place for labels; use .*\.ply"):
        write_cloud(tmp_path / "a.npy", Cloud(BALL, labels=np.zeros(64, int)))
    with pytest.raises(FileFormatError, match="0 to 255"):
        write_cloud(tmp_path / "a.las", Cloud(BALL, labels=np.full(64, 256)))
    with pytest.raises(PointCloudError, match=r"labels have shape \(3,\), not \(64,\)"):
        write_cloud(tmp_path / "a.ply", Cloud(BALL, labels=np.zeros(3, int)))
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileFormatError, match="ending"):
        write_points(tmp_path / "a.stl", BALL)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    write_points(path, BALL)
    before = path.read_bytes()

    def full_disk(stream, *_, **__):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(PointAdaptError, match="No space left"):
        write_points(path, BALL + 1)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npy"]


# ---- text layouts


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3\n4 5 6\n",
        "1 2 3\n4 5 6",  # no newline at the end
        "\r\n1,2,3\r\n4,5,6\r\n",
        "1;2;3;\n4;5;6;\n",
        "1 2 3 chair\n4 5 6 chair\n",
        "name,x,y,z\na,1,2,3\nb,4,5,6\n",
        "//X Y Z Scalar_Label\n1 2 3 0\n4 5 6 1\n",
        ",x,y,z\n0,1,2,3\n1,4,5,6\n",
        "label x y z\n9 1 2 3\n9 4 5 6\n",
        "# made by x, y and z\n1 2 3\n4 5 6\n",
        "some scan\n2\n1 2 3 200 3 4 5\n4 5 6 200 7 8 9\n",
        "1 2 3 # first\n4 5 6 # second\n\n\n",
        "1,0 2,0 3,0\n4,0 5,0 6,0\n",
        "1,5;2,5;3,5\n4,5;5,5;6,5\n",
        "\ufeffx y z\n1e0 2.0 +3\n4 5 6\n",
        '"1","2","3"\n"4","5","6"\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_layouts_of_text(tmp_path, text, encoding):
    path = put(tmp_path / "a.txt", text.encode(encoding))
    shift = 0.5 if "1,5" in text else 0
    np.testing.assert_array_equal(read_points(path), np.array([(1, 2, 3), (4, 5, 6)]) + shift)


def test_a_header_tells_colours_normals_and_labels(tmp_path):
    text = "x,y,z,R,G,B,nx,ny,nz,class\n0,0,1,255,0,51,0,0,1,4\n1,1,1,0,0,0,0,1,0,2\n"
    cloud = read_cloud(put(tmp_path / "a.csv", text))
    np.testing.assert_allclose(cloud.colors, [(1, 0, 0.2), (0, 0, 0)])
    np.testing.assert_array_equal(cloud.normals, [(0, 0, 1), (0, 1, 0)])
    np.testing.assert_array_equal(cloud.labels, [4, 2])
    bare = read_cloud(put(tmp_path / "b.txt", "0 0 1 255 0 51\n"))
    assert bare.colors is bare.normals is bare.labels is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5 1.5\n2 3\n", "has 2 columns: x, y and z are needed"),
        ("5\n6\n7\n", "no line of three numbers"),
        ("hello\nworld\n", "no line of three numbers among its first 2 lines"),
        ("1 2 3\n4 5\n", "row 2|row 1"),
        ("1 2 3\n4 5 six\n", "'six'"),
        ("1,2,3\n1,,3\n", "''"),
        ("10\n1 2 3\n4 5 6\n", "says it has 10 points but holds 2"),
        (
            "east north up t\n1 2 3 4\n",
            "has no columns x, y, z: only east, .*columns=X,Y,Z",
        ),
        ("label x y z\n1 2 3 4 5\n", "5 columns follow"),
    ],
)
def test_bad_text(tmp_path, text, message):
    assert re.search(message, error_of(put(tmp_path / "a.txt", text)))


# ---- other details of formats


def test_npz_names_and_only_table(tmp_path):
    for name in ("points", "xyz", "pts", "pos"):
        np.savez(tmp_path / "a.npz", **{name: BALL, "other": np.zeros((2, 2))})
        np.testing.assert_array_equal(read_points(tmp_path / "a.npz"), BALL)
    np.savez(tmp_path / "a.npz", foo=BALL, label=np.zeros(3))
    np.testing.assert_array_equal(read_points(tmp_path / "a.npz"), BALL)
    np.savez(tmp_path / "a.npz", foo=BALL, bar=BALL)
    assert "foo (64, 3), bar (64, 3)" in error_of(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", points=BALL, labels=np.zeros(3))
    assert "'labels' has shape (3,)" in error_of(tmp_path / "a.npz")


def test_npy_of_more_columns_other_types_and_records(tmp_path):
    path = tmp_path / "a.npy"
    for array in (np.hstack([BALL, BALL]), BALL.astype(">f4"), BALL.astype(np.longdouble)):
        np.save(path, array)
        np.testing.assert_array_equal(read_points(path), BALL)
        assert read_cloud(path).points.dtype.isnative
    records = np.zeros(64, dtype=[("t", "f8"), ("x", "f4"), ("y", "f4"), ("z", "f4")])
    records["x"], records["y"], records["z"] = BALL.T
    np.save(path, records)
    np.testing.assert_array_equal(read_points(path), BALL)


def test_pcd_colours_and_unmeasured_pixels(tmp_path):
    head = (
        "VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
        "WIDTH 2\nHEIGHT {}\nPOINTS {}\nDATA binary\n"
    )
    packed = struct.unpack("<f", struct.pack("<I", 255 << 16 | 51))[0]
    body = struct.pack("<4f", 1, 2, 3, packed) + struct.pack("<4f", *[np.nan] * 3, 0)
    cloud = read_cloud(put(tmp_path / "a.pcd", head.format(2, 4).encode() + body * 2))
    np.testing.assert_array_equal(cloud.points, [(1, 2, 3)] * 2)
    np.testing.assert_allclose(cloud.colors, [(1, 0, 0.2)] * 2)
    path = put(tmp_path / "b.pcd", head.format(1, 2).encode() + body)
    assert "1 of 2 points" in error_of(path, PointCloudError)


@given(
    data=st.binary(max_size=600)
    | st.lists(st.sampled_from([b"abc", b"ab", b"\0" * 90])).map(b"".join)
)
def test_lzf_undoes_compression(data):
    assert lzf_decompress(look_alike.lzf_compress(data), len(data)) == data


@given(data=st.binary(max_size=60), size=st.integers(0, 200))
def test_lzf_of_anything_ends(data, size):
    with suppress(FileFormatError, IndexError):
        assert len(lzf_decompress(data, size)) == size


def test_obj_colours_and_continued_lines(tmp_path):
    text = "v 0 0 0 1 0 0\nv 1 0 0 0 \\\n 1 0\nv 0 1 0 0 0 1\nf 1 2 3\nl 1 2\n"
    cloud = read_cloud(put(tmp_path / "a.obj", text))
    np.testing.assert_array_equal(cloud.colors, np.eye(3))
    np.testing.assert_array_equal(cloud.faces, [(0, 1, 2)])


def test_off_variants(tmp_path):
    text = "COFF\n3 2 0\n0 0 0 255 0 0 255\n1 0 0 0 0 0 0\n0 1 0 0 0 0 0\n3 0 1 2 255 0 0\n2 0 1\n"
    cloud = read_cloud(put(tmp_path / "a.off", text))
    np.testing.assert_array_equal(cloud.points, [(0, 0, 0), (1, 0, 0), (0, 1, 0)])
    np.testing.assert_array_equal(cloud.faces, [(0, 1, 2)])


def test_ply_comments_may_hold_any_letter(tmp_path):
    path = look_alike.write(tmp_path, "ply-little")
    path.write_bytes(path.read_bytes().replace(b"hand-made", "Gebäude".encode("latin-1")))
    np.testing.assert_array_equal(read_points(path), BALL)


def test_damaged_laz_tables_do_not_end_the_process(tmp_path):
    path = look_alike.write(tmp_path, "laz")
    data = bytearray(path.read_bytes())
    (points_at,) = struct.unpack_from("<I", data, 96)
    (table_at,) = struct.unpack_from("<q", data, points_at)
    struct.pack_into("<I", data, table_at + 4, 2**32 - 1)
    assert "table of compressed chunks" in error_of(put(path, bytes(data)))
    struct.pack_into("<I", data, 100, 2**32 - 1)  # and the number of records in the header
    assert "damaged header" in error_of(put(path, bytes(data)))


def test_a_panic_of_lazrs_is_an_error_of_ours(tmp_path, monkeypatch):
    laspy = pytest.importorskip("laspy")
    path = look_alike.write(tmp_path, "laz")

    class PanicException(BaseException):  # named as pyo3 names its own, which cannot be imported
        pass

    def panic(*_, **__):
        raise PanicException("index out of bounds")

    monkeypatch.setattr(laspy, "open", panic)
    assert error_of(path) == "has damaged compressed data"


def test_las_colours_and_missing_library(tmp_path, monkeypatch):
    laspy = pytest.importorskip("laspy")
    las = laspy.LasData(laspy.LasHeader(version="1.2", point_format=3))
    las.x = las.y = las.z = np.arange(3.0)
    las.red = np.array([65535, 0, 13107])
    las.write(tmp_path / "a.las")
    np.testing.assert_allclose(read_cloud(tmp_path / "a.las").colors[:, 0], [1, 0, 0.2])
    monkeypatch.setitem(sys.modules, "laspy", None)
    assert "pip install 'pointadapt[las]'" in error_of(tmp_path / "a.las")


# ---- map coordinates


@pytest.mark.parametrize("suffix", io.WRITABLE)
def test_millimetres_of_map_coordinates_survive(tmp_path, suffix):
    rng = np.random.default_rng(0)
    local = np.round(rng.uniform(-20, 20, (500, 3)), 3)
    points = local + np.array([500_000, 5_200_000, 250])
    write_points(tmp_path / f"a{suffix}", points)
    found = read_points(tmp_path / f"a{suffix}")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found - found[0], local - local[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.median(found, axis=0), 0, atol=1e-5)
    np.testing.assert_array_equal(read_points(tmp_path / f"a{suffix}", n=100).shape, (100, 3))


def test_map_coordinates_of_a_mesh_survive(tmp_path):
    path = look_alike.write(tmp_path, "obj", points=CORNERS + np.array([500_000, 5_200_000, 250]))
    found = read_points(path, n=2000)
    on_a_side = np.isclose(np.abs(found), (0.5, 1, 1.5), atol=1e-5).any(axis=1)
    assert on_a_side.all()


def test_nearby_coordinates_are_kept(tmp_path):
    write_points(tmp_path / "a.npy", BALL + np.float32(100))
    np.testing.assert_array_equal(read_points(tmp_path / "a.npy"), BALL + np.float32(100))
    write_points(tmp_path / "a.npy", BALL.astype(np.float64) * 1e60)
    assert "too large" in error_of(tmp_path / "a.npy", PointCloudError)


# ---- choosing points


def test_sample_points(tmp_path):
    rng = np.random.default_rng(0)
    chosen = io.sample_points(BALL, 10, rng)
    assert len(np.unique(chosen, axis=0)) == 10
    assert {*map(tuple, chosen)} <= {*map(tuple, BALL)}
    np.testing.assert_array_equal(io.sample_points(BALL, 64, rng), BALL)
    more = io.sample_points(BALL, 100, rng)
    np.testing.assert_array_equal(more[:64], BALL)
    assert {*map(tuple, more)} == {*map(tuple, BALL)}
    with pytest.raises(ConfigError):
        io.sample_points(BALL, 0, rng)
    with pytest.raises(PointCloudError):
        io.sample_points(BALL[:0], 4, rng)
    with pytest.raises(UnknownNameError, match="did you mean 'fps'"):
        read_points(look_alike.write(tmp_path, "npy"), n=4, sampling="fsp")


def test_n_and_seed(tmp_path):
    for form in ("npy", "off"):
        path = look_alike.write(tmp_path, form)
        first, again, other = (read_points(path, n=32, seed=s) for s in (0, 0, 1))
        assert first.shape == (32, 3)
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
        with pytest.raises(ConfigError):
            read_points(path, n=-1)
    assert read_points(path).shape == (io.MESH_POINTS, 3)


def test_fps_spreads_points(tmp_path):
    rng = np.random.default_rng(0)
    write_points(tmp_path / "a.npy", np.vstack([rng.normal(0, 0.01, (300, 3)), CORNERS * 10]))
    found = read_points(tmp_path / "a.npy", n=40, sampling="fps")
    assert {*map(tuple, CORNERS[1:] * 10)} <= {*map(tuple, found)}
    mesh = read_points(look_alike.write(tmp_path, "off"), n=64, sampling="fps")
    gaps = np.linalg.norm(mesh[:, None] - mesh, axis=2) + 9 * np.eye(64)
    assert gaps.min() > 0.2


def test_surfaces_are_sampled_by_area():
    points = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 5), (3, 0, 5), (0, 3, 5)])
    faces = np.array([(0, 1, 2), (3, 4, 5), (0, 1, 1)])
    found = io.sample_surface(points, faces, 20_000, np.random.default_rng(0))
    assert abs((found[:, 2] == 5).mean() - 0.9) < 0.01
    x, y = found[found[:, 2] == 5, :2].T
    assert (x + y).max() <= 3 + 1e-9
    np.testing.assert_allclose((x.mean(), y.mean()), 1, atol=0.03)  # the triangle's centroid
    np.testing.assert_allclose(np.var(x), 9 / 18, atol=0.02)


def test_a_mesh_without_area_is_sampled_at_its_vertices():
    points = np.array([(0.0, 0, 0), (1, 0, 0), (2, 0, 0)])
    found = io.sample_surface(points, np.array([(0, 1, 2)]), 10, np.random.default_rng(0))
    assert {*map(tuple, found)} == {*map(tuple, points)}


# ---- bad files


def test_missing_empty_folder_and_unknown_ending(tmp_path):
    assert error_of(tmp_path / "none.ply") == "does not exist"
    assert error_of(put(tmp_path / "empty.ply", b"")) == "is empty"
    assert "is a folder" in error_of(tmp_path)
    assert ".ply" in error_of(put(tmp_path / "a.docx", b"x"))


def test_a_file_we_may_not_read(tmp_path, monkeypatch):
    path = look_alike.write(tmp_path, "ply-ascii")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied" in error_of(path)


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 4


@pytest.mark.parametrize("suffix", io.SUFFIXES)
def test_files_that_are_not_what_their_name_says(tmp_path, suffix):
    assert "it looks like a JPEG picture" in error_of(put(tmp_path / f"a{suffix}", JPEG))
    page = "<!DOCTYPE html><html>not found</html>"
    assert "it looks like a web page" in error_of(put(tmp_path / f"b{suffix}", page))
    error_of(put(tmp_path / f"c{suffix}", "one two three"))
    error_of(put(tmp_path / f"d{suffix}", b"\x80"))


@pytest.mark.parametrize(
    "form",
    [
        "npy",
        "npz",
        "ply-little",
        "ply-big",
        "ply-ascii",
        "pcd-ascii",
        "pcd-binary",
        "pcd-compressed",
        "las",
        "laz",
        "pts-count",
        "off-cloud",
        *look_alike.MESHES,
    ],
)
def test_files_cut_short(tmp_path, form):
    path = look_alike.write(tmp_path, form)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        if form == "obj" and share > 0.5:
            continue  # without the last lines an OBJ is still one
        error_of(path)


@pytest.mark.parametrize("form", [*look_alike.CLOUDS, *look_alike.MESHES])
def test_damage_is_an_error_of_ours_or_harmless(tmp_path, form):
    path = look_alike.write(tmp_path, form)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(25):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole) if rng.random() < 0.5 else min(300, len(whole)), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert np.isfinite(read_points(path, n=16)).all()
        except (FileFormatError, PointCloudError) as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_are_never_run(tmp_path):
    harm = tmp_path / "harm"
    np.save(tmp_path / "a.npy", np.array([Harm(harm)], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", points=np.array([Harm(harm)], dtype=object))
    put(tmp_path / "b.npy", pickle.dumps(Harm(harm)))
    for name in ("a.npy", "a.npz", "b.npy"):
        message = error_of(tmp_path / name)
        assert "Python objects (a pickle), which could run code" in message
        error_of(put(tmp_path / "c.txt", (tmp_path / name).read_bytes()))
        assert not harm.exists()
    pickle.loads(pickle.dumps(Harm(harm))).close()
    assert harm.exists()  # so the trap works


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 2)), "has shape (4, 2): one cloud of shape (N, 3) is needed"),
        (np.zeros((2, 4, 3)), "has shape (2, 4, 3)"),
        (np.zeros((3, 1024)), "has shape (3, 1024): transpose it"),
        (np.zeros((4, 3), complex), "holds complex128, not numbers"),
        (np.array([["a", "b", "c"]]), "not numbers"),
    ],
)
def test_bad_arrays(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    assert message in error_of(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "form", ["npy", "txt", "csv", "ply-ascii", "ply-big", "pcd-binary", "off-cloud"]
)
def test_nan_and_infinity_are_counted(tmp_path, form):
    points = BALL.copy()
    points[[7, 20]], points[9, 1] = np.nan, -np.inf
    message = error_of(look_alike.write(tmp_path, form, points=points), PointCloudError)
    assert "3 of 64 points, first in row 7 (counted from 0)" in message


def test_too_few_points(tmp_path):
    path = look_alike.write(tmp_path, "ply-ascii", points=BALL[:5])
    message = "has 5 points, fewer than 6: leave the file out, or scan it more densely"
    assert error_of(path, PointCloudError, minimum=6) == message
    assert len(read_points(path, minimum=5)) == 5
    np.save(tmp_path / "a.npy", BALL[:0])
    assert error_of(tmp_path / "a.npy", PointCloudError) == "has no points"


PCD = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 1\nDATA {}\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n", "face with vertex 9"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 x 0\n0 1 0\n3 0 1 2\n", "'1 x 0' for vertex 1"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n", "face 0 of 3 vertices, not 4"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 x\n", "'0 1 x' for face 0"),
        ("a.off", "OFF\nthree\n", "numbers of vertices and faces"),
        ("a.off", "OFF BINARY\n", "is OFF BINARY, which is not read"),
        ("a.off", "PLOFF\n", "does not begin with OFF"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "face with vertex 8"),
        ("a.obj", "v 0 0\n", "'0 0' for vertex 0"),
        ("a.obj", "f 1 2 3\n", "no 'v x y z' line"),
        ("a.stl", "solid a\nendsolid a\n", "has no points"),
        ("a.pcd", "FIELDS x y z\nDATA ascii\n", "lacks SIZE, TYPE, WIDTH"),
        ("a.pcd", PCD.format("ascii") + "1 2\n", "has 2 numbers in a line, its header 3"),
        ("a.pcd", PCD.format("ascii"), "promises 1 points but holds 0"),
        ("a.pcd", PCD.format("binary"), "cut short: 0 of 12 bytes"),
        ("a.pcd", PCD.format("zip"), "only ascii, binary and binary_compressed"),
        ("a.pcd", PCD.format("ascii").replace("4 4 4", "4 4"), "damaged PCD header"),
        ("a.ply", "ply\nformat ascii 1.0\nelement face 0\nend_header\n", "no 'vertex' element"),
        (
            "a.ply",
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty float u\nend_header\n1\n",
            "has no columns x, y, z: only u",
        ),
    ],
)
def test_bad_meshes_and_headers(tmp_path, name, text, message):
    assert message in error_of(put(tmp_path / name, text), PointAdaptError)


@pytest.mark.parametrize("share", [0.5, 0.503])
def test_a_las_file_cut_short_says_how_many_points_are_left(tmp_path, share):
    pytest.importorskip("laspy")
    path = tmp_path / "a.las"
    write_cloud(path, Cloud(np.random.default_rng(0).normal(size=(1000, 3))))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FileFormatError, match=r"a\.las: is cut short: holds \d+ of 1,000 points"):
        read_cloud(path)
