"""What every task promises, from one end to the other, through the real command line.

A task is tested by registering. Two more come with this test as a package of their own: whatever
they need that their own file does not say would be missing here.
"""

import csv
import json
import math
import os
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from runs_here import run_here

from pointadapt.adapters import folder as adapter_folder
from pointadapt.cli.main import main
from pointadapt.data import load_dataset
from pointadapt.inference.classify_files import reader_of
from pointadapt.inference.predict import predict
from pointadapt.io import write_points
from pointadapt.ops import normalize
from pointadapt.tasks import TASKS

HERE = Path(__file__).parent
TESTS = HERE.parent
FOREIGN = ("has_parts", "column")
OWN = tuple(TASKS)


def package(folder: Path) -> Path:
    """The foreign tasks as an installed package: a module, and what pip writes beside it."""
    shutil.copy(HERE / "foreign_tasks.py", folder)
    about = folder / "foreign_tasks-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-tasks\nVersion: 1.0\n")
    points = "".join(f"{name} = foreign_tasks\n" for name in FOREIGN)
    (about / "entry_points.txt").write_text(f"[pointadapt.tasks]\n{points}")
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package on the path of this process and of those it starts; no other test sees it."""
    folder = str(package(tmp_path_factory.mktemp("site")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        before = dict(TASKS._table)
        patch.setattr(TASKS, "_table", dict(before))
        patch.setattr(TASKS, "_loaded", False)
        yield
        patch.delitem(sys.modules, "foreign_tasks")
    assert dict(TASKS._table) == before


def data_of(task, folder):
    """Flags of toy data that the task can learn from.

    Where made-up shapes do not have what it needs, ``make(folder)`` of a file with its name in
    ``tests/data/tasks`` writes what does, and returns the flags.
    """
    own = TESTS / "data/tasks" / f"{task}.py"
    if own.exists():
        return runpy.run_path(str(own))["make"](folder)
    if TASKS[task].predictor == "scenes":
        made = runpy.run_path(str(TESTS / "data/folder_segmentation/make.py"))["make"](folder)
        options = [f"{k}={v}" for k, v in made.items() if k != "root"]
        return ["--data", "folder_segmentation", "--root", str(folder), "--data-options", *options]
    if task == "column":
        return ["--data", "folder", "--root", str(table(folder))]
    return ["--data", "shapes", "--data-options", "size=64", "test_size=32"]


def table(folder):
    """Boxes of known height, in a manifest that tells it; all of one class."""
    rng, rows = np.random.default_rng(0), ["path,label,split,height"]
    for k in range(48):
        height, split = rng.uniform(0.2, 3.0), "train" if k < 32 else "test"
        points = rng.uniform(-1, 1, (80, 3)) * [1, 1, height / 2]
        write_points(folder / f"{k}.npy", points.astype(np.float32))
        rows.append(f"{k}.npy,box,{split},{height}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def to_predict(task, folder):
    """A file to predict."""
    if TASKS[task].predictor == "scenes":
        scene = runpy.run_path(str(TESTS / "data/folder_segmentation/make.py"))["scene"](5)
        folder.mkdir(parents=True)
        np.save(folder / "scene.npy", scene[:, :4])
        return folder / "scene.npy"
    points = load_dataset("shapes", points=100, test_size=5).load("test").points[4]
    write_points(folder / "bookshelf" / "a.ply", points)
    return folder / "bookshelf" / "a.ply"


def said(capsys, *args):
    """What a command prints; it must succeed."""
    status = main([str(a) for a in args])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out


@pytest.fixture(scope="module", params=[*OWN, *FOREIGN])
def trained(request, installed, micro_backbone, tmp_path_factory):
    """A task, its adapter's folder, and the flags it was trained with."""
    task, folder = request.param, tmp_path_factory.mktemp(request.param)
    flags = ["--task", task, *data_of(task, folder / "data"), "--backbone", str(micro_backbone)]
    flags += ["--points", "64", "--epochs", "1", "--batch-size", "8", "--threads", "1"]
    chosen = ["--select", "val", "--val-fraction", "0.25", "--method", "bitfit"]
    small = {"width=16", "hidden=16,8"} if TASKS[task].per_point else set()
    flags += ["--task-options", *sorted(small)] if small else []
    out = str(folder / "run")
    assert main(["train", "--out", out, "--no-tensorboard", *chosen, *flags]) == 0
    return task, folder / "run" / "adapter", flags


def test_training_selects_by_the_task_s_own_score(trained):
    task, adapter, _ = trained
    results = json.loads((adapter.parent / "results.json").read_text())
    assert all(np.isfinite(results[m.key]) for m in TASKS[task].measures)
    (row,) = map(json.loads, (adapter.parent / "log.jsonl").read_text().splitlines())
    assert np.isfinite(row[f"val_{TASKS[task].metric}"])
    assert adapter_folder.read_adapter_config(adapter)["task"] == task


