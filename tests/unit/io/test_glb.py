"""Binary glTF: packed numbers, points, places in the scene, and what is not read.

Files are put together here by the specification, or by trimesh, which also reads what it can.
"""

import json
import struct

import numpy as np
import pytest

from pointadapt.io import read_cloud, read_points

BOX = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
FACES = np.array([
    (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
    (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
])  # fmt: skip
CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}


def glb(described, binary=b""):
    described = {"asset": {"version": "2.0"}, "scene": 0, **described}
    described.setdefault("scenes", [{"nodes": list(range(len(described.get("nodes", []))))}])
    text = json.dumps(described).encode()
    text, binary = text + b" " * (-len(text) % 4), binary + bytes(-len(binary) % 4)
    size = 12 + 8 + len(text) + 8 + len(binary)
    head = struct.pack("<4sIII4s", b"glTF", 2, size, len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary


def parts(*arrays, normalized=()):
    """Accessors, views and the binary of arrays (count, width)."""
    accessors, views, binary = [], [], b""
    for k, array in enumerate(arrays):
        kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}[array.shape[1]]
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": array.nbytes})
        accessors.append({
            "bufferView": k, "componentType": CODES[array.dtype.str[1:]], "count": len(array),
            "type": kind, "normalized": k in normalized,
        })  # fmt: skip
        binary += array.tobytes() + bytes(-array.nbytes % 4)
    about = {
        "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(binary)}]
    }  # fmt: skip
    return about, binary


def box(points, nodes=({"mesh": 0},), normalized=(), **more):
    about, binary = parts(points, FACES.astype("<u2").reshape(-1, 1), normalized=normalized)
    mesh = {"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}
    return glb({**about, "meshes": [mesh], "nodes": list(nodes), **more}, binary)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2"])
def test_normalised_whole_numbers_are_divided(put, kind):
    top = np.iinfo(kind).max
    stored = (BOX * top).astype("<" + kind)
    if stored.dtype.kind == "i":
        stored[0] = np.iinfo(kind).min  # means -1, too
    cloud = read_cloud(put("a.glb", box(stored, normalized={0})))
    expected = np.maximum(stored / top, -1)
    np.testing.assert_allclose(cloud.points, expected)
    np.testing.assert_array_equal(cloud.faces, FACES)
    plain = read_cloud(put("b.glb", box((BOX * 10).astype("<" + kind))))
    np.testing.assert_array_equal(plain.points, BOX * 10)


def test_nodes_move_turn_and_scale(put):
    half = np.sqrt(0.5)
    nodes = [
        {"children": [1], "translation": [10, 0, 0], "rotation": [0, 0, half, half]},
        {"mesh": 0, "scale": [2, 1, 1]},
        {"mesh": 0, "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 5, 1]},
    ]
    data = box(BOX.astype("<f4"), nodes, scenes=[{"nodes": [0, 2]}])
    cloud = read_cloud(put("a.glb", data))
    turned = np.stack([10 - BOX[:, 1], 2 * BOX[:, 0], BOX[:, 2]], axis=1)
    other = BOX * [1, 1, 3] + [0, 0, 5]
    np.testing.assert_allclose(cloud.points, np.vstack([turned, other]), atol=1e-12)
    np.testing.assert_array_equal(cloud.faces, np.vstack([FACES, FACES + 8]))


def test_trimesh_and_we_read_the_same_scene(put):
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.Scene([trimesh.creation.icosphere(2)])
    turn = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3], [4, 5, 6])
    scene.add_geometry(trimesh.creation.cylinder(1, 2), transform=turn)
    path = put("a.glb", scene.export(file_type="glb"))
    theirs = trimesh.load(path, force="mesh", process=False)
    ours = read_cloud(path)
    corners = (np.asarray(theirs.vertices)[theirs.faces], ours.points[ours.faces])
    a, b = (np.sort(c.reshape(len(c), 9).round(5), axis=0) for c in corners)
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_points_are_read_with_their_colours(put, scan):
    colours = np.tile(np.array([[255, 0, 51, 255]], "u1"), (len(scan), 1))
    about, binary = parts(scan.astype("<f4"), colours, normalized={1})
    mesh = {"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "mode": 0}]}
    path = put("a.glb", glb({**about, "meshes": [mesh], "nodes": [{"mesh": 0}]}, binary))
    cloud = read_cloud(path)
    assert cloud.faces is None
    np.testing.assert_array_equal(cloud.points, scan.astype(np.float32))
    np.testing.assert_allclose(cloud.colors, np.tile([[1, 0, 0.2]], (len(scan), 1)), atol=1e-6)
    np.testing.assert_array_equal(read_points(path), scan.astype(np.float32))


@pytest.mark.parametrize(
    ("mode", "faces"),
    [(5, [(0, 1, 2), (2, 1, 3)]), (6, [(0, 1, 2), (0, 2, 3)]), (4, [(0, 1, 2)])],
)
def test_strips_and_fans(put, mode, faces):
    about, binary = parts(BOX[[0, 4, 2, 6]].astype("<f4"))
    mesh = {"primitives": [{"attributes": {"POSITION": 0}, "mode": mode}]}
    cloud = read_cloud(
        put("a.glb", glb({**about, "meshes": [mesh], "nodes": [{"mesh": 0}]}, binary))
    )
    found = {tuple(np.roll(f, -int(np.argmin(f)))) for f in cloud.faces}
    assert found == {tuple(np.roll(f, -int(np.argmin(f)))) for f in faces}  # seen from one side


def test_sparse_arrays(put):
    about, binary = parts(BOX.astype("<f4"), FACES.astype("<u2").reshape(-1, 1),
                          np.array([[2], [5]], "<u2"), np.full((2, 3), 9, "<f4"))  # fmt: skip
    about["accessors"][0]["sparse"] = {
        "count": 2, "indices": {"bufferView": 2, "componentType": 5123},
        "values": {"bufferView": 3},
    }  # fmt: skip
    mesh = {"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}
    cloud = read_cloud(
        put("a.glb", glb({**about, "meshes": [mesh], "nodes": [{"mesh": 0}]}, binary))
    )
    expected = BOX.copy()
    expected[[2, 5]] = 9
    np.testing.assert_array_equal(cloud.points, expected)


@pytest.mark.parametrize(
    "name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression", "VENDOR_bend_space"]
)
def test_extensions_that_are_needed_and_not_read_are_named(put, refused, name):
    data = box(BOX.astype("<f4"), extensionsRequired=["KHR_materials_unlit", name])
    assert name in refused(put("a.glb", data))
    plain = box(BOX.astype("<f4"), extensionsUsed=[name])  # there is a plain form beside it
    assert len(read_cloud(put("b.glb", plain))) == 8


def test_data_in_an_extension_alone_are_no_zeros(put, refused):
    about, binary = parts(BOX.astype("<f4"), FACES.astype("<u2").reshape(-1, 1))
    for accessor in about["accessors"]:
        del accessor["bufferView"]
    inside = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    mesh = {"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "extensions": inside}]}
    data = glb({**about, "meshes": [mesh], "nodes": [{"mesh": 0}]}, binary)
    assert "KHR_draco_mesh_compression" in refused(put("a.glb", data))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["accessors"][0].update(count=900), "bytes of an array"),
        (lambda d: d["accessors"][0].update(count=10**9), "would take 24.00 GB of memory"),
        (lambda d: d["accessors"][0].pop("bufferView") or d["accessors"][0].update(count=10**6),
         "is cut short"),
        (lambda d: d["accessors"][1].update(count=35, componentType=5126), "cut short"),
        (lambda d: d["nodes"][0].update(children=[0]), "node 0 is in it twice"),
        (lambda d: d["nodes"][0].update(mesh=7), "has no meshes number 7"),
        (lambda d: d["buffers"][0].update(uri="other.bin"), "keeps its data in 'other.bin'"),
        (lambda d: d["nodes"][0].pop("mesh"), "no mesh and no points"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(put, refused, change, said):
    data = box(BOX.astype("<f4"))
    (size,) = struct.unpack_from("<I", data, 12)
    described = json.loads(data[20 : 20 + size])
    change(described)
    assert said in refused(put("a.glb", glb(described, data[28 + size :])))


def test_many_copies_of_a_mesh_are_refused_before_they_are_made(put, refused):
    points = np.random.default_rng(0).normal(size=(3000, 3)).astype("<f4")
    about, binary = parts(points)
    mesh = {"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}
    nodes = [{"mesh": 0}] * 5000
    data = glb({**about, "meshes": [mesh], "nodes": nodes}, binary)
    assert "would take 360.0 MB of memory" in refused(put("a.glb", data))


def test_other_versions_and_deep_nesting_are_refused(put, refused):
    data = bytearray(box(BOX.astype("<f4")))
    struct.pack_into("<I", data, 4, 1)
    assert "glTF of version 1" in refused(put("a.glb", bytes(data)))
    text = b"[" * 100_000 + b"]" * 100_000
    deep = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text
    assert "damaged description" in refused(put("b.glb", deep))
