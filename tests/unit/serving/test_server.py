"""``pointadapt serve``: a real process, asked over HTTP."""

import io
import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pointadapt.inference.predict import predict
from pointadapt.io import read_cloud, write_points


@pytest.fixture
def cloud(tmp_path):
    points = np.random.default_rng(3).uniform(-1, 1, (90, 3)).astype(np.float32)
    return write_points(tmp_path / "my chair.ply", points) or tmp_path / "my chair.ply"


def put(server, adapter, file):
    name = file.name.replace(" ", "%20")
    return server.ask(f"/predict/{adapter}/{name}", file.read_bytes(), "PUT")


def test_health_adapters_and_openapi(server):
    assert server.ask("/health", token="").told["status"] == "ok"
    found = {row["name"]: row for row in server.ask("/adapters").told}
    assert {name: row["labels_points"] for name, row in found.items()} == {
        "parts": True, "scenes": True, "shapes": False,
    }  # fmt: skip
    assert "chair" in found["shapes"]["classes"]
    paths = server.ask("/openapi.json", token="").told["paths"]
    assert {"/health", "/adapters", "/metrics", "/predict/{adapter}"} <= paths.keys()


def test_a_file_gets_the_answer_of_the_command_line(server, served, cloud):
    (want,) = predict([cloud], served / "adapters" / "shapes", top=5)
    got = put(server, "shapes", cloud)
    assert got.status == 200
    assert got.told["file"] == "my chair.ply"
    assert got.told["label"] == want.label
    assert got.told["top"][0] == [want.top[0][0], pytest.approx(want.top[0][1], abs=1e-6)]
    assert "path" not in got.told
    assert not server.files


def test_notes_on_a_file_are_told_with_its_answer_and_to_nobody_else(server):
    head = ["ply", "format ascii 1.0", "element vertex 90"]
    head += [f"property float {axis}" for axis in "xyz"]
    head += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    points = np.random.default_rng(0).uniform(-1, 1, (90, 3))
    body = "\n".join([*head, *(" ".join(map(str, p)) for p in points), "3 0 1 2", ""]).encode()
    got = server.ask("/predict/shapes?file=my.ply", body)
    assert got.status == 200, got.body
    (note,) = got.told["notes"]
    assert note.startswith("my.ply: its 1 face") and "save it without faces" in note
    parts = server.ask("/predict/parts/my.ply?category=chair", body, "PUT")
    assert json.loads(parts.headers["x-pointadapt-answer"])["notes"] == [note]
    assert server.errors.read_text() == ""


def test_points_as_json_and_as_an_array(server, cloud):
    points = read_cloud(cloud).points
    want = put(server, "shapes", cloud).told["label"]
    body = json.dumps({"points": points.tolist()}).encode()
    got = server.ask("/predict/shapes", body, **{"Content-Type": "application/json"})
    assert got.told["label"] == want
    array = io.BytesIO()
    np.save(array, points)
    assert server.ask("/predict/shapes", array.getvalue()).told["label"] == want
    for bad in (b'{"points": [[1, 2], [3]]}', b"[" * 100_000, b'{"points": "x"}', b"{}"):
        got = server.ask("/predict/shapes", bad, **{"Content-Type": "application/json"})
        assert got.status == 422 and got.told["error"].count("\n") == 0


def test_parts_come_back_in_the_files_own_format(server, cloud, tmp_path):
    got = server.ask("/predict/parts/my%20chair.ply?category=chair", cloud.read_bytes(), "PUT")
    assert got.status == 200, got.body
    assert got.headers["content-disposition"].endswith('"my_chair_labelled.ply"')
    (tmp_path / "got.ply").write_bytes(got.body)
    labelled = read_cloud(tmp_path / "got.ply")
    np.testing.assert_allclose(labelled.points, read_cloud(cloud).points, atol=1e-5)
    summary = json.loads(got.headers["x-pointadapt-answer"])
    names = {summary["names"][k] for k in labelled.labels}
    assert names == {name for name, _ in summary["shares"]}
    told = put(server, "parts", cloud)
    assert told.status == 422 and "pass --category" in told.told["error"]
    assert str(server.temp) not in told.told["error"]
    assert not server.files


def test_scenes_come_back_with_the_labels_alone_changed(server, served, tmp_path):
    laspy = pytest.importorskip("laspy")
    got = server.send("scenes", served / "scene.las")
    assert got.status == 200, got.body
    (tmp_path / "got.las").write_bytes(got.body)
    old, new = laspy.read(served / "scene.las"), laspy.read(tmp_path / "got.las")
    assert set(np.unique(new.classification)) <= {2, 5, 6}
    np.testing.assert_array_equal(old["X"], new["X"])
    told = server.ask("/predict/scenes/scene.las?form=json", (served / "scene.las").read_bytes())
    assert told.status == 405  # a file's address is for PUT
    body = (served / "scene.las").read_bytes()
    told = server.ask("/predict/scenes?file=scene.las&form=json", body).told
    assert sum(told["labels"]["counts"].values()) == 3000
    assert str(server.temp) not in json.dumps(told)


