"""A look inside an adapter: which clouds, in which words, on which page."""

import base64
import json
import re

import numpy as np
import pytest
import torch

import pointadapt
from pointadapt.adapters.folder import save_adapter
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.cli.main import main
from pointadapt.core.errors import ConfigError, DataLayoutError, PointAdaptError
from pointadapt.core.notes import PointAdaptNote
from pointadapt.io import write_points
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.reports.inspection.clouds import drawn
from pointadapt.reports.inspection.draw import nearest_patch
from pointadapt.reports.inspection.features import nearest, plane
from pointadapt.reports.inspection.page import write_page
from pointadapt.reports.inspection.words import next_steps, summary
from pointadapt.reports.inspection.worth import counts
from pointadapt.tasks import make_task

BLOBS = np.random.default_rng(0).normal(0, 0.1, (30, 6)) + np.repeat(np.eye(3, 6), 10, axis=0) * 5


@pytest.fixture(scope="module")
def own_run(toy_root, bare_backbone, tmp_path_factory):
    """A DAPT adapter of a user's own files."""
    return pointadapt.train(
        method="dapt", options=("rank=4",), data="folder", root=toy_root, points=64, epochs=2,
        out=tmp_path_factory.mktemp("own") / "run", batch_size=8, lr=5e-3, tensorboard=False,
        backbone=str(bare_backbone("point_vit")), threads=1,
    )  # fmt: skip


def saved(folder, backbone, task, classes, parts):
    """An adapter that labels points, as it starts."""
    net = load_backbone(backbone)
    model = PointModel(
        net, Adapter(net, make_method("dapt"), make_task(task), classes, parts=parts)
    )
    return save_adapter(model, folder, backbone=str(backbone), points=64)


@pytest.fixture(scope="module")
def command(own_run, toy_root, tmp_path_factory):
    """The folder that the command wrote of files with known classes."""
    out = tmp_path_factory.mktemp("command") / "seen"
    args = ["inspect", own_run["adapter"], str(toy_root / "test"), "--out", str(out)]
    assert main([*args, "--json"]) == 0
    return out


def test_the_command_on_a_folder_of_classes(own_run, command):
    out, found = command, json.loads((command / "inspect.json").read_text())
    assert found["page"] == str(out / "inspect.html")
    assert found["clouds"] == found["score"]["known"] == 16
    assert found["score"]["value"] == pytest.approx(own_run["accuracy"])
    assert found["score"]["commonest"] == 25
    assert found["features"]["errors"] == round(16 * (1 - own_run["accuracy"] / 100))
    assert [row["prompts"] for row in found["prompts"]] == [0, 1, 2]
    assert [row["input"] for row in found["inputs"]] == ["cls", "prompt_mean", "patch_max"]
    assert found["mean_of"] == "40 training clouds"
    assert len(found["changes"]) == len(found["scales"]) == 2
    assert sorted(p.name for p in out.iterdir()) == [
        "changes.png", "features.png", "inspect.html", "inspect.json", "scale_means.png",
        "scales.png", "worth.png",
    ]  # fmt: skip
    page = (out / "inspect.html").read_text()
    inside = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    assert [base64.b64decode(text) for text in inside] == [
        (out / f"{name}.png").read_bytes()
        for name in ("scales", "scale_means", "changes", "worth", "features")
    ]
    assert not re.search(r"https?://|@import|url\(|src=\"(?!data:)", page)


def test_its_own_test_data_are_what_is_seen_without_files(own_run, toy_root, tmp_path):
    first = pointadapt.inspect(own_run["adapter"], out=tmp_path / "a", most=8)
    again = pointadapt.inspect(own_run["adapter"], out=tmp_path / "b", most=8, root=toy_root)
    assert first["source"] == "folder, test" and first["clouds"] == 8
    changing = ("seconds", "date", "page", "pictures", "machine")
    for key in first.keys() - changing:
        assert first[key] == again[key], key


def test_files_without_a_class_say_what_is_missing(own_run, tmp_path, capsys):
    rng = np.random.default_rng(1)
    for k in range(3):
        write_points(tmp_path / "in" / f"{k}.npy", rng.normal(size=(80, 3)).astype(np.float32))
    out = tmp_path / "out"
    assert main(["inspect", own_run["adapter"], str(tmp_path / "in"), "--out", str(out)]) == 0
    text, found = capsys.readouterr().out, json.loads((out / "inspect.json").read_text())
    assert all(line in text for line in found["summary"])
    assert str(out / "inspect.html") in text and "pointadapt predict" in text
    assert "score" not in found and not found["prompts"] and not found["inputs"]
    assert any("class of no cloud is known" in text for text in found["not_shown"])
    assert any("too few clouds for a map" in text for text in found["not_shown"])
    assert set(found["pictures"]) == {"scales", "scale_means", "changes"}
    assert len(found["changes"]) == 2