def test_evaluate_repeats_the_score_of_training(trained, tmp_path, capsys):
    task, adapter, _ = trained
    page, facts, picture = (tmp_path / name for name in ("r.html", "r.json", "r.png"))
    out = said(capsys, "evaluate", "--adapter", adapter, "--html", page, "--report-json", facts,
               "--picture", picture)  # fmt: skip
    results = json.loads((adapter.parent / "results.json").read_text())
    name, text = TASKS[task].headline(results)
    assert f"{name} {text}" in out
    found = json.loads(facts.read_text())
    for measure in TASKS[task].measures:
        assert found["scores"][measure.key] == pytest.approx(results[measure.key], rel=1e-6)
    written = page.read_text()
    assert TASKS[task].measures[0].text(results[TASKS[task].metric]) in written
    assert written.count("data:image/png;base64,") == len(written.split("<figure><img")) - 1 > 0
    assert ("Calibration</h2>" in written) == ("calibration" in found)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_predict_prints_writes_and_lists_the_same(trained, tmp_path, capsys):
    task, adapter, _ = trained
    file, listed = to_predict(task, tmp_path / "in"), tmp_path / "found.csv"
    command = ["predict", file, "--adapter", adapter, "--csv", listed]
    if TASKS[task].predictor != "clouds":
        command += ["--out", tmp_path / "out"]
    shown = said(capsys, *command)
    (row,) = json.loads(said(capsys, *command, "--json"))
    rows = list(csv.DictReader(listed.open(encoding="utf-8")))
    assert rows and all(line["path"] == row["path"] == str(file) for line in rows)
    assert not any(line["error"] for line in rows)
    again = predict(file, adapter, **({"out": tmp_path / "b"} if len(command) > 6 else {}))
    for _, text in again[0].shown()[1:3]:
        assert text.split("\n")[0][:20] in shown


@pytest.mark.parametrize("trained", FOREIGN, indirect=True)
def test_a_foreign_answer_is_the_model_s(trained, tmp_path):
    """The activation is the task's own: no softmax on what is no choice."""
    task, adapter, _ = trained
    file, model = to_predict(task, tmp_path), adapter_folder.load(adapter)
    cloud = reader_of(adapter_folder.read_adapter_config(adapter))(file)
    with torch.no_grad():
        (output,) = model(normalize(torch.from_numpy(cloud)[None]))
    (row,) = predict(file, adapter)
    if task == "column":
        assert row.values["value"] == pytest.approx(float(output), rel=1e-5)
        assert row.label == f"{float(output):.4g}" and row.confidence is None
    else:
        want = [1 / (1 + math.exp(-x)) for x in output.tolist()]
        assert [row.values[name] for name in model.classes] == pytest.approx(want, rel=1e-5)
        has = [name for name, p in zip(model.classes, want, strict=True) if p > 0.5]
        assert row.label == (", ".join(has) or "none")


def test_compare_ranks_by_the_task_s_own_score(trained, tmp_path, capsys, monkeypatch):
    task, _, flags = trained
    if task != "has_parts":  # whose runs are processes, which find the package by themselves
        run_here(monkeypatch)
    out = said(capsys, "compare", "--methods", "linear_probe", "bitfit", "--out", tmp_path / "b",
               "--jobs", "2", *flags)  # fmt: skip
    board, metric = json.loads((tmp_path / "b/board.json").read_text()), TASKS[task].metric
    scores = {row["label"]: row[metric] for row in board["methods"]}
    assert set(scores) == {"linear_probe", "bitfit"} and None not in scores.values()
    lines = (tmp_path / "b/board.md").read_text().split("---|\n")[1].splitlines()
    ranked = [line.split(" | ")[0].strip("| ") for line in lines[:2]]
    assert scores[ranked[0]] >= scores[ranked[1]]
    assert TASKS[task].measures[0].name.split()[0] in out
    with (tmp_path / "b/board.csv").open() as stream:
        assert [float(r[metric]) for r in csv.DictReader(stream)] == list(scores.values())
    assert (tmp_path / "b/board.png").is_file()


def test_cross_validation_predicts_every_cloud(trained, tmp_path, capsys, monkeypatch):
    task, _, flags = trained
    run_here(monkeypatch)
    out = said(capsys, "cross-validate", "--folds", "2", "--method", "linear_probe", "--out",
               tmp_path / "c", *flags)  # fmt: skip
    results = json.loads((tmp_path / "c/cross_validation.json").read_text())
    metric = TASKS[task].metric
    assert results["metric"] == metric and len(results["folds"]) == 2
    assert results["pooled"]["count"] == results["protocol"]["clouds"]
    assert TASKS[task].headline(results["pooled"])[1] in out
    if TASKS[task].per_point:
        return
    with (tmp_path / "c/predictions.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == results["protocol"]["clouds"]
    assert all(row["label"] and row["predicted"] for row in rows)


def test_robustness_tells_the_task_s_own_score(trained, tmp_path, capsys):
    """Of whole clouds, against the truth of the clean ones: corrupted points keep no labels."""
    task, adapter, _ = trained
    command = ["robustness", "--adapter", str(adapter), "--out", str(tmp_path / "r"), "--most", "2"]
    status = main(command)
    captured = capsys.readouterr()
    if TASKS[task].per_point:
        assert status == 2 and len(captured.err.splitlines()) == 1 and task in captured.err
        assert not (tmp_path / "r/robustness.json").exists()
        return
    assert status == 0, captured.err
    measure = TASKS[task].measures[0]
    found = json.loads((tmp_path / "r/robustness.json").read_text())
    assert found["metric"] == measure.key and np.isfinite(found["clean"])
    scores = [cell[measure.key] for cells in found["cells"].values() for cell in cells]
    assert len(scores) == 35 and np.isfinite(scores).all()
    assert measure.head.split()[0] in captured.out and (tmp_path / "r/robustness.png").is_file()
