"""The steps of the Dockerfile where there is no docker: in an empty folder, as a shell script.

    python tools/rehearse_container.py [--torch cpu] [--keep DIR]

Each stage gets a folder as its root and an environment. COPY copies there, RUN runs in a
shell with the root's folders in the place of the image's, and at the end ENTRYPOINT is called:
--version, a short training, and a server that is asked whether it runs. Left out is what needs
an image: its base, apt-get (for CUDA alone), the user, and the port. The Python is this one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSIDE = re.compile(r"(?<![\w./-])/(wheels|source|cache|work)\b")  # the image's own folders
NO_IMAGE = re.compile(r"useradd [^&]*&& |\s*&& chown [^&]*")
PORT = "18760"


class Stage:
    """A root folder with an environment, and where the image would be."""

    def __init__(self, root: Path, args: dict[str, str]) -> None:
        self.root, self.args, self.at = root, args, root
        subprocess.run([sys.executable, "-m", "venv", root / "venv"], check=True)

    def inside(self, text: str) -> str:
        """A text with this root's folders."""
        return INSIDE.sub(lambda found: f"{self.root}/{found[1]}", text)

    def workdir(self, path: str) -> None:
        self.at = Path(self.inside(path))
        self.at.mkdir(parents=True, exist_ok=True)

    def copy(self, words: str, stages: dict[str, Stage]) -> None:
        *sources, target = words.split()
        base = ROOT
        if sources[0].startswith("--from="):
            other = stages[sources.pop(0).removeprefix("--from=")]
            base, sources = other.root, [source.lstrip("/") for source in sources]
        to = self.at / self.inside(target)
        for source in sources:
            found = base / source
            if found.is_dir():
                skip = shutil.ignore_patterns("__pycache__")
                shutil.copytree(found, to, dirs_exist_ok=True, ignore=skip)
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, to)

    def run(self, command: str) -> None:
        command = NO_IMAGE.sub("", self.inside(command))
        print(f"+ {command}", flush=True)
        began = time.monotonic()
        subprocess.run(["sh", "-ec", command], cwd=self.at, env=self.env(), check=True)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)

    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        path = f"{self.root / 'venv' / 'bin'}:{kept.get('PATH', '')}"
        return {**kept, **self.args, "PATH": path, "POINTADAPT_CACHE": str(self.root / "cache")}


def build(work: Path, args: dict[str, str]) -> Stage:
    """Go through the Dockerfile; the last stage."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "last"
            stage = stages[name] = Stage(work / name, args)
        elif word == "WORKDIR" and stage:
            stage.workdir(rest)
        elif word == "COPY" and stage:
            stage.copy(rest, stages)
        elif word == "RUN" and stage:
            stage.run(rest)
    assert stage is not None
    return stage


def try_out(stage: Stage) -> None:
    """Call the entry point: its version, and a server of an adapter that it makes first."""
    entry = str(stage.root / "venv" / "bin" / "pointadapt")
    subprocess.run([entry, "--version"], cwd=stage.at, env=stage.env(), check=True)
    subprocess.run(
        [entry, "train", "--data", "shapes", "--method", "linear_probe", "--epochs", "1",
         "--out", "runs/shapes", "--no-tensorboard"], cwd=stage.at, env=stage.env(), check=True,
    )  # fmt: skip
    server = subprocess.Popen([entry, "serve", "runs", "--port", PORT], cwd=stage.at,
                              env=stage.env(), stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert server.stdout is not None
        print(server.stdout.readline().strip())
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=30) as answer:
            print(answer.read().decode())
    finally:
        server.terminate()
        print(f"stopped with status {server.wait(60)}")


def main() -> None:
    """Build, try, and say how large it is."""
    own = argparse.ArgumentParser(description=__doc__)
    own.add_argument("--torch", default="cpu", help="as --build-arg TORCH")
    own.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    given = own.parse_args()
    with tempfile.TemporaryDirectory() as name:
        stage = build(given.keep or Path(name), {"TORCH": given.torch})
        try_out(stage)
        size = sum(p.stat().st_size for p in (stage.root / "venv").rglob("*") if p.is_file())
        print(f"the last stage holds {size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
