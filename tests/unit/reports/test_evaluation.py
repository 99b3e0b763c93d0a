"""The page and the JSON file of an evaluation: predictions made up by hand, and a real model."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import pointadapt
from pointadapt.cli.main import main
from pointadapt.core.errors import PointAdaptError
from pointadapt.data import Clouds
from pointadapt.reports import pages
from pointadapt.reports.evaluation import Examination, facts_of, remarks, write_page
from pointadapt.tasks import Names, make_task

CLASSES = ("<script>alert(1)</script>", "a&b", 'c"d', "plain")
VOID = {"meta", "img", "br", "line", "rect", "circle"}


def clouds(n, points=32):
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(n, points, 3)).astype(np.float32)
    return Clouds(cloud, np.arange(n) % 4, CLASSES, tuple(f"dir<{k}>/f&{k}.ply" for k in range(n)))


def classified():
    """Eight clouds: the third and the last wrong, of which the last is surer."""
    given = clouds(8)
    predicted = given.labels.copy()
    predicted[[2, 7]] = [1, 0]
    confidence = np.array([0.91, 0.5, 0.6, 0.95, 0.8, 0.7, 0.55, 0.99], np.float32)
    scores = {"accuracy": 75.0, "class_accuracy": 75.0, "per_class": {}, "count": 8, "votes": 0}
    return seen_as("classification", Names(CLASSES), scores, given, predicted, confidence)


def seen_as(task, names, scores, given, predicted, confidence):
    """An examination of clouds whose labels are predicted, each as surely as that."""
    rows = torch.zeros(len(given), len(names.classes))
    rows[range(len(given)), predicted] = torch.from_numpy(np.asarray(confidence, np.float32))
    return Examination(
        make_task(task), names, scores, given, torch.from_numpy(given.labels), rows,
        100 * (predicted == given.labels).astype(float), predicted, np.asarray(confidence),
    )  # fmt: skip


def labelled(task, names, scores, given, target, predicted, each):
    """An examination of clouds whose points are labelled, all as surely."""
    sure = np.full(target.shape, 0.7, np.float32)
    return Examination(
        make_task(task), names, scores, given, torch.from_numpy(target),
        torch.from_numpy(predicted), np.array(each, float), predicted, sure,
    )  # fmt: skip


def segmented():
    """Three clouds; of the second half the points are wrong, of the third one is not labelled."""
    given, names = clouds(3), ("a/x", "a/<y>", "b/z")
    target = np.tile(np.arange(32) % 3, (3, 1))
    predicted = target.copy()
    predicted[1, :16] = (target[1, :16] + 1) % 3
    target[2, 0] = -1
    scores = {
        "instance_miou": 80.0, "class_miou": 80.0, "accuracy": 83.0, "per_class": {"a&b": 80.0},
        "count": 3, "votes": 0,
    }  # fmt: skip
    names = Names(CLASSES, names)
    return labelled("part_segmentation", names, scores, given, target, predicted, [100, 40, 100])


class Strict(HTMLParser):
    """Tags that close in order, ids of pictures, and everything that could reach the network."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.text, self.images = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "action", "data", "srcset"):
                self.links.append(value)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(path):
    page = Strict()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def test_facts_of_clouds():
    seen = classified()
    facts = json.loads(json.dumps(facts_of(seen, 4)))
    assert facts["confusion_matrix"] == [[2, 0, 0, 0], [0, 2, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]]
    assert [row["index"] for row in facts["confident_errors"]] == [7, 2]
    assert [row["index"] for row in facts["doubtful_right"]] == [1, 6]
    error = facts["confident_errors"][0]
    assert (error["true"], error["predicted"]) == ("plain", CLASSES[0])
    assert error["confidence"] == pytest.approx(99, abs=1e-3)
    assert error["id"] == "dir<7>/f&7.ply"
    assert facts["calibration"]["accuracy"] == 75
    assert facts["interval"][0] < 75 < facts["interval"][1]
    assert facts["confusions"][0]["of"] == 2