def test_without_the_token_there_is_no_answer(server, cloud):
    for token in ("", "wrong", "é"):
        for path in ("/adapters", "/metrics"):
            assert server.ask(path, token=token.encode("latin-1").decode("latin-1")).status == 401
        got = server.ask("/predict/shapes?file=a.ply", cloud.read_bytes(), token=token)
        assert got.status == 401
    assert server.ask("/adapters", Origin="http://evil.example").status == 403
    assert server.ask("/health", Host="evil.example").status == 400  # a name that points here


DAMAGED = {
    "a.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\n"
    b"property float x\nproperty float y\nproperty float z\nend_header\n123",
    "b.pcd": b"# .PCD v0.7\nFIELDS x y z\nPOINTS 99999999999\n"
    b"DATA binary_compressed\n\xff\xff\xff\xff",
    "c.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (3,)}",
    "d.npz": b"PK\x03\x04 no archive",
    "e.las": b"LASF" + b"\xff" * 400,
    "f.xyz": b"nan nan nan\n" * 50,
    "g.obj": b"v 1 2 3\nf 1 2 99999999999999999999\n",
    "h.glb": b"glTF\x02\x00\x00\x00\xff\xff\xff\xff",
    "i.off": b"OFF\n2000000000 2000000000 0\n0 0 0\n",
    "j.csv": b"",
    "k.stl": b"\x00" * 84,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_uploads_are_refused_in_one_line(server, name):
    for adapter in ("shapes", "scenes"):
        got = server.ask(f"/predict/{adapter}?file={name}", DAMAGED[name] or b" ")
        assert got.status == 422, (adapter, got.body)
        error = got.told["error"]
        assert "\n" not in error and str(server.temp) not in error and "upload." not in error
    assert not server.files


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/predict/nobody?file=a.ply", 404),
        ("/predict/..%2F..%2Fetc?file=a.ply", 404),
        ("/predict/shapes?file=a.exe", 415),
        ("/predict/shapes?file=..%2F..%2Fa.ply", 422),
        ("/page/..%2Frun.py", 404),
        ("/predict/shapes?file=a.ply&form=exe", 422),
    ],
)
def test_no_client_chooses_a_path(server, path, status):
    got = server.ask(path, b"ply\n") if path.startswith("/predict") else server.ask(path)
    assert got.status == status, got.body
    assert not server.files


def test_what_is_too_large_is_refused(server):
    assert server.ask("/predict/shapes?file=a.xyz", b"1 2 3\n" * 400_000).status == 413
    assert not server.files


def test_many_at_once_are_answered_together_and_each_with_its_own(server, served, tmp_path):
    rng, files = np.random.default_rng(0), []
    for k in range(12):
        files.append(tmp_path / f"{k}.npy")
        np.save(files[-1], rng.uniform(-1, 1, (80, 3)) * [1, 1, 1 + k])
    want = [row.top[0] for row in predict(files, served / "adapters" / "shapes")]
    with ThreadPoolExecutor(12) as pool:
        got = list(pool.map(lambda file: server.send("shapes", file).told, files))
    assert [row["file"] for row in got] == [file.name for file in files]
    for row, (label, share) in zip(got, want, strict=True):
        assert row["top"][0] == [label, pytest.approx(share, abs=1e-5)]
    text = server.ask("/metrics").body.decode()
    assert 'pointadapt_requests_total{adapter="shapes",status="200"}' in text
    count, clouds = (
        float(next(x for x in text.splitlines() if x.startswith(f"pointadapt_batch_clouds_{k}"))
              .split()[1]) for k in ("count", "sum")
    )  # fmt: skip
    assert clouds > count  # some went together
    loaded = next(x for x in text.splitlines() if x.startswith("pointadapt_loaded_adapters"))
    assert float(loaded.split()[1]) <= 2


def test_sigterm_lets_what_is_under_way_end(start_server, served, cloud, tmp_path):
    server = start_server(tmp_path / "temp", served / "adapters" / "shapes", "--wait", "1500")
    put(server, "shapes", cloud)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(put, server, "shapes", cloud)
        threading.Event().wait(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert answer.result().status == 200
    assert server.process.wait(20) == 0
    assert server.errors.read_text() == ""
    assert not [*server.temp.rglob("pointadapt-serve-*")]
