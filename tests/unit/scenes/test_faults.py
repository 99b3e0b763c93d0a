"""Wrong input, full disks and kills: one clear line, the input untouched, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, FileFormatError, PointAdaptError, PointCloudError
from pointadapt.scenes import Tiling, label_scene

CLASSES = ("low", "high")
TILING = Tiling(block=20, overlap=0, points=512)


def label(path, scene, out=None, **options):
    out = path.with_name(f"out{path.suffix}") if out is None else out
    return label_scene(path, out, scene.rule, CLASSES, TILING, **options)


def test_a_missing_feature_is_named_with_those_that_are_there(scene, las):
    with pytest.raises(FileFormatError, match=r"s\.las: has no nir, .*; it has: .*intensity") as e:
        label(las(scene, "s.las"), scene, features=("red", "nir", "z"))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("form", "codes", "field", "said"),
    [
        (3, (2, 40), None, "point format 3, whose classification ends at 31.*--field label"),
        (7, (2, 300), None, "ends at 255"),
        (7, (0, 1), "intensity", "holds something else"),
        (7, (0, 1), "n" * 33, "1 to 32 bytes"),
    ],
)
def test_labels_without_a_place_in_las_are_refused(scene, las, form, codes, field, said):
    path = las(scene, form=form)
    with pytest.raises(PointAdaptError, match=said):
        label(path, scene, codes=codes, field=field)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_copc_whose_index_would_break_is_refused(scene, las):
    path = las(scene, "s.laz")
    raw = path.read_bytes().replace(
        b"someone\0\0\0\0\0\0\0\0\0\7\0", b"copc\0\0\0\0\0\0\0\0\0\0\0\0\1\0"
    )
    path.write_bytes(raw)
    with pytest.raises(FileFormatError, match=r"COPC .* convert it"):
        label(path, scene)


def test_labels_that_a_column_cannot_hold_are_refused(scene, tmp_path):
    table = np.zeros(4, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("label", "i1")])
    np.save(tmp_path / "s.npy", table)
    with pytest.raises(FileFormatError, match="label is int8, which cannot hold the label 200"):
        label(tmp_path / "s.npy", scene, codes=(0, 200))
    with pytest.raises(ConfigError, match="letters, digits"):
        label(tmp_path / "s.npy", scene, field="two words")


def test_names_of_copies_are_checked(scene, tmp_path):
    np.save(tmp_path / "s.npy", scene.xyz)
    with pytest.raises(ConfigError, match="the scene itself"):
        label(tmp_path / "s.npy", scene, tmp_path / "s.npy")
    with pytest.raises(ConfigError, match=r"call it \.npy"):
        label(tmp_path / "s.npy", scene, tmp_path / "o.las")
    with pytest.raises(ConfigError, match="no folder"):
        label(tmp_path / "s.npy", scene, temp=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="one whole number"):
        label(tmp_path / "s.npy", scene, codes=(1,))


@pytest.mark.parametrize("name", ["s.las", "s.laz", "s.ply", "s.npy"])
def test_files_that_are_cut_short_are_refused(scene, las, tmp_path, name):
    from pointadapt.io import write_points

    path = tmp_path / name
    las(scene, name) if name[2:4] == "la" else write_points(path, scene.xyz)
    os.truncate(path, path.stat().st_size * 2 // 3)
    with pytest.raises(FileFormatError, match=name) as error:
        label(path, scene)
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("s.txt", "1 2 3\n4 5\n6 7 8\n", r"s\.txt: .*"),
        ("s.txt", "a b c\n", "no line of three numbers"),
        ("s.pts", "9\n1 2 3\n", "says it has 9 points but holds 1"),
        ("s.ply", "ply\nformat ascii 1.0\nelement face 1\nend_header\n", "no 'vertex'"),
        ("s.ply", "ply\nformat ascii 1.0\nelement vertex one\n", "damaged header"),
        ("s.ply", "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n",
         "has no columns x, y, z: only x"),
        ("s.ply", "ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar int x\n"
         "end_header\n", "has lists"),
        ("s.npy", "no array", r"s\.npy"),
        ("s.obj", "v 1 2 3\n", "is no scene"),
        ("s.las", "", "is empty"),
    ],
)  # fmt: skip
def test_damaged_files_are_answered_by_one_line(scene, tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises((FileFormatError, PointCloudError), match=said) as error:
        label(tmp_path / name, scene)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_too_little_room_is_said_before_the_work(scene, tmp_path, monkeypatch):
    np.save(tmp_path / "s.npy", scene.xyz)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(PointAdaptError, match=r"1.0 kB are free, but .* needed .*--temp"):
        label(tmp_path / "s.npy", scene)
    assert [p.name for p in tmp_path.iterdir()] == ["s.npy"]


FULL = """
import resource, signal, sys
import numpy as np
from pointadapt.core.errors import PointAdaptError
from pointadapt.scenes import Tiling, label_scene
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    label_scene(sys.argv[1], sys.argv[2], lambda p, f: np.ones((*p.shape[:2], 2)) / 2, "ab",
                Tiling(20, 0, 64))
except PointAdaptError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on files' sizes")
@pytest.mark.parametrize(
    ("limit", "said"), [(4_000, "--temp"), (60_000, "--temp"), (150_000, "cannot write")]
)
def test_a_disk_that_fills_up_leaves_nothing(scene, tmp_path, limit, said):
    """A limit on files' sizes stands for the full disk: labels, sorted points, the copy."""
    np.save(tmp_path / "s.npy", scene.xyz)
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "s.npy", tmp_path / "o.npy", str(limit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert said in done.stdout and done.stdout.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["s.npy"]


KILLED = """
import sys, time
import numpy as np
from pathlib import Path
from pointadapt.scenes import Tiling, label_scene
def slowly(what, done, total):
    if what == sys.argv[3]:
        Path(sys.argv[4]).touch()
        time.sleep(60)
label_scene(sys.argv[1], sys.argv[2], lambda p, f: np.ones((*p.shape[:2], 2)) / 2, "ab",
            Tiling(20, 0, 64), on_progress=slowly)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("stage", ["sorting", "writing"])
def test_a_kill_leaves_the_input_and_no_copy(scene, tmp_path, stage):
    work = tmp_path / "work"
    work.mkdir()
    np.save(work / "s.npy", scene.xyz)
    before, mark = (work / "s.npy").read_bytes(), tmp_path / "mark"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, work / "s.npy", work / "o.npy", stage, mark]
    )
    end = time.monotonic() + 240
    while not mark.exists() and child.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert mark.exists()
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert (work / "s.npy").read_bytes() == before
    # While the copy is written it has another name, which the next run's rename does not touch.
    left = {p.name for p in work.iterdir()} - {"s.npy"}
    assert not any(Path(name).suffix == ".npy" for name in left)
    assert len(left) == (stage == "writing")


def test_what_a_killed_run_left_is_removed_once_it_is_old(scene, tmp_path):
    np.save(tmp_path / "s.npy", scene.xyz)
    old, new = tmp_path / ".out.npy.1.part", tmp_path / ".out.npy.2.part"
    other = tmp_path / ".else.npy.1.part"
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    label(tmp_path / "s.npy", scene)
    assert not old.exists() and new.exists() and other.exists()
