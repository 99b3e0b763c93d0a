"""Whole scenes: every point once, by votes; folds pooled; the commands."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from pointadapt.cli.main import main
from pointadapt.core.errors import ConfigError
from pointadapt.core.files import write_json
from pointadapt.data import load_dataset
from pointadapt.inference import score_scenes as rooms
from pointadapt.inference.score_scenes import pool_scores, scores_of_scenes
from pointadapt.tasks.base import Names

DATA = Path(__file__).parents[2] / "data"
MAKE = runpy.run_path(str(DATA / "folder_segmentation/make.py"))["make"]


class Model:
    """Stands for a model: what it needs to be asked for its names."""

    class adapter:
        names = Names(("scene",), ("ground", "building", "tree"), ("3",))


@pytest.fixture
def scenes(tmp_path):
    return load_dataset("folder_segmentation", **{"points": 32, **MAKE(tmp_path), "stride": 6.0})


def test_points_are_counted_once_and_blocks_vote(scenes, monkeypatch):
    monkeypatch.setattr(rooms, "check_names", lambda model, clouds: None)
    rng, cast = np.random.default_rng(0), []

    def predict(model, clouds, n):
        wrong = rng.random(clouds.parts.shape) < 0.3
        found = np.where(wrong, (clouds.parts + 1) % 3, clouds.parts)
        cast.append(found)
        return torch.from_numpy(found)

    monkeypatch.setattr(rooms, "predict_clouds", predict)
    done = []
    scores = scores_of_scenes(Model, scenes, "test", 32, on_scene=done.append)
    ((scene, blocks),) = scenes.whole_scenes("test")
    votes = np.zeros((len(scene), 3), int)
    for (index, _), found in zip(blocks, cast, strict=True):
        np.add.at(votes, (index, found), 1)
    right = votes.argmax(axis=1) == scene.labels
    assert scores["accuracy"] == pytest.approx(100 * right.mean(), abs=1e-3)
    assert scores["labelled"] == len(scene) == 3000
    assert scores["accuracy"] > 75  # a single vote is right 70 times in 100
    assert (scores["count"], done) == (1, [1])


def test_other_data_are_refused(scenes):
    with pytest.raises(ConfigError, match="cannot be scored, since "):
        scores_of_scenes(Model, load_dataset("shapes"), "test", 32)


def test_pooling_adds_the_matrices(tmp_path):
    for k, rows in enumerate(([[8, 2], [0, 10]], [[1, 0], [4, 5]])):
        write_json(
            tmp_path / f"{k}.json", {"confusion": dict(zip("ab", rows, strict=True)), "count": 3}
        )
    scores = pool_scores(sorted(tmp_path.glob("*.json")))
    assert scores["confusion"] == {"a": [9, 2], "b": [4, 15]}
    assert scores["miou"] == pytest.approx(100 * (9 / 15 + 15 / 21) / 2, abs=1e-3)
    assert (scores["count"], scores["labelled"]) == (6, 30)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "has no confusion matrix"),
        ({"confusion": {"a": [1, 2]}}, "a row a class"),
        ({"confusion": {"a": [1, 2], "b": [3]}}, "a row a class"),
        ({"confusion": {"classes": ["a"], "rows_are_true": [[1]]}}, "a row a class"),
        ({"confusion": {"a": [0.5]}}, "a row a class"),
        ({"confusion": {"c": [1]}}, "other classes"),
    ],
)
def test_files_that_cannot_be_pooled(values, words, tmp_path):
    write_json(tmp_path / "0.json", {"confusion": {"a": [1, 0], "b": [0, 1]}})
    write_json(tmp_path / "1.json", values)
    files = [tmp_path / "0.json", tmp_path / "1.json"]
    with pytest.raises(ConfigError, match=words):
        pool_scores(files if "other" in words else files[::-1])


def test_from_training_to_a_pooled_score(micro_backbone, tmp_path, capsys):
    options = MAKE(tmp_path)
    root = options.pop("root")
    flags = [f"{k}={v}" for k, v in options.items()]
    run = tmp_path / "run"
    task = ["--task", "scene_segmentation", "--task-options", "width=8", "hidden=8,8"]
    assert main([
        "train", "--backbone", str(micro_backbone), "--data", "folder_segmentation", "--root",
        str(root), "--data-options", *flags, *task, "--points", "64", "--epochs", "1",
        "--batch-size", "8", "--no-tensorboard", "--select", "val", "--out", str(run),
    ]) == 0  # fmt: skip
    results = json.loads((run / "results.json").read_text())
    assert 0 <= results["miou"] <= 100
    assert set(results["confusion"]) == {"ground", "building", "tree"}
    capsys.readouterr()
    out = tmp_path / "rooms.json"
    assert main(["score-scenes", "--adapter", str(run / "adapter"), "--out", str(out)]) == 0
    assert "1 scenes, 3,000 labelled points" in capsys.readouterr().out
    assert main(["pool", str(out), str(out), "--json"]) == 0
    pooled = json.loads(capsys.readouterr().out)
    assert pooled["labelled"] == 6000
    assert pooled["miou"] == json.loads(out.read_text())["miou"]
    assert main(["evaluate", "--adapter", str(run / "adapter")]) == 0
    assert "mIoU" in capsys.readouterr().out


def test_a_test_scene_without_labels_is_refused_before_training(micro_backbone, tmp_path, capsys):
    options = MAKE(tmp_path)
    rows = np.load(tmp_path / "test/c.npy")
    rows[:, -1] = -1
    np.save(tmp_path / "test/c.npy", rows)
    flags = [f"{k}={v}" for k, v in options.items() if k != "root"]
    assert main([
        "train", "--backbone", str(micro_backbone), "--data", "folder_segmentation", "--root",
        str(tmp_path), "--data-options", *flags, "--task", "scene_segmentation", "--points", "64",
        "--epochs", "1", "--batch-size", "8", "--no-tensorboard", "--out", str(tmp_path / "run"),
    ]) == 2  # fmt: skip
    error = capsys.readouterr().err
    assert "no point of the test split is labelled" in error and "--lr" not in error
    assert not (tmp_path / "run").exists()
