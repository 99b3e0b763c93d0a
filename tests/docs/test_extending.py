"""The guides for those who add something: their files are written, their commands are run.

The files of a guide go into a copy of this repository (of links); those of the plug-in guide become
a package that is installed with pip.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
SLOW = pytest.mark.slow
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
pytestmark = pytest.mark.skipif(not GUIDES.is_dir(), reason="the documentation is not in this copy")

DRIVER = """
import json, runpy, shlex, sys
from pointadapt.cli.main import main
for line in json.loads(sys.argv[1]):
    words = shlex.split(line)
    print("$", line, flush=True)
    if words[0] == "python":
        sys.argv = words[1:]
        runpy.run_path(words[1], run_name="__main__")
    elif status := main(words[1:]):
        sys.exit(f"{line}: status {status}")
"""


def blocks(page):
    return BLOCK.findall((GUIDES / page).read_text(encoding="utf-8"))


def write_files(page, folder):
    """Write every block that says in its first line which file it is; returns their paths."""
    paths = []
    for language, text in blocks(page):
        place = PLACE.match(text)
        assert (place is not None) == (language in ("python", "toml")), text
        if place:
            path = folder / place[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if path.suffix == ".toml" else text[place.end() :])
            paths.append(path)
    return paths


def commands_of(page):
    text = "".join(text for language, text in blocks(page) if language == "bash")
    return text.replace("\\\n", " ").splitlines()


def clone(folder):
    """The package's files, each a link, so that new ones may lie beside them."""
    for path in (ROOT / "src").rglob("*"):
        link = folder / path.relative_to(ROOT)
        if path.is_file() and path.suffix != ".pyc":
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)


def run(commands, folder, *python_path):
    """Run the commands, one after the other in one process; returns what they printed."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, python_path)), "MPLBACKEND": "Agg"}
    env |= {"OMP_NUM_THREADS": "1", "POINTADAPT_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    command = [sys.executable, "-c", DRIVER, json.dumps(commands)]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("write-a-method.md", ["LayerScale 0.9"]),
        pytest.param("write-a-backbone.md", ["point_lite:small"], marks=SLOW),
        pytest.param(
            "write-a-data-set.md",
            ["splits, counts and classes of the official release"],
            marks=SLOW,
        ),
        pytest.param("write-a-task.md", ["boxes/59.ply"], marks=SLOW),
    ],
)
def test_a_guide_in_a_clone(page, words, tmp_path):
    clone(tmp_path)
    programs = [p for p in write_files(page, tmp_path) if p.parent == tmp_path]
    commands = commands_of(page) + [f"python {path.name}" for path in programs]
    assert commands
    said = run(commands, tmp_path, tmp_path / "src")
    for word in words:
        assert word in said


def install(package, target):
    """With pip, offline: the one change to what the guide says."""
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target), str(package),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The folder where the package of the plug-in guide was written and installed."""
    folder = tmp_path_factory.mktemp("plugin")
    write_files("write-a-plugin.md", folder)
    install(folder / "acme-points", folder / "site")
    return folder


def test_a_plug_in_brings_one_of_each_kind(plugin):
    pip, *commands = commands_of("write-a-plugin.md")
    assert shlex.split(pip)[:2] == ["pip", "install"]
    (plugin / "cloud.xyz").write_text("0 0 0\n1 1 1\n2 3 4\n")
    kinds = {"methods": "query_shift", "backbones": "point_flat:small", "data": "rods",
             "tasks": "focal_classification"}  # fmt: skip
    lists = [f"pointadapt list {kind}" for kind in kinds]
    said = run([*lists, *commands, "pointadapt count-points cloud.xyz"], plugin, plugin / "site",
               ROOT / "src")  # fmt: skip
    for name in kinds.values():
        assert name in said
    assert "cloud.xyz: 3 points" in said
    config = json.loads((plugin / "runs/acme/adapter/adapter_config.json").read_text())
    named = (config["method"], config["task"], config["dataset"], config["backbone"]["family"])
    assert named == ("query_shift", "focal_classification", "rods", "point_flat")
    assert config["task_options"]["gamma"] == 1


def test_a_broken_plug_in_is_one_line(plugin, tmp_path):
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pointadapt.commands]\nnothing = no_such_module\n")
    path = os.pathsep.join(map(str, (tmp_path, ROOT / "src")))
    done = subprocess.run(
        [sys.executable, "-m", "pointadapt", "list"], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "the plug-in 'nothing' (no_such_module) cannot be loaded" in done.stderr
