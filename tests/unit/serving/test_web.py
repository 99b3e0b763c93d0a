"""The page that runs networks itself, in a real Chromium, against Python on the same files."""

import functools
import http.server
import json
import os
import threading
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM

from pointadapt.cli.main import main
from pointadapt.core.errors import ConfigError, PointAdaptError
from pointadapt.core.files import cache_dir
from pointadapt.data.sets.folder import Folder
from pointadapt.inference.predict import predict
from pointadapt.io import Cloud, write_cloud, write_points
from pointadapt.serving import web

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium on this machine")
ORT = Path(os.environ.get("POINTADAPT_ORT") or cache_dir() / f"onnxruntime-web-{web.ORT_VERSION}")
SCRIPTS = [web.PAGE / name for name in web.SCRIPTS[1:4]]  # without the page itself


def ort():
    """The unpacked npm package, or the test is skipped."""
    try:
        web._runtime(ORT)
    except ConfigError as error:
        pytest.skip(str(error))
    return ORT


def clouds(folder):
    """Files of many kinds, each with how it is to be read."""
    draw = np.random.default_rng(3)
    some = draw.normal(size=(300, 3)) * [3, 2, 1]
    many = (draw.normal(size=(12_000, 3)) * [3, 2, 1]).astype(np.float32)
    plain = Folder(points=64, seed=0)
    write_points(folder / "some.ply", some.astype(np.float32))
    write_points(folder / "many.ply", many)
    write_cloud(folder / "text.ply", Cloud(some), ascii=True)
    write_points(folder / "few.xyz", some[:40])
    (folder / "named.csv").write_text(
        "id,Z,X,Y\n" + "".join(f"{k},{z},{x},{y}\n" for k, (x, y, z) in enumerate(some[:90]))
    )
    np.savetxt(folder / "utm.txt", some + np.array([412_345.25, 5_812_345.5, 80]), fmt="%.6f")
    (folder / "gap.xyz").write_text("# x y z\nnan 0 0\n" + "".join(
        f"{x} {y} {z}\n" for x, y, z in some[:80]
    ))  # fmt: skip
    corners = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0], [1, 0.5, 3]], np.float32)
    faces = [[0, 1, 2, 3], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
    head = "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\n"
    head += "property float z\nelement face 5\nproperty list uchar int vertex_indices\nend_header\n"
    lines = [" ".join(map(str, row)) for row in corners]
    lines += [" ".join(map(str, [len(face), *face])) for face in faces]
    (folder / "mesh.ply").write_text(head + "\n".join(lines) + "\n")
    yield from (("some.ply", plain), ("text.ply", replace(plain, up="y")), ("few.xyz", plain))
    yield from (("many.ply", replace(plain, points=1024)), ("many.ply", replace(plain, seed=5)))
    yield from (("named.csv", replace(plain, sampling="fps", up="x")), ("utm.txt", plain))
    yield from (("gap.xyz", replace(plain, nan="drop")), ("mesh.ply", plain))


@needs_chromium
def test_the_page_chooses_the_same_points_and_traits(browser, tmp_path):
    code = "".join(path.read_text().replace('"use strict";', "") for path in SCRIPTS)
    browser.js(f"globalThis.look = (() => {{ {code}; return (name, data, how) => {{"
               "const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer;"
               "const cloud = prepared(readCloud(name, bytes, how.columns), how);"
               "return [[...cloud.chosen], [...traitsOf(cloud.whole)]]; } })(), 0")  # fmt: skip
    for name, how in clouds(tmp_path):
        want = how.measured(tmp_path / name)
        data = b64encode((tmp_path / name).read_bytes()).decode()
        told = json.dumps(web._reading(how))
        chosen, traits = browser.js(f"look({name!r}, {data!r}, {told})")
        extent = np.ptp(want.cloud.points, axis=0).max()
        found = np.reshape(chosen, (-1, 3))
        np.testing.assert_allclose(found, want.cloud.points, atol=1e-6 * extent, err_msg=name)
        np.testing.assert_allclose(traits, want.traits, atol=1e-5, rtol=1e-5, err_msg=name)
    with pytest.raises(AssertionError, match="this page reads"):
        browser.js("look('a.pcd', '', {})")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """The address of the folder "page" behind Python's own web server."""
    handler = functools.partial(Quiet, directory=tmp_path / "page")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.slow
@needs_chromium
def test_the_page_answers_as_python(served, browser, micro_adapter, micro_flags, tmp_path):
    """Two adapters, of which one is told traits and has two others beside it."""
    pytest.importorskip("onnxruntime")
    told = ["--method", "linear_probe", "--head", "patch_max", "size", "shape", "--no-summary",
            "--task-options", "forest=5", "instant=true"]  # fmt: skip
    assert main(["train", "--out", str(tmp_path / "told"), *micro_flags, *told]) == 0
    adapters = {"told": tmp_path / "told", micro_adapter.parent.name: micro_adapter}
    flags = ["--to", "web", "--ort", str(ort()), "--out", str(tmp_path / "page")]
    assert main(["export", *map(str, adapters.values()), *flags]) == 0
    points = np.random.default_rng(1).uniform(-1, 1, (500, 3)).astype(np.float32)
    write_points(tmp_path / "cloud.ply", points)
    browser.call("Page.navigate", url=served)
    browser.until("typeof $ === 'function' && $('adapter').options.length === 2")
    browser.choose_file(tmp_path / "cloud.ply")
    for name, folder in adapters.items():
        browser.js(f"answered = null; $('adapter').value = {name!r}; send(last)")
        got = browser.until("answered")
        where = folder if folder == micro_adapter else folder / "adapter"
        (want,) = predict([tmp_path / "cloud.ply"], where, top=99)
        assert got["label"] == want.label == browser.js("$('answer').textContent")
        classes = browser.js("chosen().classes")
        mine = dict(zip(classes, got["probabilities"], strict=True))
        assert mine == pytest.approx(dict(want.top), abs=1e-4)
    assert browser.js("$('view').dataset.drawn") == "500"
    (tmp_path / "cut.ply").write_bytes((tmp_path / "cloud.ply").read_bytes()[:-9])
    browser.choose_file(tmp_path / "cut.ply")
    assert browser.until("$('error').textContent") == "cut.ply: is cut short"
    assert not browser.said  # no error in the page, and nothing that its policy forbids


def test_what_cannot_be_written_leaves_nothing(micro_adapter, tmp_path):
    with pytest.raises(ConfigError, match=f"npm pack onnxruntime-web@{web.ORT_VERSION}"):
        web.export_web([micro_adapter], tmp_path / "page", ort=tmp_path)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").touch()
    with pytest.raises(PointAdaptError, match="not empty"):
        web.export_web([micro_adapter], tmp_path / "kept")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "mine.txt"]


def test_without_a_copy_the_page_may_load_the_runtime_from_one_address_alone():
    page = web._html(web.ORT_CDN)
    assert f'<script src="{web.ORT_CDN}ort.wasm.min.js">' in page
    assert page.count("https://") == page.count(web.ORT_CDN) == 3
    assert "https://" not in web._html("ort/")
