"""Robustness: figures by the papers' definitions, both sources of clouds, going on, one line."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pointadapt.cli.main import main
from pointadapt.core.config.robustness import RobustnessConfig
from pointadapt.core.errors import AdapterError, ConfigError, DataLayoutError, PointAdaptError
from pointadapt.data.corruptions import ABOUT, SUITES
from pointadapt.io import Cloud, write_cloud
from pointadapt.reports.robustness_picture import heat_map
from pointadapt.studies.robustness import cells_of, robustness, summarize

TESTS = Path(__file__).parents[2]
DGCNN = ABOUT["modelnet_c"].reference


def cells(suite, accuracy):
    return {n: [{"accuracy": accuracy(n), "points": 9}] * 5 for n in SUITES[suite]}


def test_dgcnn_has_an_mce_of_one():
    out = summarize("modelnet_c", 92.6, cells("modelnet_c", lambda n: 100 * DGCNN[n]))
    assert (out["mce"], out["rmce"]) == (1, 1)
    assert out["mean_accuracy"] == pytest.approx(76.43, abs=0.005)  # the mean of its seven


def test_ce_divides_by_dgcnn():
    out = summarize("modelnet_c", 90.0, cells("modelnet_c", lambda n: 100 if n == "scale" else 50))
    assert out["corruptions"]["scale"]["ce"] == 0
    assert out["corruptions"]["jitter"]["ce"] == pytest.approx(0.5 / 0.316, abs=1e-4)
    assert out["corruptions"]["jitter"]["rce"] == pytest.approx(0.4 / (0.926 - 0.684), abs=1e-4)
    want = np.mean([0.5 / (1 - DGCNN[n]) if n != "scale" else 0 for n in SUITES["modelnet_c"]])
    assert out["mce"] == pytest.approx(want, abs=1e-4)


def test_no_ce_for_other_classes_nor_for_modelnet40_c():
    other = summarize("modelnet_c", 90.0, cells("modelnet_c", lambda n: 50), classes=("a", "b"))
    plain = summarize("modelnet40_c", 90.0, cells("modelnet40_c", lambda n: 75))
    assert "mce" not in other and "mce" not in plain
    assert (plain["mean_error"], other["mean_error"]) == (25, 50)


def test_of_another_score_plain_means_are_told():
    values = {n: [{"r2": k / 10, "points": 9}] * 5 for k, n in enumerate(SUITES["modelnet_c"])}
    out = summarize("modelnet_c", 0.9, values, metric="r2")
    assert (out["clean"], out["mean"]) == (0.9, 0.3)  # of 0, 0.1, … 0.6
    assert out["corruptions"]["scale"] == {"r2": 0.1 * list(values).index("scale")}
    assert set(out) == {"clean", "mean", "corruptions"}


@pytest.fixture(scope="module")
def done(micro_adapter, tmp_path_factory):
    out = tmp_path_factory.mktemp("robust")
    config = RobustnessConfig(
        micro_adapter, data_options=("points=128", "test_size=64"), out=out, most=6
    )
    return config, robustness(config)


def test_on_the_fly(done):
    config, results = done
    assert set(results["cells"]) == set(SUITES["modelnet_c"])
    points = [score["points"] for score in results["cells"]["dropout_global"]]
    assert points == [48, 40, 32, 24, 16]  # of the 64 that the model was trained with
    assert results["settings"]["clouds"] == 6
    for row in results["summary"]["corruptions"].values():
        assert 0 <= row["accuracy"] <= 100 and row["error"] == pytest.approx(100 - row["accuracy"])
    written = json.loads((config.out / "robustness.json").read_text())
    assert written == json.loads(json.dumps(results))


def test_scores_that_are_there_are_kept(done, monkeypatch):
    config, results = done
    path = config.out / "robustness.json"
    record = json.loads(path.read_text())
    record["scores"]["jitter_3"] = {"accuracy": 12.5, "points": 64}  # would come out otherwise
    del record["scores"]["scale_1"], record["scores"]["add_local_5"]
    path.write_text(json.dumps(record))
    calls = []
    again = robustness(config, on_cell=lambda k, n: calls.append((k, n)))
    assert calls == [(34, 36), (35, 36)]
    assert again["cells"]["jitter"][2]["accuracy"] == 12.5
    assert again["cells"]["scale"] == results["cells"]["scale"]


def test_a_break_leaves_a_record_to_go_on_from(micro_adapter, tmp_path):
    config = RobustnessConfig(micro_adapter, out=tmp_path / "r", most=2)

    def stop(k, n):
        if k == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        robustness(config, on_cell=stop)
    assert len(json.loads((tmp_path / "r/robustness.json").read_text())["scores"]) == 3
    assert [p.name for p in (tmp_path / "r").iterdir()] == ["robustness.json"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"most": 5}, {"suite": "modelnet40_c"}])
def test_other_settings_are_not_mixed(done, change):
    with pytest.raises(ConfigError, match="other settings: choose another --out"):
        robustness(replace(done[0], **change))


def test_a_strange_file_is_left_alone(micro_adapter, tmp_path):
    (tmp_path / "robustness.json").write_text("[1]")
    with pytest.raises(PointAdaptError, match="no record of robustness"):
        robustness(RobustnessConfig(micro_adapter, out=tmp_path))
    assert (tmp_path / "robustness.json").read_text() == "[1]"


def test_official_files_of_another_data_set(micro_adapter, tmp_path):
    maker = runpy.run_path(str(TESTS / "data/modelnet_c/make.py"))
    root = maker["write"](tmp_path)
    config = RobustnessConfig(micro_adapter, data="modelnet_c", root=root, out=tmp_path / "r")
    with pytest.raises(DataLayoutError, match="40 classes and the adapter 32"):
        robustness(config)
    (root / "jitter_2.h5").unlink()
    with pytest.raises(DataLayoutError, match=r"no jitter_2\.h5"):  # before anything is scored
        robustness(config)
    with pytest.raises(ConfigError, match="--root DIR"):
        robustness(replace(config, root=None))


def test_official_files(micro_backbone, tmp_path, capsys):
    """An adapter of ModelNet40's classes, from its look-alike, on the look-alike of ModelNet-C."""
    made = runpy.run_path(str(TESTS / "data/modelnet40/make.py"))["make"](tmp_path)
    root = runpy.run_path(str(TESTS / "data/modelnet_c/make.py"))["write"](tmp_path)
    run = tmp_path / "run"
    flags = ["--backbone", micro_backbone, "--points", "64", "--epochs", "1", "--batch-size", "4",
             "--method", "linear_probe", "--no-tensorboard", "--no-summary"]  # fmt: skip
    data = ["--data", "modelnet40", "--root", made["root"]]
    assert main([str(x) for x in ("train", "--out", run, *flags, *data)]) == 0
    command = ["robustness", "--adapter", run / "adapter", "--data", "modelnet_c", "--root", root]
    capsys.readouterr()
    assert main([str(x) for x in (*command, "--out", tmp_path / "r", "--json")]) == 0
    captured = capsys.readouterr()
    results = json.loads(captured.out)
    assert results["cells"]["add_local"][4]["points"] == 96 + 45
    assert results["settings"]["corruptions"] == "official files"
    assert results["summary"]["mce"] > 0
    for words in ("add_local", "mCE", "RmCE", "mean error", "clean accuracy"):
        assert words in captured.err
    assert (tmp_path / "r/robustness.png").read_bytes().startswith(b"\x89PNG")


