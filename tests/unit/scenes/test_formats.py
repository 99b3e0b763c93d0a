"""Each format comes back with its labels changed and every other byte as it was."""

import numpy as np
import pytest

from pointadapt.io import Cloud, read_cloud, write_cloud
from pointadapt.scenes import Tiling, label_scene, open_scene

CLASSES, CODES = ("low", "high"), (2, 6)
TILING = Tiling(block=15, overlap=0.5, points=512, passes=0)


def run(path, scene, **options):
    out = path.with_name(f"out{path.suffix}")
    before = path.read_bytes()
    label_scene(path, out, scene.rule, CLASSES, TILING, codes=CODES, **options)
    assert path.read_bytes() == before
    assert {p.name for p in path.parent.iterdir()} == {path.name, out.name}
    return before, out


def wanted(scene):
    return np.array(CODES)[scene.truth]


@pytest.mark.parametrize(("form", "at", "bits"), [(3, 15, 0x1F), (2, 15, 0x1F), (7, 16, 0xFF)])
def test_las_differs_in_the_bits_of_the_classification_alone(scene, las, form, at, bits):
    before, out = run(las(scene, form=form), scene)
    old, new = np.frombuffer(before, np.uint8), np.fromfile(out, np.uint8)
    start, width = (
        int.from_bytes(before[96:100], "little"),
        int.from_bytes(before[105:107], "little"),
    )
    end = start + width * len(scene.xyz)
    assert (old[:start] == new[:start]).all()
    assert (old[end:] == new[end:]).all()
    old, new = (x[start:end].reshape(-1, width) for x in (old, new))
    np.testing.assert_array_equal(new[:, at] & bits, wanted(scene))
    mask = np.full(width, 0xFF, np.uint8)
    mask[at] = 0xFF ^ bits
    np.testing.assert_array_equal(old & mask, new & mask)


@pytest.mark.parametrize("form", [3, 7])
@pytest.mark.parametrize("field", [None, "label", "amplitude"])
@pytest.mark.parametrize("name", ["scene.las", "scene.laz"])
def test_laspy_finds_the_labels_and_all_else_unchanged(scene, las, name, field, form):
    import laspy

    path = las(scene, name, form)
    _, out = run(path, scene, field=field)
    old, new = laspy.read(path), laspy.read(out)
    label = field or "classification"
    np.testing.assert_array_equal(new[label], wanted(scene))
    for name in old.point_format.dimension_names:
        if name != label:
            np.testing.assert_array_equal(old[name], new[name], err_msg=name)
    assert [
        n for n in new.point_format.dimension_names if n not in [*old.point_format.dimension_names]
    ] == (["label"] if field == "label" else [])
    for a, b in ((old.header.vlrs, new.header.vlrs), (old.evlrs or [], new.evlrs or [])):
        kept = [v for v in a if v.user_id == "someone"]
        assert [v.record_data for v in kept] == [v.record_data for v in b if v.user_id == "someone"]
    for key in ("scales", "offsets", "mins", "maxs", "number_of_points_by_return"):
        np.testing.assert_array_equal(getattr(old.header, key), getattr(new.header, key))
    for key in ("generating_software", "system_identifier", "creation_date", "version", "uuid"):
        assert getattr(old.header, key) == getattr(new.header, key)


def test_laz_keeps_header_and_records_byte_by_byte(scene, las):
    before, out = run(las(scene, "scene.laz"), scene)
    start, after = int.from_bytes(before[96:100], "little"), out.read_bytes()
    assert before[:235] == after[:235]  # what follows says where the records after the points are
    assert before[243:start] == after[243:start]
    assert before[-300:] == after[-300:] == b"z" * 300


def test_undescribed_extra_bytes_stay_before_a_new_field(scene, las):
    import laspy

    path = las(scene, form=3)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"LASF_Spec")
    raw[at : at + 9] = b"something"  # nobody describes the amplitude now
    path.write_bytes(raw)
    _, out = run(path, scene, field="label")
    new = laspy.read(out)
    np.testing.assert_array_equal(new["label"], wanted(scene))
    old = np.frombuffer(raw, np.uint8)[-len(scene.xyz) * 38 :].reshape(-1, 38)
    points = np.fromfile(out, np.uint8)[-len(scene.xyz) * 39 :].reshape(-1, 39)
    np.testing.assert_array_equal(points[:, :38], old)


PLY = [
    ("x", "f8"),
    ("y", "f8"),
    ("z", "f8"),
    ("quality", "f4"),
    ("scalar_Label", "i4"),
    ("id", "u4"),
]


