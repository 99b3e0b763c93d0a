"""Predicting files: order, bad files, agreement with the model itself, the training's up axis."""

import json
import shutil

import numpy as np
import pytest
import torch

import pointadapt
from pointadapt.cli import main as cli
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.data.sets.folder import upright
from pointadapt.inference.classify_files import answer_files, reader_of
from pointadapt.inference.rows import list_files
from pointadapt.io import read_points, write_points
from pointadapt.ops import normalize


def test_equal_to_the_model(own_files, micro_adapter):
    rows = answer_files(own_files, micro_adapter, top=2)
    assert [row.path for row in rows] == sorted(own_files.rglob("*.*"))
    model = pointadapt.load(micro_adapter)
    for row in rows:
        points = torch.from_numpy(read_points(row.path, n=64))[None]
        with torch.no_grad():
            probabilities = model(normalize(points)).softmax(dim=1)[0]
        assert row.label == model.classes[int(probabilities.argmax())]
        assert row.confidence == pytest.approx(float(probabilities.max()), rel=1e-5)
        assert row.top[0] == (row.label, row.confidence)
        assert row.top[0][1] >= row.top[1][1] and len(row.top) == 2


def test_batches_change_nothing(own_files, micro_adapter):
    done = []
    one = answer_files(own_files, micro_adapter, batch_size=1)
    many = answer_files(own_files, micro_adapter, batch_size=3, on_batch=done.append)
    assert [r.label for r in one] == [r.label for r in many]
    assert np.allclose([r.confidence for r in one], [r.confidence for r in many], rtol=1e-5)
    assert done == [3, 6, 8]


def test_a_loaded_model(own_files, micro_adapter):
    file = own_files / "flat" / "0.ply"
    model = pointadapt.load(micro_adapter)
    (row,) = answer_files(file, model, points=64)
    assert row.confidence == pytest.approx(
        answer_files(file, micro_adapter)[0].confidence, rel=1e-6
    )
    assert answer_files(file, model) == answer_files(file, micro_adapter)  # knows its points
    model.adapter.about = {}
    with pytest.raises(ConfigError, match="points="):
        answer_files(file, model)


def test_bad_files_keep_their_place(own_files, micro_adapter, tmp_path):
    good = own_files / "flat" / "0.ply"
    bad = own_files / "flat" / "bad.ply"
    bad.write_bytes(b"\xff\xd8\xff\xe0 JPEG")
    (tmp_path / "empty").mkdir()
    paths = [tmp_path / "none.ply", good, bad, tmp_path / "empty", good]
    rows = answer_files(paths, micro_adapter, batch_size=2)
    assert [row.error is None for row in rows] == [False, True, False, False, True]
    assert rows[1] == rows[4]
    assert all(row.label == "" and str(row.path) in str(row.error) for row in rows if row.error)
    assert rows[0].to_dict()["path"] == str(paths[0])


def test_folders_are_searched(own_files):
    (own_files / "notes.md").write_text("no cloud")
    (own_files / ".hidden.ply").write_text("")
    assert len(list_files(own_files)) == 8
    assert len(list_files([str(own_files / "flat"), own_files / "tall" / "0.ply"])) == 5