def test_bad_input_is_answered_in_one_line(own_run, toy_root, tmp_path, capsys):
    adapter, out = own_run["adapter"], tmp_path / "out"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.ply").write_text("no cloud")
    with pytest.raises(PointAdaptError, match=r"x\.ply"):
        pointadapt.inspect(adapter, tmp_path / "bad", out=out)
    with pytest.raises(PointAdaptError, match="gone"):
        pointadapt.inspect(adapter, tmp_path / "gone", out=out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PointAdaptError, match="holds no file that is read"):
        pointadapt.inspect(adapter, tmp_path / "empty", out=out)
    with pytest.raises(ConfigError, match="not both"):
        pointadapt.inspect(adapter, toy_root, root=toy_root, out=out)
    with pytest.raises(DataLayoutError, match="classes"):
        pointadapt.inspect(adapter, data="shapes", data_options=("size=64",), out=out)
    for wrong in (["--most", "-1"], ["--shown", "0"]):
        assert main(["inspect", adapter, "--out", str(out), *wrong]) == 2
    assert main(["inspect", str(tmp_path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("pointadapt: error:") == len(error.splitlines()) == 3
    assert not out.exists()


def test_a_bad_file_among_good_ones_is_left_out(own_run, toy_root, tmp_path):
    (tmp_path / "x.ply").write_text("no cloud")
    with pytest.warns(PointAdaptNote, match=r"1 of 17 files are left out.*x\.ply"):
        found = pointadapt.inspect(
            own_run["adapter"], [toy_root / "test", tmp_path / "x.ply"], out=tmp_path / "out"
        )
    assert found["clouds"] == 16 and "x.ply" in found["left_out"][0]
    assert "Left out:" in (tmp_path / "out" / "inspect.html").read_text()


def test_an_adapter_that_labels_points(micro_backbone, toy_root, tmp_path):
    names = ("ball", "bar")
    adapter = saved(
        tmp_path / "parts", micro_backbone, "part_segmentation", names, ("ball/a", "bar/b")
    )
    found = pointadapt.inspect(adapter, toy_root / "test", out=tmp_path / "out")
    assert any("labels points" in text for text in found["not_shown"])
    assert set(found["pictures"]) == {"scales", "scale_means", "changes"}
    scene = saved(tmp_path / "scene", micro_backbone, "scene_segmentation", ("scene",), ("a", "b"))
    with pytest.raises(ConfigError, match="blocks of scenes"):
        pointadapt.inspect(scene, toy_root / "test", out=tmp_path / "other")


def test_clouds_are_drawn_from_all_classes_alike():
    labels = np.array([0] * 50 + [1] * 5 + [2] * 2)
    index = drawn(labels, 9, seed=3)
    assert np.bincount(labels[index]).tolist() == [4, 3, 2]
    assert index.tolist() == sorted(set(index)) == drawn(labels, 9, seed=3).tolist()
    assert drawn(labels, 0, 0).tolist() == list(range(57)) == drawn(labels, 57, 0).tolist()
    assert drawn(labels, 9, seed=4).tolist() != index.tolist()


def test_numbers_of_prompts_that_are_tried():
    assert counts(2) == [0, 1, 2]
    assert counts(8) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert counts(12) == [0, 1, 2, 4, 8, 12]
    assert counts(16) == [0, 1, 2, 4, 8, 16]


def test_a_map_keeps_apart_what_is_apart():
    at = plane(BLOBS, seed=0)
    assert np.array_equal(at, plane(BLOBS, seed=0))
    own = np.repeat([0, 1, 2], 10)
    assert (own[nearest(at)] == own).all() and (own[nearest(BLOBS)] == own).all()
    assert (nearest(BLOBS) != np.arange(30)).all()
    assert plane(BLOBS[:7], seed=0) is None
    assert nearest(np.zeros((4, 2))).tolist() != [0, 1, 2, 3]  # equal rows: never itself


def test_a_point_belongs_to_the_nearest_patch():
    centers = np.array([[0.0, 0, 0], [1, 0, 0]])
    points = np.array([[0.4, 0, 0], [0.6, 0, 0], [5, 0, 0]])
    assert nearest_patch(points, centers).tolist() == [0, 1, 1]


def row(score, change=0.0, error=0.0):
    return {"score": score, "change": change, "error": error}


def facts(**changes):
    scale = [{"block": k, "patches": {"mean": m, "moved": s}} for k, m, s in
             ((0, 0.5, 80.0), (1, 0.02, 4.0), (2, 1.5, 95.0))]  # fmt: skip
    blocks = [{"block": k, "own": own, "apart": 0.3} for k, own in enumerate((0.25, 0.004, 0.4))]
    made = {
        "scales": scale, "changes": blocks, "entry": 0.0,
        "score": {"unit": "%", "value": 80.0, "known": 100, "name": "accuracy", "commonest": 30.0},
        "prompts": [{"prompts": 0, **row(60, -20, 5)}, {"prompts": 1, **row(79.5, -0.5, 2)},
                    {"prompts": 2, **row(80)}],
        "inputs": [
            {"input": "cls", "without": row(80, 0, 1), "alone": row(40, -40, 6)},
            {"input": "patch_max", "without": row(50, -30, 5), "alone": row(78, -2, 2)},
        ],
        "features": {"agree": {"adapter": 90.0, "bare": 70.0}, "errors": 20, "known": 100,
                     "lost": 6},
    }  # fmt: skip
    return made | changes


def test_words_say_what_is_seen():
    text = " ".join(summary(facts()))
    assert "Block 1 moves almost no patch: its scale is 0 on 96 % of them." in text
    assert "The scale is largest in block 2: 1.5 on average" in text
    assert "Block 1 does as the frozen backbone does" in text
    assert "changes most in block 2: 40 %" in text and "30 % away" in text
    assert "60.0 % without any, 80.0 % with all 2; the newest 1 are enough" in text
    assert "patch_max does best alone: 78.0 %" in text
    assert "patch_max is missed most: 50.0 %" in text
    assert "does not fall where cls is taken away." in text
    assert "90 % of the clouds have one of their own class" in text and "more than" in text
    assert "That is more than the 80.0 % that are predicted rightly" in text
    assert "20 of 100 clouds are predicted wrongly; 6 of these" in text


def test_words_say_no_more_than_the_clouds_can_tell():
    unsure = facts(prompts=[{"prompts": 0, **row(70, -10, 8)}, {"prompts": 1, **row(80)}])
    assert "Too few clouds to tell what the prompts are worth" in " ".join(summary(unsure))
    useless = facts(prompts=[{"prompts": 0, **row(80, 0.0, 0)}, {"prompts": 1, **row(80)}])
    assert "The prompts show no use here" in " ".join(summary(useless))
    chance = facts(score={**facts()["score"], "value": 30.0})
    text = " ".join(summary(chance))
    assert "no better than always naming the commonest class (30.0 %)" in text
    assert "prompts are" not in text.replace("what prompts", "") and "head's inputs" not in text
    scale = {"mean": 0.0, "moved": 0.0}
    rows = [{"block": k, "patches": {**scale, "moved": m}} for k, m in ((0, 0), (3, 2), (5, 50))]
    text = " ".join(summary(facts(scales=rows)))
    assert "Blocks 0 and 3 move almost no patch: their scale is 0 on 100 and 98 % of them." in text
    nothing = facts(scales=[], prompts=[], inputs=[], features={})
    assert "scale" not in " ".join(summary(nothing))


def test_idle_blocks_give_the_command_to_train_again(own_run):
    about = pointadapt.load(own_run["adapter"]).adapter.about
    config = pointadapt.InspectConfig(adapter=own_run["adapter"])
    steps = dict(next_steps(config, facts(), make_method("dapt"), about))
    again = next(command for why, command in steps.items() if "idle" in why)
    assert "--options rank=4 scale_start=one" in again and "run-scale" in again
    fixed = make_method("dapt", {"scale_start": "one"})
    again = next(c for why, c in next_steps(config, facts(), fixed, about) if "idle" in why)
    assert "dynamic_scale=false scale=1" in again
    assert "--resume" not in again
    without = next(c for why, c in steps.items() if "need cls" in why)
    assert "--head patch_max" in without
    busy = facts(scales=facts()["scales"][::2])
    assert not any("idle" in why for why, _ in next_steps(config, busy, fixed, about))


def test_names_of_strangers_stay_text(command, tmp_path):
    found = json.loads((command / "inspect.json").read_text())
    found["features"]["wrong"] = [
        {"name": "<script>x</script>", "true": "a&b", "predicted": "<i>", "neighbour": '"'}
    ]
    found["source"] = "<b>own</b>"
    text = write_page(tmp_path / "page.html", found).read_text()
    assert "&lt;script&gt;x" in text and text.count("<script>") == 1
    assert "<b>own</b>" not in text and "<i>" not in text


def test_the_score_is_that_of_evaluate_for_a_linear_fit(toy_root, bare_backbone, tmp_path):
    run = pointadapt.train(
        method="instant", data="folder", root=toy_root, points=64, out=tmp_path / "run", threads=1,
        backbone=str(bare_backbone("point_vit")), tensorboard=False,
    )  # fmt: skip
    found = pointadapt.inspect(run["adapter"], out=tmp_path / "seen")
    assert found["score"]["value"] == run["accuracy"]
    assert not found["scales"] and not found["prompts"] and len(found["inputs"]) == 7
    assert any("no scale of each token" in text for text in found["not_shown"])
    assert "No block does anything but what the frozen backbone does." in found["summary"]
    assert torch.tensor([row["own"] for row in found["changes"]]).eq(0).all()
