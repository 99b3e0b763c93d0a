"""``pointadapt predict`` on whole scenes, with an adapter that the command line trained."""

import csv
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointadapt.cli.main import main
from pointadapt.core.errors import ConfigError

laspy = pytest.importorskip("laspy")
BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "scene.py"
MAKE = runpy.run_path(str(BENCHMARK))["make_scene"]
DATA = ["block=20", "blocks=12", "test_blocks=3", "least=64", "features=red,green,blue,z"]


@pytest.fixture(scope="module")
def adapter(micro_backbone, tmp_path_factory):
    """An adapter for ground, vegetation and buildings, trained for a step or two on LAS."""
    root = tmp_path_factory.mktemp("scenes")
    for name, seed in (("train/a", 1), ("test/b", 2)):
        (root / name).parent.mkdir()
        MAKE(root / f"{name}.las", 20_000, seed, labelled=True)
    flags = [
        "--task", "scene_segmentation", "--data", "folder_segmentation", "--root", str(root),
        "--data-options", *DATA, "--backbone", str(micro_backbone), "--method", "linear_probe",
        "--points", "64", "--epochs", "1", "--batch-size", "4", "--no-tensorboard", "--no-summary",
    ]  # fmt: skip
    assert main(["train", "--out", str(root / "run"), *flags]) == 0
    return root / "run" / "adapter"


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "in").mkdir()
    MAKE(tmp_path / "in" / "scene.las", 4000, 5)
    return tmp_path / "in" / "scene.las"


def predict(*flags):
    return main(["predict", *map(str, flags)])


def test_the_command_labels_a_scene_and_says_what_it_found(adapter, scene, tmp_path, capsys):
    out, table = tmp_path / "copies" / "labelled.las", tmp_path / "found.csv"
    assert predict(scene, "--adapter", adapter, "--out", out, "--csv", table) == 0
    said = capsys.readouterr().out
    for text in (str(out), "classification", "confidence", "points a second", "peak memory"):
        assert text in said
    old, new = laspy.read(scene), laspy.read(out)
    assert set(np.unique(old.classification)) == {1}
    assert set(np.unique(new.classification)) <= {2, 5, 6}  # as ASPRS has them, not 0, 1, 2
    for name in old.point_format.dimension_names:
        if name != "classification":
            np.testing.assert_array_equal(old[name], new[name])
    rows = list(csv.DictReader(table.open()))
    counts = {int(row["label"]): int(row["points"]) for row in rows}
    found, number = np.unique(new.classification, return_counts=True)
    assert {k: v for k, v in counts.items() if v} == dict(zip(found, number, strict=True))


def test_a_folder_of_scenes_becomes_a_folder_of_copies(adapter, scene, tmp_path, capsys):
    other = scene.with_name("other.txt")  # without the colours that the adapter takes
    other.write_text("1 2 3\n4 5 6\n")
    out = tmp_path / "out"
    assert (
        predict(scene.parent, "--adapter", adapter, "--out", out, "--field", "mine", "--json") == 2
    )
    said = capsys.readouterr()
    good, bad = sorted(json.loads(said.out), key=lambda row: row["error"] is not None)
    assert "other.txt: has no red, green, blue" in bad["error"]
    assert "other.txt" in said.err and said.err.count("\n") == 1
    assert good["labels"]["out"] == str(out / "scene.las")
    assert sum(good["labels"]["counts"].values()) == 4000
    new = laspy.read(out / "scene.las")
    assert set(np.unique(new["mine"])) <= {2, 5, 6}
    assert set(np.unique(new.classification)) == {1}
    assert [p.name for p in out.iterdir()] == ["scene.las"]


def test_the_tiles_are_as_wide_as_in_training_and_other_widths_may_be_asked(adapter, scene):
    from pointadapt.inference.label_scenes import SceneLabeller

    label = SceneLabeller(adapter)
    assert (label.tiling.block, label.tiling.points) == (20.0, 64)
    assert label.names.parts == ("ground", "high vegetation", "building")
    assert label.names.features == ("red", "green", "blue", "z")
    assert SceneLabeller(adapter, block=7.5, passes=0).tiling.block == 7.5


def test_tiles_hold_what_blocks_hold_in_training(adapter, scene, tmp_path):
    """Height, colours and place of each point are those that the data set gives."""
    from pointadapt.data import load_dataset
    from pointadapt.data.reading.labelled import read_labelled
    from pointadapt.inference.label_scenes import SceneLabeller
    from pointadapt.scenes import label_scene

    label, seen = SceneLabeller(adapter, overlap=0, passes=0), []

    def keep(points, features):
        seen.append(np.concatenate([points[..., 2:], features], axis=-1).reshape(-1, 5))
        return label.predict(points, features)

    label_scene(
        scene, tmp_path / "o.las", keep, label.names.parts, label.tiling,
        features=label.names.features,
    )  # fmt: skip
    data = load_dataset("folder_segmentation", root=scene, **dict(x.split("=") for x in DATA))
    file = read_labelled(scene)
    data._read = {scene: file}
    trained = data._scene(file)
    want = np.c_[trained.points[:, 2], trained.features(np.arange(len(trained)))]
    ours = np.concatenate(seen)  # some points twice, to fill a sample
    distance = np.abs(ours[:, None] - want[None, ::40]).max(axis=2).min(axis=0)
    assert distance.max() < 1e-4


def test_adapters_of_other_tasks_are_refused(micro_adapter):
    from pointadapt.inference.label_scenes import SceneLabeller

    with pytest.raises(ConfigError, match="segments no scenes: its task is classification"):
        SceneLabeller(micro_adapter)


def test_the_benchmark_confirms_that_only_labels_changed(adapter, tmp_path):
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--points", "6000", "--adapter", adapter, "--folder", tmp_path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["labels_changed_by_laspy"] == result["bytes_changed"] == 6000
    assert 0 < result["peak_rss_gib"] < result["address_space_limit_gib"] == 4
    assert sum(result["counts"].values()) == result["points"] == 6000
