"""The Dockerfile takes what is there, and installs what pyproject.toml and constraints.txt name."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
RUNS = [line for line in LINES if line.startswith("RUN ")]


def test_what_is_copied_is_there_and_not_ignored():
    copies = [line.split()[1:-1] for line in LINES if line.startswith("COPY ")]
    sources = {s for names in copies if not names[0].startswith("--from") for s in names}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == sources
    for name in sources:
        assert (ROOT / name).exists(), name


def test_what_the_wheel_is_built_from_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = " ".join(line for line in LINES if line.startswith("COPY "))
    for name in (project["readme"], *project["license-files"]):
        assert name in copied


def test_it_installs_the_tested_torch_and_known_extras():
    [torch] = [found[1] for run in RUNS if (found := re.search(r'"torch==([\d.]+)\+', run))]
    assert f"torch=={torch}" in (ROOT / "constraints.txt").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [extras] = [found[1] for run in RUNS if (found := re.search(r"[.]whl\)\[([\w,]+)\]", run))]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    assert not [run for run in RUNS if "pip install" in run and "-c /wheels" not in run]