def ply(path, scene, text, order, label):
    from plyfile import PlyData, PlyElement

    fields = [f for f in PLY if label or f[0] != "scalar_Label"]
    table = np.empty(len(scene.xyz), fields)
    table["x"], table["y"], table["z"] = scene.xyz.T
    table["quality"] = np.random.default_rng(0).random(len(table))
    table["id"] = np.arange(len(table))
    if label:
        table["scalar_Label"] = -1
    camera = PlyElement.describe(np.array([(1.5, 2)], [("view", "f4"), ("n", "u1")]), "camera")
    faces = np.array([([0, 1, 2],), ([3, 4, 5, 6],)], dtype=[("vertex_indices", "O")])
    faces = PlyElement.describe(faces, "face")
    vertices = PlyElement.describe(table, "vertex", comments=["about vertices"])
    PlyData([camera, vertices, faces], text=text, byte_order=order, comments=["ours"]).write(path)


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize(("text", "order"), [(False, "<"), (False, ">"), (True, "=")])
def test_ply_keeps_other_properties_and_elements(scene, tmp_path, text, order, label):
    from plyfile import PlyData

    path = tmp_path / "scene.ply"
    ply(path, scene, text, order, label)
    before, out = run(path, scene)
    old, new, after = PlyData.read(path), PlyData.read(out), out.read_bytes()
    name = "scalar_Label" if label else "label"
    np.testing.assert_array_equal(new["vertex"][name], wanted(scene))
    for kept in (p.name for p in old["vertex"].properties if p.name != name):
        np.testing.assert_array_equal(old["vertex"][kept], new["vertex"][kept])
    assert old["camera"].data == new["camera"].data
    assert old.comments == new.comments and old["vertex"].comments == new["vertex"].comments
    head, end = before.index(b"end_header\n"), b"end_header\n"
    extra = b"" if label else b"property uchar label\n"
    assert after[: after.index(end)].replace(extra, b"") == before[:head]
    faces = b"3 0 1 2\n4 3 4 5 6\n" if text else before[-30:]
    assert before.endswith(faces) and after.endswith(faces)
    if label and not text:
        assert len(before) == len(after)
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= 4 * len(scene.xyz)


def test_npy_replaces_or_appends_a_column(scene, tmp_path):
    path = tmp_path / "scene.npy"
    more = np.random.default_rng(0).random((len(scene.xyz), 2))
    for array in (np.c_[scene.xyz, more], np.asfortranarray(np.c_[scene.xyz, more])):
        np.save(path, array)
        _, out = run(path, scene)
        np.testing.assert_array_equal(np.load(out), np.c_[array, wanted(scene)])
        _, out = run(path, scene, field="4")
        np.testing.assert_array_equal(np.load(out), np.c_[array[:, :4], wanted(scene)])


@pytest.mark.parametrize("column", ["label", "other"])
def test_structured_npy_keeps_its_fields(scene, tmp_path, column):
    path, shape = tmp_path / "scene.npy", [("x", "f8"), ("y", "f8"), ("z", "f8"), (column, "i2")]
    table = np.zeros(len(scene.xyz), shape)
    table["x"], table["y"], table["z"] = scene.xyz.T
    np.save(path, table)
    _, out = run(path, scene)
    new = np.load(out)
    np.testing.assert_array_equal(new["label"], wanted(scene))
    for name in table.dtype.names:
        if name != "label":
            np.testing.assert_array_equal(table[name], new[name])


TEXTS = {
    "bare.txt": ("", " ", "\n", 3, None),
    "header.txt": ("x y z Label intensity\n", " ", "\n", 5, 3),
    "comment.txt": ("# x y z Label intensity\n\n", "\t", "\n", 5, 3),
    "semicolon.csv": ("X;Y;Z;intensity;class\r\n", ";", "\r\n", 5, 4),
    "comma.csv": ("x,y,z,intensity\n", ",", "\n", 4, None),
    "count.pts": ("6000\n", " ", "\n", 4, None),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_keeps_every_byte_around_the_label(scene, tmp_path, name):
    head, gap, end, width, place = TEXTS[name]
    rows = [[f"{v:.3f}" for v in xyz] + ["7.50"] * (width - 3) for xyz in scene.xyz]
    lines = [gap.join(row) + end for row in rows]
    lines[5] = lines[5][: -len(end)] + "  # a remark" + end if "#" in head else lines[5]
    lines.insert(9, end)
    path = tmp_path / name
    path.write_bytes((head + "".join(lines)).encode())
    _, out = run(path, scene)
    labels = wanted(scene)
    want = []
    for k, row in enumerate(rows):
        cells = [*row, str(labels[k])] if place is None else row
        if place is not None:
            cells = [*row[:place], str(labels[k]), *row[place + 1 :]]
        note = "  # a remark" if k == 5 and "#" in head else ""
        want.append(gap.join(cells) + note + end)
    want.insert(9, end)
    if place is None and "x" in head:
        head = head[: -len(end)] + gap + "label" + end
    assert out.read_bytes().decode() == head + "".join(want)


def test_decimal_commas_are_read(scene, tmp_path):
    path = tmp_path / "scene.txt"
    lines = [" ".join(f"{v:.3f}".replace(".", ",") for v in xyz) for xyz in scene.xyz]
    path.write_text("\n".join(lines))
    _, out = run(path, scene)
    new = out.read_text().split("\n")
    assert [line.rsplit(" ", 1)[0] for line in new] == lines
    np.testing.assert_array_equal([int(line.rsplit(" ", 1)[1]) for line in new], wanted(scene))


@pytest.mark.parametrize("name", ["s.las", "s.laz", "s.ply", "a.ply", "s.npy", "s.txt", "s.csv"])
def test_every_format_gives_the_coordinates_that_read_cloud_gives(scene, las, tmp_path, name):
    path = tmp_path / name
    if path.suffix in (".las", ".laz"):
        las(scene, name)
    else:
        write_cloud(path, Cloud(scene.xyz), ascii=name == "a.ply")
    parts = list(open_scene(path).chunks((), 1000))
    assert len(parts) >= 6 or path.suffix in (".txt", ".csv")
    xyz = np.concatenate([xyz for xyz, _ in parts])
    assert xyz.dtype == np.float64
    np.testing.assert_array_equal(xyz, read_cloud(path).points)
