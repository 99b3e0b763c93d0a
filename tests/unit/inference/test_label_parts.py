"""Part segmentation from end to end: training, scoring, labelling files, pictures."""

import json

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.cli.main import main
from pointadapt.core.errors import ConfigError, DataLayoutError, UnknownNameError
from pointadapt.data import load_dataset
from pointadapt.data.sets.shapes import Shapes
from pointadapt.data.transforms import resample_along, scale_shift
from pointadapt.inference.classify_files import answer_files
from pointadapt.inference.forward import predict_clouds
from pointadapt.inference.label_parts import Labeller
from pointadapt.inference.score import evaluate
from pointadapt.io import read_cloud, write_points
from pointadapt.ops import farthest_point_sample, gather_points, interpolate, normalize
from pointadapt.reports.evaluation import examine
from pointadapt.tasks.parts import parts_by_class

FAR = np.array([5e5, 5e6, 100.0])  # as map coordinates are
TASK = ("--task", "part_segmentation", "--task-options", "width=16", "hidden=16,8")


@pytest.fixture(scope="module")
def run(micro_flags, tmp_path_factory):
    """A run folder of two epochs with an adapter that labels parts."""
    out = tmp_path_factory.mktemp("parts") / "run"
    flags = ["--method", "dapt", "--options", "rank=4", "--no-summary", "--epochs", "2"]
    assert main(["train", "--out", str(out), *micro_flags, *TASK, *flags]) == 0
    return out


@pytest.fixture(scope="module")
def clouds():
    return load_dataset("shapes", points=64, size=64, test_size=32).load("test")


def test_what_training_reports(run):
    results = json.loads((run / "results.json").read_text())
    assert results["task"] == "part_segmentation"
    assert 0 < results["instance_miou"] < 100
    assert len(results["per_class"]) == 32
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert rows[1]["loss"] < rows[0]["loss"]
    config = adapter_folder.read_adapter_config(run / "adapter")
    assert config["head_inputs"] == ["token_max", "token_mean"]
    assert "chair/arm" in config["parts"]


def test_the_saved_adapter_scores_what_was_reported(run, clouds):
    results = json.loads((run / "results.json").read_text())
    scores = evaluate(adapter_folder.load(run / "adapter"), clouds, 64)
    for key in ("instance_miou", "class_miou", "accuracy", "per_class", "count"):
        assert scores[key] == results[key], key


def test_predictions_are_those_of_the_model(run, clouds):
    model = adapter_folder.load(run / "adapter")
    found = predict_clouds(model, clouds, 64)
    assert found.shape == (32, 64)
    points, category = normalize(torch.from_numpy(clouds.points)), torch.from_numpy(clouds.labels)
    with torch.no_grad():
        logits = model(points, category)
    own = torch.tensor(
        [[part.startswith(f"{name}/") for part in clouds.part_names] for name in clouds.classes]
    )
    logits[~own[category].unsqueeze(1).expand_as(logits)] = -torch.inf
    assert (logits.argmax(dim=-1) == found).float().mean() > 0.999  # batches of 16: rounding


def test_more_points_than_the_network_sees(run):
    many = load_dataset("shapes", points=100, size=64, test_size=4).load("test")
    model = adapter_folder.load(run / "adapter")
    found = predict_clouds(model, many, 64)
    points = normalize(torch.from_numpy(many.points))
    some = gather_points(points, farthest_point_sample(points, 64))
    category = torch.from_numpy(many.labels)
    with torch.no_grad():
        spread = interpolate(points, some, model(some, category).softmax(dim=-1))
    task = model.adapter.task
    assert torch.equal(task.predict(spread, category, model.adapter.names), found)
    assert evaluate(model, many, 64)["count"] == 4
    assert evaluate(model, many, 64, votes=2)["votes"] == 2
    draw = torch.Generator().manual_seed(0)
    drawn, _ = resample_along(points, [], 64, draw)
    with torch.no_grad():
        logits = model(scale_shift(drawn, draw), category)
    released = predict_clouds(model, many, 64, votes=1, voting="released")
    spread = interpolate(points, drawn, logits).softmax(dim=-1)
    assert torch.equal(task.predict(spread, category, model.adapter.names), released)


