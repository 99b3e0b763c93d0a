"""The random forest on the features of points: on blocks and on whole scenes."""

import runpy
from pathlib import Path

import numpy as np

from pointadapt.data import Clouds, load_dataset
from pointadapt.inference import point_forest
from pointadapt.inference.forest import baseline_of, mean_of
from pointadapt.inference.point_forest import KEYS, forest_on_blocks, forest_on_scenes
from pointadapt.tasks import make_task

MAKE = runpy.run_path(str(Path(__file__).parents[2] / "data/folder_segmentation/make.py"))["make"]


def blocks(seed, named=True):
    """Four blocks of 50 points whose feature tells the label, some labels not known."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (4, 50))
    values = labels + rng.uniform(-0.3, 0.3, labels.shape)
    labels[0, :5] = -1
    return Clouds(
        rng.random((4, 50, 3)).astype(np.float32), np.zeros(4, int), ("scene",), (), labels,
        ("low", "high"), values[..., None].astype(np.float32) if named else None,
        ("height",) if named else (),
    )  # fmt: skip


def test_on_blocks_every_labelled_point_counts():
    found = forest_on_blocks(blocks(0), blocks(1), seed=3)
    assert [found[key] for key in KEYS] == [100.0] * 3
    assert (found["traits"], found["points"], found["trees"], found["seed"]) == (1, 195, 10, 3)


def test_there_is_none_without_features():
    assert forest_on_blocks(blocks(0, named=False), blocks(1, named=False)) == {}


def test_training_points_are_a_sample(monkeypatch):
    monkeypatch.setattr("pointadapt.tasks.forest.POINTS", 30)
    assert forest_on_blocks(blocks(0), blocks(1))["points"] == 30


def test_on_whole_scenes_each_point_counts_once(tmp_path, monkeypatch):
    options = {"points": 32, **MAKE(tmp_path), "features": ("x", "y")}
    scenes = load_dataset("folder_segmentation", **options)
    seen = []
    scores = point_forest.confusion_matrix

    def counted(found, true, size):
        seen.append(len(true))
        return scores(found, true, size)

    monkeypatch.setattr(point_forest, "confusion_matrix", counted)
    found = forest_on_scenes(scenes)
    assert sum(seen) == sum(len(scene) for scene, _ in scenes.whole_scenes("test")) == 3000
    assert found["traits"] == 2 and 0 <= found["miou"] <= found["accuracy"] <= 100


def test_it_is_for_scenes_of_a_users_own():
    task, sets = make_task("scene_segmentation"), (blocks(0), blocks(1))
    own, rooms = load_dataset("folder_segmentation"), load_dataset("s3dis")
    assert baseline_of(task, own, *sets)["miou"] == 100
    assert baseline_of(task, rooms, *sets) == {}


def test_the_mean_of_runs_on_scenes():
    one = forest_on_blocks(blocks(0), blocks(1))
    mean = mean_of([{"baseline": one}, {"baseline": {**one, "miou": 50.0}}])
    assert (mean["miou"], mean["points"], mean["runs"]) == (75.0, 195, 2)