def test_facts_of_points():
    facts = json.loads(json.dumps(facts_of(segmented(), 2)))
    assert facts["calibration"]["count"] == 95  # one point's truth is not known
    assert sum(map(sum, facts["confusion_matrix"])) == 95
    worst = facts["worst"][0]
    assert (worst["index"], worst["score"], worst["points_wrong"]) == (1, 40, 16)
    assert worst["mistake"] == {"true": "a/x", "predicted": "a/<y>", "count": 6, "of": 11}
    assert facts["best"][0]["mistake"] is None


def scene():
    """Three blocks of a scene: all right, half wrong, and one of which no point is labelled."""
    given, names = clouds(3), ("floor", "wall", "door")
    given = Clouds(given.points, np.zeros(3, np.int64), ("scene",), ("a#0", "a#1", "a#2"))
    target = np.tile(np.arange(32) % 3, (3, 1))
    predicted = target.copy()
    predicted[1, :16] = (target[1, :16] + 1) % 3
    target[2] = -1
    scores = {
        "miou": 61.5, "accuracy": 75.0, "class_accuracy": 70.0, "count": 3, "votes": 0,
        "per_class": {"floor": 61.0, "wall": 60.0, "door": 63.5}, "labelled": 64,
    }  # fmt: skip
    names = Names(("scene",), names)
    return labelled("scene_segmentation", names, scores, given, target, predicted, [100, 50, 0])


def test_blocks_without_a_label_are_neither_good_nor_bad():
    facts = facts_of(scene(), 4)
    assert [row["id"] for row in facts["worst"]] == ["a#1", "a#0"]
    assert [row["id"] for row in facts["best"]] == ["a#0", "a#1"]


def test_the_page_of_a_scene(tmp_path):
    page = parsed(write_page(tmp_path / "page.html", scene(), facts_of(scene(), 4)))
    text = "".join(page.text)
    assert "61.50 %mIoU" in text and "75.00 %points right" in text
    assert "Each class" in text and "Scores of the classes" not in text  # they are of labels


def test_words():
    text = " ".join(remarks(facts_of(classified())))
    assert "1 of 2 plain taken for <script>alert(1)</script>" in text
    assert 'Weakest: c"d (1 of 2 right)' in text
    assert "Confidence fits the accuracy" in text  # 75 %, near enough
    assert "At 90 % confidence or more, 66.7 % are right; that is 37.5 % of the clouds" in text
    points = " ".join(remarks(facts_of(segmented())))
    assert "points of a/x taken for a/<y>" in points


@pytest.mark.parametrize("make", [classified, segmented], ids=["clouds", "points"])
def test_the_page_is_whole_by_itself(make, tmp_path):
    seen = make()
    facts = facts_of(seen, 4)
    facts["protocol"] = {
        "method": "dapt", "data": "<b>own</b>", "split": "test", "adapter": "/a&b/<i>", "date": "x",
        "trainable_parameters": 1234,
    }  # fmt: skip
    path = write_page(tmp_path / "page.html", seen, facts, [("Go on", "run <this> && that")])
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    page, text = parsed(path), path.read_text()
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text
    assert [tag for tag, _ in page.tags].count("script") == 1  # no class name became one
    assert "<b>own</b>" not in text and "<i>" not in text
    assert "run <this> && that" in "".join(page.text)
    assert len(page.images) == (4 if make is classified else 5)
    for image in page.images:
        assert image["alt"]
        assert base64.b64decode(image["src"].partition(",")[2]).startswith(b"\x89PNG")
    assert sum("aria-label" in attrs for tag, attrs in page.tags if tag == "svg") == 2
    own = (Path(pages.__file__).with_name("page.css")).read_text()
    assert own.strip() in text  # the look is in the page, not beside it
    heads = [attrs for tag, attrs in page.tags if tag == "th"]
    assert all(attrs.get("scope") in ("row", "col") for attrs in heads)