def test_one_seed_gives_one_result_and_resuming_goes_on(run, micro_flags, tmp_path, monkeypatch):
    flags = ["--method", "dapt", "--options", "rank=4", "--no-summary", "--epochs", "2"]
    flags = ["train", "--out", str(tmp_path), *micro_flags, *TASK, *flags]

    from pointadapt.training.progress import TrainingDisplay

    def killed(self, row, plain=TrainingDisplay.epoch_done):
        plain(self, row)
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingDisplay, "epoch_done", killed)
        assert main(flags) != 0
    assert main([*flags, "--resume"]) == 0
    one, other = (json.loads((p / "results.json").read_text()) for p in (run, tmp_path))
    assert {k: one[k] for k in ("instance_miou", "per_class")} == {
        k: other[k] for k in ("instance_miou", "per_class")
    }


@pytest.mark.parametrize("select", ["val", "test"])
def test_selection_is_by_instance_miou(select, micro_flags, tmp_path):
    flags = ["--method", "linear_probe", "--select", select, "--no-summary"]
    size = ["--data-options", "size=96", "test_size=32"]
    assert main(["train", "--out", str(tmp_path), *micro_flags, *TASK, *flags, *size]) == 0
    assert f"{select}_instance_miou" in (tmp_path / "log.jsonl").read_text()


def test_other_data_are_refused(run, clouds, toy_root, tmp_path, capsys):
    model = adapter_folder.load(run / "adapter")
    plain = Shapes(points=64, test_size=4).load("test")
    object.__setattr__(plain, "part_names", plain.part_names[::-1])
    with pytest.raises(DataLayoutError, match=r"parts and the adapter .* their order"):
        evaluate(model, plain, 64)
    flags = ["train", "--out", str(tmp_path), "--data", "folder", "--root", str(toy_root)]
    assert main([*flags, "--points", "64", *TASK]) == 2
    assert "part segmentation needs a part label" in capsys.readouterr().err
    flags = ["train", "--out", str(tmp_path), "--data-options", "labels=variant", "size=64"]
    assert main([*flags, "--points", "64", *TASK]) == 2
    assert "has no part among the part names" in capsys.readouterr().err


# ---- evaluate, and its picture


def test_the_command_evaluates_and_draws(run, tmp_path, capsys):
    picture = tmp_path / "parts.png"
    flags = ["evaluate", "--adapter", str(run / "adapter"), "--picture", str(picture)]
    assert main(flags) == 0
    out = capsys.readouterr().out
    assert "instance mIoU" in out and "mIoU %" in out and "chair" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


# ---- files


@pytest.fixture
def files(tmp_path, clouds):
    """Three chairs of 300, 64 and 40 points in a folder "chair", far from the origin."""
    cloud = clouds.points[clouds.classes.index("chair")]
    many = np.tile(cloud, (5, 1))[:300] + np.random.default_rng(0).normal(0, 0.01, (300, 3))
    for name, points in (("a.ply", many), ("b.xyz", cloud), ("c.npy", cloud[:40])):
        write_points(tmp_path / "chair" / name, points.astype(np.float64) + FAR)
    return tmp_path / "chair"


@pytest.mark.parametrize("form", ["ply", "csv", "npz", "pcd", "las"])
def test_labels_are_written_beside_the_points(run, files, tmp_path, form):
    rows, shown = Labeller(run / "adapter", tmp_path / "out", form=form).files(files, show=2)
    assert [row.category for row in rows] == ["chair"] * 3
    names = json.loads((tmp_path / "out/parts.json").read_text())
    for row, count in zip(rows, (300, 64, 40), strict=True):
        assert row.out == tmp_path / "out" / f"{row.path.stem}.{form}"
        stored, got = read_cloud(row.path), read_cloud(row.out)
        assert len(got) == count
        np.testing.assert_allclose(got.points, stored.points, atol=1e-4)
        found = {names[str(k)] for k in got.labels.tolist()}
        assert found == {name for name, _ in row.shares}
        assert all(name.startswith("chair/") for name in found)
        assert sum(share for _, share in row.shares) == pytest.approx(1)
        assert 0 < row.confidence <= 1
    assert shown.points.shape[0] == 2 and shown.titles == ("a.ply", "b.xyz")