@pytest.fixture
def y_up_adapter(micro_adapter, tmp_path):
    """The micro adapter as if it had been trained on a folder of files whose y points up."""
    folder = tmp_path / "adapter"
    shutil.copytree(micro_adapter, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["results"]["config"] |= {"data": "folder", "data_options": ["up=y", "min_points=3"]}
    config["results"]["config"]["a_key_of_the_future"] = 1
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_files_are_read_as_in_training(y_up_adapter, micro_adapter, tmp_path):
    cloud = np.random.default_rng(1).uniform(-1, 1, (64, 3)).astype(np.float32)
    write_points(tmp_path / "c.npy", cloud)
    config = json.loads((y_up_adapter / "adapter_config.json").read_text())
    assert np.array_equal(reader_of(config)(tmp_path / "c.npy"), upright(cloud, "y"))
    assert np.array_equal(reader_of(config, "z")(tmp_path / "c.npy"), cloud)
    turned, plain = (answer_files(tmp_path / "c.npy", a)[0] for a in (y_up_adapter, micro_adapter))
    assert turned.confidence != plain.confidence
    again = answer_files(tmp_path / "c.npy", micro_adapter, up="y")[0]
    assert again.confidence == pytest.approx(turned.confidence, rel=1e-6)


def test_fewest_points(y_up_adapter, micro_adapter, tmp_path):
    (tmp_path / "c.xyz").write_text("0 0 0\n1 0 0\n0 1 0\n0 0 1\n")
    assert "4 points" in str(answer_files(tmp_path / "c.xyz", micro_adapter)[0].error)
    assert answer_files(tmp_path / "c.xyz", y_up_adapter)[0].error is None


def test_without_a_training_configuration(micro_adapter, tmp_path, own_files):
    """A converted adapter does not say how it was trained."""
    from pointadapt.adapters.protocol import Protocol

    folder = tmp_path / "adapter"
    shutil.copytree(micro_adapter, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["results"] = {}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert answer_files(own_files, folder)[0].error is None
    with pytest.raises(ConfigError, match="--data"):
        Protocol.of(folder)
    protocol = Protocol.of(folder, "shapes", options=("test_size=3",))
    assert (protocol.points, protocol.precision) == (64, "fp32")
    assert protocol.load("test").points.shape == (3, 64, 3)


def test_protocol_of_a_training(micro_adapter):
    from pathlib import Path

    from pointadapt.adapters.protocol import Protocol

    own = Protocol.of(micro_adapter)
    assert own.data == "shapes" and own.options["test_size"] == "32"
    other = Protocol.of(micro_adapter, "folder", Path("x"), ("up=y",))
    assert other.options == {"points": 64, "root": Path("x"), "up": "y"}


def test_arguments(own_files, micro_adapter):
    with pytest.raises(ConfigError, match="at least 1"):
        answer_files(own_files, micro_adapter, top=0)
    with pytest.raises(UnknownNameError, match="axis"):
        answer_files(own_files, micro_adapter, up="w")  # type: ignore[arg-type]
    assert len(answer_files(own_files, micro_adapter, top=99)[0].top) > 9


def test_many_files_are_counted_where_a_table_is_written(
    micro_adapter, tmp_path, capsys, monkeypatch
):
    from pointadapt.cli import rows as command

    monkeypatch.setattr(command, "MANY", 2)
    rng = np.random.default_rng(0)
    for name in ("a", "deep/b", "deep/er/c"):
        (tmp_path / f"in/{name}.npy").parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"in/{name}.npy", rng.normal(size=(90, 3)))
    for k in range(4):
        (tmp_path / f"in/bad{k}.xyz").write_text("1 2\n")
    flags = ["predict", str(tmp_path / "in"), "--adapter", str(micro_adapter)]
    table = tmp_path / "p.csv"
    assert cli.main([*flags, "--csv", str(table)]) == 2
    out, err = capsys.readouterr()
    assert "7 files, 4 of them not readable" in out and "a.npy" not in out
    assert len(err.splitlines()) == 3 and "and 2 more files" in err
    assert len(table.read_text().splitlines()) == 8
    assert cli.main(flags) == 2  # without the table all are listed
    out, err = capsys.readouterr()
    assert "a.npy" in out and len(err.splitlines()) == 4


def test_points_without_coordinates_are_dropped_where_asked(micro_adapter, tmp_path):
    points = np.random.default_rng(0).normal(size=(80, 3))
    points[[3, 40]] = np.nan
    np.save(tmp_path / "a.npy", points)
    np.save(tmp_path / "whole.npy", np.delete(points, [3, 40], axis=0))
    (row,) = answer_files(tmp_path / "a.npy", micro_adapter)
    assert "2 of 80 points, first in row 3" in str(row.error) and "--nan drop" in str(row.error)
    (row,) = answer_files(tmp_path / "a.npy", micro_adapter, nan="drop")
    (whole,) = answer_files(tmp_path / "whole.npy", micro_adapter)
    assert (row.label, row.confidence) == (whole.label, whole.confidence)
    with pytest.raises(UnknownNameError, match="value of nan 'keep'"):
        answer_files(tmp_path / "a.npy", micro_adapter, nan="keep")


def test_notes_are_printed_once_and_json_stays_json(micro_adapter, tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", np.vstack([rng.normal(size=(80, 3)), [(1e6, 0, 0)]]))
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "same.npy").write_bytes(b"")
    np.save(tmp_path / "same.npy", np.ones((80, 3)))
    args = ["predict", str(tmp_path), "--adapter", str(micro_adapter), "--json"]
    assert cli.main(args) == 2
    out, err = capsys.readouterr()
    assert [row["error"] is None for row in json.loads(out)] == [True, False]
    assert sorted(err.splitlines()) == [
        f"pointadapt: error: {tmp_path}/same.npy: all of its 80 points are the same, (1, 1, 1): "
        "leave it out, or get it again",
        f"pointadapt: note: {tmp_path}/a.npy: 1 of its 81 points is far away from all others, the "
        "first in row 80 (counted from 0), (1e+06, 0, 0): take out what is a mistake",
        f"pointadapt: note: {tmp_path}: 1 of 3 files are not read: 1 .jpg",
    ]


@pytest.fixture
def sized_adapter(own_files, micro_backbone, tmp_path):
    """An instant adapter, which takes the size of the files."""
    results = pointadapt.train(
        method="instant", data="folder", root=own_files, points=64, out=tmp_path / "run",
        backbone=str(micro_backbone), threads=1, tensorboard=False,
    )  # fmt: skip
    return results["adapter"]


def test_files_in_another_unit_are_told(own_files, sized_adapter, tmp_path, capsys):
    file = sorted(own_files.rglob("*.ply"))[0]
    write_points(tmp_path / "mm.ply", read_points(file) * 1000)
    row, same = answer_files([tmp_path / "mm.ply", file], sized_adapter)
    assert "times as large as any training cloud" in row.note and row.label
    assert same.note == "" and row.to_dict()["note"] == row.note
    assert cli.main(["predict", str(tmp_path / "mm.ply"), "--adapter", sized_adapter]) == 0
    said = [x for x in capsys.readouterr().err.splitlines() if "note: " in x]
    assert len(said) == 1 and "mm.ply: " in said[0] and "in another unit?" in said[0]


def test_size_is_that_of_the_whole_file(own_files, sized_adapter):
    """A loaded model is told the traits of the files, as the adapter's folder is."""
    model = pointadapt.load(sized_adapter)
    from_folder = answer_files(own_files, sized_adapter)
    loaded = answer_files(own_files, model, points=64)
    assert [r.confidence for r in loaded] == [r.confidence for r in from_folder]
    with pytest.raises(ConfigError, match="cloud_traits"):
        model(torch.rand(1, 64, 3))


# ---- what an adapter keeps of a user's files


def test_the_adapter_keeps_names_of_columns_and_sizes(own_files, micro_backbone, tmp_path, capsys):
    root, out = tmp_path / "renamed", tmp_path / "run"
    for file in sorted(own_files.rglob("*.*")):
        rows = "\n".join(",".join(map(str, row)) for row in read_points(file).tolist())
        to = root / file.parent.name / f"{file.stem}.csv"
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(f"e,n,h,t\n{rows}\n".replace("\n", ",0\n").replace("t,0", "t"))
    (root / "flat" / "bad.csv").write_text("")
    results = pointadapt.train(
        method="linear_probe", data="folder", root=root, points=64, out=out, epochs=1,
        data_options=("columns=e,n,h", "skip=bad"), backbone=str(micro_backbone), threads=1,
        tensorboard=False, batch_size=2, groups=8, group_size=8,
    )  # fmt: skip
    assert results["title"] == "renamed"
    assert results["skipped_files"] == {"flat/bad.csv": "is empty"}
    assert sorted(name.split("/")[0] for name in results["held_out_files"]) == ["flat", "tall"]
    about = pointadapt.load(results["adapter"]).adapter.about
    assert "held_out_files" not in about["results"] and about["dataset"] == "renamed"

    file = root / "tall" / "0.csv"
    far, other = tmp_path / "mm.csv", tmp_path / "other.csv"
    header, *lines = file.read_text().split()
    grown = [",".join(str(1000 * float(v)) for v in line.split(",")) for line in lines]
    far.write_text("\n".join([header, *grown]))
    other.write_text("\n".join(["a,b,c,t", *lines]))
    near, large, unknown = answer_files([file, far, other], results["adapter"])
    assert near.label and near.note == ""
    assert "times as large as any training cloud" in large.note  # the head takes no size
    assert "has no columns e, n, h: only a, b, c, t" in str(unknown.error)
    (named,) = answer_files(other, results["adapter"], columns=("a", "b", "c"))
    assert named.label == near.label and named.confidence == near.confidence
    flags = ["--columns", "a,b,c", "--threads", "1"]
    assert cli.main(["predict", str(other), "--adapter", results["adapter"], *flags]) == 0
    capsys.readouterr()
    flags = ["--adapter", results["adapter"], "--threads", "1", "--no-baseline"]
    assert cli.main(["evaluate", *flags, "--html", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.startswith("renamed test: 2 clouds")
    assert "<title>linear_probe on renamed test" in (tmp_path / "page.html").read_text()