def test_features_of_points_do_not_matter(micro_backbone, tmp_path):
    """Corruptions move, add and drop points; what classification does not use is left out."""
    rng = np.random.default_rng(0)
    for k in range(8):
        cloud = Cloud(rng.random((80, 3)), colors=rng.random((80, 3)))
        write_cloud(tmp_path / "own" / "ab"[k % 2] / f"{k}.ply", cloud)
    run = tmp_path / "run"
    flags = ["--backbone", micro_backbone, "--points", "64", "--epochs", "1", "--batch-size", "4",
             "--method", "linear_probe", "--no-tensorboard", "--no-summary", "--data", "folder",
             "--root", tmp_path / "own", "--data-options", "features=color"]  # fmt: skip
    assert main([str(x) for x in ("train", "--out", run, *flags)]) == 0
    results = robustness(RobustnessConfig(run / "adapter", out=tmp_path / "r"))
    assert results["cells"]["dropout_global"][4]["points"] == 16


def test_missing_adapter(tmp_path):
    with pytest.raises(AdapterError, match="does not exist"):
        robustness(RobustnessConfig(tmp_path / "none"))


def test_heat_map(done, tmp_path):
    assert heat_map(done[1], tmp_path / "a.svg").read_text().count("severity") >= 1
    assert len(cells_of(done[0])) == 36