def test_as_many_points_as_in_training_are_labelled_by_the_model_itself(run, files, tmp_path):
    label = Labeller(run / "adapter", tmp_path / "out")
    cloud = read_cloud(files / "b.xyz").points
    cloud = (cloud - cloud.mean(axis=0)).astype(np.float32)
    chair = label.names.classes.index("chair")
    labels, _ = label.label(cloud, chair)
    points = normalize(torch.from_numpy(cloud)[None])
    with torch.no_grad():
        sure = label.model(points, torch.tensor([chair])).softmax(dim=-1)
    want = label.task.predict(sure, torch.tensor([chair]), label.names)
    assert np.array_equal(labels, want[0].numpy())


def test_bad_files_keep_their_place(run, files, tmp_path):
    (files / "bad.ply").write_bytes(b"\xff\xd8\xff")
    write_points(files / "few.ply", np.zeros((3, 3)))
    label = Labeller(run / "adapter", tmp_path / "out")
    paths = [tmp_path / "none.ply", files, files / "a.ply"]
    rows, _ = label.files(paths)
    errors = [row.error for row in rows]
    assert [e is None for e in errors] == [False, True, True, False, True, False, True]
    assert rows[-1].out == tmp_path / "out/a_2.ply"  # nothing is overwritten
    assert "fewer than 16" in errors[5]


def test_the_class_of_a_file(run, files, tmp_path):
    other = files.rename(tmp_path / "stuff")
    rows, _ = Labeller(run / "adapter", tmp_path / "out").files(other)
    assert all("pass --category NAME" in row.error for row in rows)
    rows, _ = Labeller(run / "adapter", tmp_path / "out", category="lamp").files(other)
    assert [row.category for row in rows] == ["lamp"] * 3
    assert all(name.startswith("lamp/") for name, _ in rows[0].shares)
    with pytest.raises(UnknownNameError, match="did you mean 'lamp'"):
        Labeller(run / "adapter", tmp_path / "out", category="lmp")


def test_the_command(run, files, tmp_path, capsys):
    flags = [str(files), "--adapter", str(run / "adapter"), "--out", str(tmp_path / "out")]
    extra = ["--csv", str(tmp_path / "t.csv"), "--picture", str(tmp_path / "p.png"), "--json"]
    assert main(["predict", *flags, *extra]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["category"] for row in rows] == ["chair"] * 3
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    table = (tmp_path / "t.csv").read_text().splitlines()
    assert table[0].startswith("path,class,part,share")
    assert len(table) == 1 + sum(len(row["shares"]) for row in rows)
    assert main(["predict", *flags]) == 0
    assert "chair/" in capsys.readouterr().out


def test_confidence_is_that_among_the_parts_of_the_class(run, clouds, files, tmp_path):
    model = adapter_folder.load(run / "adapter")
    parts = parts_by_class(model.adapter.names)
    least = np.array([1 / len(parts[label]) for label in clouds.labels])
    found = examine(model, clouds, 64)
    assert (found.confidence >= least[:, None] - 1e-5).all()  # the largest of so many shares
    rows, _ = Labeller(run / "adapter", tmp_path / "out").files(files)
    chair = len(parts[model.classes.index("chair")])
    assert all(row.confidence >= 1 / chair - 1e-5 for row in rows)


def test_the_wrong_adapter(run, micro_adapter, files, tmp_path):
    with pytest.raises(ConfigError, match="part_segmentation, which says nothing of a file"):
        answer_files(files, run / "adapter")
    with pytest.raises(ConfigError, match="labels whole clouds"):
        Labeller(micro_adapter, tmp_path / "out")


def test_points_without_coordinates_are_dropped_where_asked(run, files, tmp_path):
    points = np.random.default_rng(0).normal(size=(90, 3))
    points[7] = np.nan
    path = files / "holes.npy"
    np.save(path, points)
    (row,), _ = Labeller(run / "adapter", tmp_path / "out").files(path)
    assert "first in row 7" in str(row.error)
    (row,), _ = Labeller(run / "adapter", tmp_path / "out", nan="drop").files(path)
    np.testing.assert_allclose(read_cloud(row.out).points, np.delete(points, 7, axis=0))
