"""Cross-validation: every cloud predicted by a model that did not see it; killed, kept, refused."""

import csv
import json
import runpy
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runs_here import run_here

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.protocol import Protocol
from pointadapt.cli import main as cli
from pointadapt.core import console
from pointadapt.core.config.cross_validate import CrossValidateConfig
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.data.sets.folds import read_folds
from pointadapt.inference.classify_files import reader_of
from pointadapt.inference.label_scenes import SceneLabeller
from pointadapt.studies.cross_validate import cross_validate


@pytest.fixture
def config(tmp_path, toy_root, bare_backbone):
    """Two folds of 28 clouds, two epochs each."""
    return CrossValidateConfig(
        out=tmp_path / "run", data="folder", root=toy_root, points=64, folds=2, epochs=2,
        batch_size=14, lr=1e-2, threads=1, jobs=1, backbone=str(bare_backbone("point_vit")),
        method="linear_probe", task_options=("hidden=16",), data_options=("min_points=20",),
    )  # fmt: skip


@pytest.fixture
def here(monkeypatch):
    run_here(monkeypatch)


def table(config):
    with (config.out / "predictions.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_results(config, here):
    results = cross_validate(config)
    assert json.loads((config.out / "cross_validation.json").read_text()) == results
    scores = [row["accuracy"] for row in results["folds"]]
    assert results["accuracy"] == pytest.approx(statistics.mean(scores), abs=1e-4)
    assert results["accuracy_sd"] == pytest.approx(statistics.stdev(scores), abs=1e-4)
    assert [row["clouds"] for row in results["folds"]] == [28, 28]
    pooled = results["pooled"]
    assert pooled["count"] == 56
    matrix = np.array(list(pooled["confusion"].values()))
    assert matrix.sum(axis=1).tolist() == [14] * 4
    assert pooled["accuracy"] == pytest.approx(100 * np.trace(matrix) / 56, abs=1e-4)
    p = results["protocol"]
    assert (p["folds"], p["pool"], p["clouds"], p["fold_seed"]) == (2, "all", 56, 0)
    assert not list(config.out.rglob("checkpoint.pt"))
    assert "final_adapter" not in results


def test_predictions_are_those_of_the_fold_that_held_the_cloud_out(config, here):
    results, rows = cross_validate(config), table(config)
    places = {place.id: place for place in read_folds(config.out / "folds.json").clouds}
    assert {row["path"] for row in rows} == set(places) and len(rows) == 56
    for k, fold in enumerate(results["folds"]):
        own = [row for row in rows if row["fold"] == str(k)]
        assert all(places[row["path"]].fold == k for row in own)
        right = [row["right"] == "yes" for row in own]
        assert right == [row["label"] == row["predicted"] for row in own]
        # what the fold's own training run said of the clouds that it held out
        assert 100 * np.mean(right) == pytest.approx(fold["accuracy"], abs=1e-3)


def test_it_is_kept_and_other_options_are_refused(config, here):
    first, kept = cross_validate(config), []
    again = cross_validate(config, on_done=lambda outcome: kept.append(outcome.kept))
    assert kept == [True, True] and again == first
    for change in ({"folds": 3}, {"seed": 1}, {"pool": "train"}, {"data_options": ()}):
        with pytest.raises(ConfigError, match="choose another --out"):
            cross_validate(replace(config, **change))
    with pytest.raises(ConfigError, match="epochs: 2 then, 3 now"):
        cross_validate(replace(config, epochs=3))


def test_given_folds(config, here):
    first = cross_validate(config)
    given = config.out / "folds.json"
    second = replace(config, out=config.out.with_name("second"), folds_file=given, folds=5, seed=0)
    assert [r["accuracy"] for r in cross_validate(second)["folds"]] == [
        r["accuracy"] for r in first["folds"]
    ]
    with pytest.raises(ConfigError, match="holds folds of folder, not shapes"):
        cross_validate(replace(second, data="shapes", root=None, data_options=()))


def test_the_final_adapter_states_the_scores_of_the_folds(config, here):
    results = cross_validate(replace(config, final=True))
    folder = Path(results["final_adapter"])
    about = adapter_folder.read_adapter_config(folder)
    stated = about["results"]
    assert stated["protocol"]["train_clouds"] == 56
    assert stated["accuracy"] == results["pooled"]["accuracy"]
    assert stated["per_class"] == results["pooled"]["per_class"]
    assert "2-fold cross-validation" in stated["scored"]
    assert "2-fold cross-validation" in (folder / "README.md").read_text()
    assert reader_of(about).folder.min_points == 20  # files are read as in training
    assert adapter_folder.load(folder).classes == tuple(results["pooled"]["confusion"])
    again = cross_validate(replace(config, final=True))
    assert (
        adapter_folder.read_adapter_config(folder)["results"]["accuracy"]
        == again["pooled"]["accuracy"]
    )


def test_a_test_split_may_be_left_alone(config, here):
    results = cross_validate(replace(config, pool="train", final=True, batch_size=10))
    assert results["protocol"]["clouds"] == 40
    final = json.loads((config.out / "final/results.json").read_text())
    assert final["protocol"]["train_clouds"] == 40 and final["protocol"]["test_clouds"] == 16
    assert "scored" not in final


def test_given_folds_are_of_the_clouds_as_they_are_read_now(config, here):
    """A folds file says which clouds belong together, not how this run reads them."""
    cross_validate(config)
    given = config.out / "folds.json"
    out = config.out.with_name("second")
    second = replace(config, out=out, folds_file=given, data_options=("up=y",), final=True)
    results = cross_validate(second)
    assert read_folds(out / "folds.json").options == {"up": "y"}
    for row in results["folds"]:  # trained on what is scored
        own = [r["right"] == "yes" for r in table(second) if r["fold"] == str(row["fold"])]
        assert 100 * np.mean(own) == pytest.approx(row["accuracy"], abs=1e-3)


@pytest.mark.parametrize("pool", ["all", "train"])
def test_the_final_adapter_needs_nothing_of_the_run(config, here, tmp_path, pool):
    """It is what is deployed: files are read as in training wherever it lies."""
    results = cross_validate(replace(config, pool=pool, batch_size=10, final=True))
    folder = shutil.copytree(results["final_adapter"], tmp_path / "deployed")
    shutil.rmtree(config.out)
    assert reader_of(adapter_folder.read_adapter_config(folder)).folder.min_points == 20
    protocol = Protocol.of(folder)
    assert (protocol.data, protocol.options["root"]) == ("folder", config.root)


def test_scenes(tmp_path, bare_backbone, here, capsys):
    """Blocks of one scene are held out together; the command shows it, and predict takes it."""
    make = runpy.run_path(str(Path(__file__).parents[2] / "data/folder_segmentation/make.py"))
    (tmp_path / "scenes").mkdir()
    options = make["make"](tmp_path / "scenes")
    root = options.pop("root")
    config = CrossValidateConfig(
        out=tmp_path / "run", data="folder_segmentation", root=root, points=64, folds=3, epochs=1,
        data_options=tuple(f"{k}={v}" for k, v in options.items()), batch_size=8, threads=1,
        backbone=str(bare_backbone("point_vit")), method="linear_probe", final=True,
        task="scene_segmentation", task_options=("width=8", "hidden=8,8"),
    )  # fmt: skip
    assert cli.main(flags(config)) == 0
    assert "3-fold cross-validation" in capsys.readouterr().out
    places = read_folds(config.out / "folds.json").clouds
    assert len({(place.id.rpartition("#")[0], place.fold) for place in places}) == 3
    results = json.loads((config.out / "cross_validation.json").read_text())
    assert set(results["pooled"]["confusion"]) == {"ground", "building", "tree"}
    assert SceneLabeller(results["final_adapter"]).tiling.block == 12
    with pytest.raises(ConfigError, match="3 scenes cannot be split into 4 folds"):
        cross_validate(replace(config, out=tmp_path / "more", folds=4))


def test_names_are_checked_first(config):
    with pytest.raises(UnknownNameError, match="did you mean 'dapt'"):
        cross_validate(replace(config, method="dapd"))
    assert not config.out.exists()


@pytest.mark.parametrize("change", [{"folds": 1}, {"jobs": -1}])
def test_values_out_of_range(change):
    with pytest.raises(ConfigError):
        CrossValidateConfig(**change)


def flags(config):
    """As a person would type it."""
    return console.invocation("cross-validate", config).split()[1:]


def test_command_line(config, here, capsys):
    assert cli.main([*flags(config), "--final"]) == 0
    out = capsys.readouterr().out
    for word in ("fold 0: ", "final: done", "mean ± sd", "taken for", "macro F1",
                 "2-fold cross-validation of 56", "predictions.csv", "FILE --adapter"):  # fmt: skip
        assert word in out, word
    assert cli.main([*flags(config), "--json"]) == 0
    captured = capsys.readouterr()
    assert "(kept)" in captured.err and json.loads(captured.out)["protocol"]["folds"] == 2
    assert cli.main([*flags(config), "--folds", "3"]) == 2
    assert capsys.readouterr().err.startswith("pointadapt: error: ")


def test_instant_and_the_forest_in_every_fold(config, here, monkeypatch):
    fast = replace(config, method="instant", task_options=(), options=("parts=3",))
    results = cross_validate(fast)
    assert results["protocol"]["epochs"] == 0
    folds = [json.loads((config.out / f"folds/{k}/results.json").read_text()) for k in range(2)]
    forests = [fold["baseline"]["accuracy"] for fold in folds]
    assert results["baseline"]["accuracy"] == pytest.approx(np.mean(forests), abs=1e-3)
    assert results["baseline"]["runs"] == 2
    assert results["accuracy"] > 90
    assert json.loads((config.out / "cross_validation.json").read_text())["fit"] == folds[0]["fit"]