def test_many_labels_show_those_with_errors(tmp_path):
    names = tuple(f"n{k}" for k in range(100))
    target = np.arange(200) % 100
    predicted = target.copy()
    predicted[99] = 3
    given = Clouds(np.random.default_rng(0).random((200, 4, 3), np.float32), target, names)
    scores = {"accuracy": 99.5, "count": 200, "votes": 0}
    sure = np.full(200, 0.9)
    seen = seen_as("classification", Names(names), scores, given, predicted, sure)
    text = write_page(tmp_path / "page.html", seen, facts_of(seen)).read_text()
    matrix = text[text.index('<table class="matrix"') :]
    matrix = matrix[: matrix.index("</table>")]
    assert matrix.count('<th scope="col">') == 60
    assert '<th scope="row">n99</th>' in matrix and '<th scope="row">n98</th>' not in matrix
    assert "cloud 99" in text


def test_a_page_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("old")
    seen = classified()
    with pytest.raises(PointAdaptError, match="cannot write"):
        write_page(tmp_path / "file" / "page.html", seen, facts_of(seen))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_command(micro_adapter, tmp_path, capsys):
    page, found = tmp_path / "r.html", tmp_path / "r.json"
    args = ["evaluate", "--adapter", str(micro_adapter)]
    assert main([*args, "--html", str(page), "--report-json", str(found), "--pictures", "3"]) == 0
    text = capsys.readouterr().out
    facts = json.loads(found.read_text())
    assert all(remark in text for remark in facts["remarks"])
    assert str(page) in text and "--votes 10" in text and "--html report.html" not in text
    trained = json.loads((micro_adapter.parent / "results.json").read_text())
    assert facts["scores"]["accuracy"] == trained["accuracy"]
    assert sum(map(sum, facts["confusion_matrix"])) == 32
    protocol = facts["protocol"]
    assert protocol["trainable_parameters"] == trained["trainable_parameters"]
    assert (protocol["method"], protocol["points"], protocol["split"]) == ("dapt", 64, "test")
    assert len(protocol["backbone_sha256"]) == 64
    assert protocol["machine"]["torch"]
    assert facts["calibration"]["accuracy"] == pytest.approx(trained["accuracy"])
    assert 0 < len(parsed(page).images) <= 3 + 1
    assert main([*args, "--pictures", "-1"]) == 2


@pytest.fixture
def own_run(tmp_path, toy_root, bare_backbone):
    """An instant adapter of a user's own files."""
    return pointadapt.train(
        method="instant", data="folder", root=toy_root, points=64, out=tmp_path / "run", threads=1,
        backbone=str(bare_backbone("point_vit")), tensorboard=False,
    )  # fmt: skip


def test_a_forest_stands_beside_own_files(own_run, toy_root, tmp_path, capsys):
    adapter, page = own_run["adapter"], tmp_path / "r.html"
    scores = pointadapt.evaluate(adapter, html=page)
    assert scores["baseline"]["accuracy"] == own_run["baseline"]["accuracy"] == 100
    assert any("Random forest: 100.00 %" in text for text in parsed(page).text)
    assert "baseline" not in pointadapt.evaluate(adapter, baseline=False)
    assert "baseline" not in pointadapt.evaluate(adapter, split="train")  # it was fitted to these
    assert main(["evaluate", "--adapter", adapter]) == 0
    assert "- Random forest: 100.00 %" in capsys.readouterr().out


def test_without_the_training_clouds_there_is_no_forest(own_run, toy_root, tmp_path):
    config = Path(own_run["adapter"]) / "adapter_config.json"
    config.write_text(config.read_text().replace(str(toy_root), str(tmp_path / "gone")))
    assert "baseline" not in pointadapt.evaluate(own_run["adapter"], root=toy_root)
