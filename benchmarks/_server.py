"""A real server process, adapters for it, and clients that ask again when a connection breaks."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import psutil
import torch

from _measure import TOY
from _models import CLASSES, MICRO
from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones.folder import save_backbone
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

AGAIN = 200  # times that a client tries
PAUSE = 0.05  # seconds before it tries again
BYTES = "application/octet-stream"
BROKEN = (ConnectionError, http.client.HTTPException, TimeoutError)


def write_adapters(folder: Path, count: int, points: int, micro: bool = TOY) -> None:
    """So many DAPT adapters of one backbone, each drawn with a seed of its own, called 0, 1, 2.

    The backbone is ``tiny``, or one of two narrow blocks that costs next to nothing.
    """
    net = load_backbone("point_vit:tiny" if micro else "tiny", **(MICRO if micro else {}))
    backbone = str(save_backbone(net, folder.parent / "net")) if micro else "tiny"
    for k in range(count):
        torch.manual_seed(k)
        adapter = Adapter(net, make_method("dapt"), make_task("classification"), CLASSES)
        with torch.no_grad():
            for value in adapter.parameters():
                value.add_(0.05 * torch.randn_like(value))
        model = PointModel(net, adapter).eval()
        adapter_folder.save_adapter(model, folder / str(k), backbone=backbone, points=points)


def cloud_files(count: int, points: int, seed: int = 0) -> list[bytes]:
    """So many clouds as .npy, each of another shape."""
    draw, files = np.random.default_rng(seed), []
    for _ in range(count):
        cloud = draw.normal(size=(points, 3)) * draw.uniform(0.2, 2.0, 3)
        stream = io.BytesIO()
        np.save(stream, cloud.astype(np.float32))
        files.append(stream.getvalue())
    return files


@dataclass
class Server:
    """``pointadapt serve`` as a process of its own, on loopback."""

    process: subprocess.Popen[str]
    address: str
    temp: Path
    errors: Path

    def ask(self, path: str) -> bytes:
        with Client(self.address) as client:
            return client.once("GET", path)[1]

    def metrics(self) -> dict[str, float]:
        """Every line of the server's counts: name with labels, and value."""
        text = self.ask("/metrics").decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    def workers(self) -> list[psutil.Process]:
        """The processes that answer, those under way to it included."""
        found = psutil.Process(self.process.pid).children()
        return [p for p in found if "spawn_main" in " ".join(p.cmdline())]

    def memory(self) -> int:
        """The largest memory that the process itself has held, in bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    def files(self) -> list[Path]:
        """What lies in its folder for temporary files."""
        return [p for p in self.temp.rglob("*") if p.is_file() and p.suffix != ".db"]

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@contextmanager
def serving(work: Path, adapters: Path, *flags: object) -> Iterator[Server]:
    """A server of the adapters in a folder; its temporary files are in ``work/temp``."""
    temp, errors = work / "temp", work / "errors"
    temp.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pointadapt", "serve", str(adapters), "--port", "0"]
    env = {**os.environ, "TMPDIR": str(temp)}
    with errors.open("w") as said:
        process = subprocess.Popen(
            [*command, *map(str, flags)], stdout=subprocess.PIPE, stderr=said, text=True, env=env
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if " at http" not in line:
            raise SystemExit(f"the server does not start: {line}{errors.read_text()}")
        yield Server(process, line.split(" at ")[1].strip(), temp, errors)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(120)
        process.stdout.close()


@dataclass
class Client:
    """Keeps a connection to a server on loopback, and asks again where one broke or it is busy."""

    address: str
    timeout: float = 120.0
    again: Counter[str] = field(default_factory=Counter)
    _line: http.client.HTTPConnection | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def once(
        self, method: str, path: str, body: bytes | None = None, kind: str = BYTES
    ) -> tuple[int, bytes]:
        """Status and body of one answer.

        Raises:
            ConnectionError, http.client.HTTPException, TimeoutError: the connection broke.
        """
        try:
            self._connection().request(method, path, body, {"Content-Type": kind})
            answer = self._connection().getresponse()
            return answer.status, answer.read()
        except BROKEN:
            self.close()
            raise

    def half(self, path: str, body: bytes) -> None:
        """Promise twice of ``body`` and more, send it once, and close the connection."""
        line = self._connection()
        line.putrequest("PUT", path)
        line.putheader("Content-Type", BYTES)
        line.putheader("Content-Length", str(2 * len(body) + 1))
        line.endheaders(body)
        self.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._line is None:
            place = urlsplit(self.address)
            assert place.hostname == "127.0.0.1", "of this machine alone"
            self._line = http.client.HTTPConnection(place.hostname, place.port, self.timeout)
        return self._line

    def send(self, adapter: str, name: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """What the server says of a file in the end; how often it was asked again is counted."""
        path = f"/predict/{quote(adapter)}/{quote(name)}"
        for _ in range(AGAIN):
            try:
                status, said = self.once("PUT", path, body)
            except BROKEN as error:
                self.again[type(error).__name__] += 1
            else:
                if status != 503:
                    return status, json.loads(said)
                self.again["503"] += 1
                self.close()
            time.sleep(PAUSE)
        raise SystemExit(f"no answer after {AGAIN} tries: {dict(self.again)}")
