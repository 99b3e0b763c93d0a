"""A real server process on a port of its own, with adapters of three kinds."""

import json
import os
import runpy
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from chromium import Browser

from pointadapt.cli.main import main

SCENE = Path(__file__).parents[3] / "benchmarks" / "scene.py"
TOKEN = "0123456789abcdef-token"


@dataclass
class Answer:
    """Status, headers and body."""

    status: int
    headers: dict
    body: bytes

    @property
    def told(self):
        return json.loads(self.body)


@dataclass
class Server:
    """A server process, how it is asked, and where it keeps what it is sent."""

    process: subprocess.Popen
    address: str
    temp: Path
    errors: Path
    token: str = TOKEN

    def ask(self, path, body=None, method=None, token=TOKEN, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(
            self.address + path, data=body, method=method or ("POST" if body else "GET"),
            headers={"Content-Type": "application/octet-stream", **headers},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=60) as got:
                return Answer(got.status, dict(got.headers), got.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def send(self, adapter, file, **headers):
        body = Path(file).read_bytes()
        return self.ask(f"/predict/{adapter}/{Path(file).name}", body, "PUT", **headers)

    @property
    def files(self):
        """What lies in the server's folder for temporary files."""
        return [p for p in self.temp.rglob("*") if p.is_file()]


@pytest.fixture
def browser(tmp_path):
    """A Chromium of its own, at an empty page."""
    found = Browser(tmp_path / "profile")
    yield found
    found.close()


def _start(temp, *flags, **env):
    """``pointadapt serve FLAGS`` on a free port."""
    temp.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pointadapt", "serve", *map(str, flags), "--port", "0"]
    errors = temp.with_name(f"{temp.name}.err")  # a pipe that nobody reads would stop it
    with errors.open("w") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True,
            env={**os.environ, "TMPDIR": str(temp), "OMP_NUM_THREADS": "1", **env},
        )  # fmt: skip
    assert process.stdout
    line = process.stdout.readline()
    assert " at http" in line, line + errors.read_text()
    return Server(process, line.split(" at ")[1].strip(), temp, errors)


@pytest.fixture
def start_server():
    """Starts another one: a folder for its temporary files, and flags."""
    return _start


@pytest.fixture(scope="package")
def served(micro_adapter, micro_backbone, micro_flags, tmp_path_factory):
    """A folder of adapters: "shapes" for clouds, "parts" and "scenes" for points."""
    pytest.importorskip("fastapi")
    root = tmp_path_factory.mktemp("served")
    own = ["--no-summary", "--no-tensorboard"]
    (root / "adapters").mkdir()
    (root / "adapters" / "shapes").symlink_to(micro_adapter)
    task = ["--task", "part_segmentation", "--task-options", "width=16", "hidden=16,8"]
    parts = root / "adapters" / "parts"
    assert main(["train", "--out", str(parts), *micro_flags, *task, *own]) == 0
    make = runpy.run_path(str(SCENE))["make_scene"]
    for name, seed in (("train/a", 1), ("test/b", 2)):
        (root / name).parent.mkdir()
        make(root / f"{name}.las", 5000, seed, labelled=True)
    flags = [
        "--task", "scene_segmentation", "--data", "folder_segmentation", "--root", str(root),
        "--data-options", "block=20", "blocks=4", "test_blocks=2", "least=16",
        "features=red,green,blue,z", "--backbone", str(micro_backbone), "--method",
        "linear_probe", "--points", "64", "--epochs", "1", "--batch-size", "4",
    ]  # fmt: skip
    assert main(["train", "--out", str(root / "adapters" / "scenes"), *flags, *own]) == 0
    make(root / "scene.las", 3000, 5)
    return root


@pytest.fixture(scope="package")
def server(served, tmp_path_factory):
    """Serves :func:`served` to those who know the token; two adapters in memory, 2 MB a file."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(f"{TOKEN}\n")
    found = _start(
        tmp_path_factory.mktemp("temp"), served / "adapters", "--token-file", token, "--most", "2",
        "--max-megabytes", "2", "--wait", "50",
    )  # fmt: skip
    yield found
    found.process.send_signal(signal.SIGTERM)
    assert found.process.wait(30) == 0
    assert found.errors.read_text() == ""
