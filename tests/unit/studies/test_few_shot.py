"""Few-shot runs: every fold, the same again, killed and continued, official files."""

import importlib
import json
import os
import runpy
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs_here import run_here

from pointadapt.cli import main as cli
from pointadapt.cli.commands import COMMANDS
from pointadapt.core import console
from pointadapt.core.config.few_shot import FewShotConfig
from pointadapt.core.errors import ConfigError, DataLayoutError
from pointadapt.core.tensors import read_safetensors
from pointadapt.studies.few_shot import few_shot, mean_sd, table

MAKE_OFFICIAL = Path(__file__).parents[2] / "data/modelnet_fewshot/make.py"


@pytest.fixture
def config(tmp_path, toy_root, bare_backbone):
    """Two folds of 3-way 6-shot, two epochs each."""
    return FewShotConfig(
        out=tmp_path / "run", data="folder", root=toy_root, points=64, way=3, shot=6, queries=3,
        folds=2, epochs=2, warmup_epochs=1, batch_size=8, lr=3e-3, threads=1, jobs=1,
        backbone=str(bare_backbone("point_vit")), method="linear_probe",
    )  # fmt: skip


@pytest.fixture
def here(monkeypatch):
    run_here(monkeypatch)


def test_results(config, here):
    results = few_shot(config)
    assert json.loads((config.out / "few_shot.json").read_text()) == results
    scores = [row["accuracy"] for row in results["folds"]]
    stored = [json.loads((config.out / f"folds/{k}/results.json").read_text()) for k in (0, 1)]
    assert scores == [r["accuracy"] for r in stored]
    assert results["accuracy"] == pytest.approx(statistics.mean(scores), abs=1e-4)
    assert results["accuracy_sd"] == pytest.approx(statistics.stdev(scores), abs=1e-4)
    assert (results["way"], results["shot"], results["queries"]) == (3, 6, 3)
    assert results["data"] == "folder"
    p = results["protocol"]
    assert (p["train_clouds"], p["test_clouds"], p["folds"]) == (18, 9, 2)
    assert (p["epochs"], p["seed"], p["episode_seed"]) == (2, 0, 0)
    assert p["selection"] == "last epoch" and p["augmentation"] == ["scale_shift"]
    assert Path(p["episodes"]) == config.out / "episodes"
    assert [row["classes"] for row in results["folds"]] == [
        [c["name"] for c in json.loads((config.out / f"episodes/{k}.json").read_text())["classes"]]
        for k in (0, 1)
    ]
    assert not list(config.out.rglob("checkpoint.pt"))


def test_a_step_takes_the_whole_of_a_support_smaller_than_a_batch(config, here):
    results = few_shot(replace(config, shot=1, folds=1))
    assert (results["protocol"]["train_clouds"], results["protocol"]["batch_size"]) == (3, 3)


def test_given_episodes_give_the_same_result(config, here):
    first = few_shot(config)
    elsewhere = shutil.copytree(config.out / "episodes", config.out.parent / "given")
    again = replace(config, out=config.out.parent / "again", episodes=elsewhere)
    # Way, shot and their number are the files', and so is the data set.
    second = few_shot(replace(again, way=5, shot=1, folds=10, data="shapes"))
    assert [r["accuracy"] for r in second["folds"]] == [r["accuracy"] for r in first["folds"]]
    assert (second["way"], second["shot"], second["data"]) == (3, 6, "folder")
    a, b = (read_safetensors(c.out / "folds/1/adapter/adapter_model.safetensors")
            for c in (config, again))  # fmt: skip
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert not (again.out / "episodes").exists()


def test_selection_on_the_queries_is_labelled(config, here):
    results = few_shot(replace(config, select="test", folds=1))
    assert "test set (the papers' way)" in results["protocol"]["selection"]
    assert results["accuracy_sd"] is None and mean_sd(results) == f"{results['accuracy']:.2f}"


def test_official_files(config, here, tmp_path):
    root = runpy.run_path(str(MAKE_OFFICIAL))["make"](tmp_path / "official")["root"]
    official = replace(config, data="modelnet_fewshot", root=root, way=5, shot=10, queries=3)
    results = few_shot(official)
    assert (results["queries"], results["protocol"]["test_clouds"]) == (20, 100)
    assert results["protocol"]["episode_seed"] is None
    assert str(root) in results["protocol"]["episodes"]
    assert len(set(results["folds"][0]["classes"])) == 5
    assert results["folds"][0]["classes"] != results["folds"][1]["classes"]
    assert not (config.out / "episodes").exists()
    with pytest.raises(ConfigError, match="brings its own"):
        few_shot(replace(official, episodes=tmp_path))


def test_an_earlier_run_with_other_options(config, here):
    few_shot(config)
    with pytest.raises(ConfigError, match=r"shot=6, not 5: choose another --out"):
        few_shot(replace(config, shot=5))
    with pytest.raises(ConfigError, match=r"seed=0, not 1"):
        few_shot(replace(config, seed=1))
    with pytest.raises(ConfigError, match=r"epochs: 2 then, 3 now"):
        few_shot(replace(config, epochs=3))
    more = few_shot(replace(config, folds=3))  # folds may be added
    assert len(more["folds"]) == 3


def test_episodes_that_are_not_there(config, tmp_path, here):
    with pytest.raises(DataLayoutError, match=r"no 0\.json, 1\.json"):
        few_shot(replace(config, episodes=tmp_path))
    few_shot(config)
    (config.out / "episodes/0.json").unlink()
    with pytest.raises(DataLayoutError, match=r"no 0\.json, 1\.json"):
        few_shot(replace(config, episodes=config.out / "episodes"))
    with pytest.raises(ConfigError, match="episodes of folder, not of modelnet40"):
        given = config.out / "episodes"
        (given / "1.json").rename(given / "0.json")
        few_shot(replace(config, episodes=given, data="modelnet40"))


@pytest.mark.parametrize("change", [{"way": 1}, {"shot": 0}, {"folds": 0}, {"jobs": -1}])
def test_values_out_of_range(change):
    with pytest.raises(ConfigError):
        FewShotConfig(**change)


def test_adapters_are_of_use(config, here, toy_root):
    """What an adapter stores finds its episode again, and how files are to be read."""
    from pointadapt.adapters.folder import read_adapter_config
    from pointadapt.adapters.protocol import Protocol
    from pointadapt.inference.classify_files import reader_of

    turned = replace(config, folds=1, data_options=("up=y", "min_points=20"))
    results = few_shot(turned)
    adapter = Path(results["folds"][0]["adapter"])
    assert len(Protocol.of(adapter).load("test")) == 9
    folder = reader_of(read_adapter_config(adapter)).folder
    assert (folder.up, folder.min_points) == ("y", 20)


def flags(config):
    """As a person would type it."""
    return console.invocation("few-shot", config).split()[1:]


def test_invocation_gives_the_configuration(config):
    command = cli.parse(flags(replace(config, augment=(), tensorboard=True)))
    assert isinstance(command, COMMANDS["few-shot"])
    for name in ("out", "root", "way", "shot", "folds", "lr", "method", "jobs", "epochs"):
        assert getattr(command, name) == getattr(config, name)
    assert command.augment == () and command.tensorboard is True


def test_command_line(config, here, capsys):
    assert cli.main(flags(config)) == 0
    out = capsys.readouterr().out
    for word in ("fold 0: ", "fold 1: ", "mean ± sd", "3-way 6-shot, 3 queries", "last epoch",
                 "pointadapt few-shot", "--episodes", "FILE --adapter"):  # fmt: skip
        assert word in out, word
    assert cli.main([*flags(config), "--json"]) == 0
    captured = capsys.readouterr()
    assert "fold 0: " in captured.err and "(kept)" in captured.err
    assert json.loads(captured.out)["way"] == 3
    assert cli.main([*flags(config), "--shot", "7"]) == 2
    assert capsys.readouterr().err.startswith("pointadapt: error: ")


def test_recipes_of_the_right_command(capsys):
    command = cli.parse(["few-shot", "--recipe", "dapt-few-shot", "--way", "10"])
    assert (command.way, command.epochs, command.select) == (10, 150, "test")
    plain = cli.parse(["few-shot", "--recipe", "full-laptop"])
    assert (plain.method, plain.epochs, str(plain.out)) == ("full", 10, "runs/few-shot")
    assert cli.main(["train", "--recipe", "dapt-few-shot"]) == 2
    assert "another command: pointadapt few-shot --recipe" in capsys.readouterr().err


def test_table(config, here, capsys):
    results = few_shot(replace(config, folds=1))
    console.output().print(table({**results, "accuracy": 93.25, "accuracy_sd": 2.1}))
    text = capsys.readouterr().out
    assert "93.25 ± 2.10" in text and ", ".join(results["folds"][0]["classes"]) in text


# ---- killed and continued


def wait_for(true, process, seconds=1800):
    end = time.monotonic() + seconds
    try:
        while not true():
            assert time.monotonic() < end and process.poll() is None, "it did not come so far"
            time.sleep(0.02)
    finally:
        process.kill()  # SIGKILL
        process.wait()


def workers_of(config):
    """Processes that work in the run's folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(config.out / "folds").encode() in line.read_bytes():
                found.append(line.parent.name)
        except OSError:  # it has just ended
            pass
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_a_killed_run_goes_on(config, monkeypatch):
    """SIGKILL in the middle of the second fold; its worker ends too, and nothing is done twice."""
    config = replace(config, epochs=40, save_every=1)
    process = subprocess.Popen(
        [sys.executable, "-m", "pointadapt", *flags(config)],
        stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    log = config.out / "folds/1/log.jsonl"
    wait_for(lambda: log.exists() and log.read_bytes().count(b"\n") >= 3, process)
    assert process.returncode == -signal.SIGKILL
    end = time.monotonic() + 120
    while workers_of(config):
        assert time.monotonic() < end, "the worker outlived the run"
        time.sleep(0.02)
    assert not (config.out / "few_shot.json").exists()
    assert not (config.out / "folds/1/results.json").exists()
    first = config.out / "folds/0/results.json"
    before = (first.stat().st_mtime_ns, first.read_bytes())

    resumed = []
    loop = importlib.import_module("pointadapt.training.trainer")
    original = loop.Run._restore
    monkeypatch.setattr(
        loop.Run, "_restore", lambda self: (original(self), resumed.append(self.epoch))[0]
    )
    run_here(monkeypatch)
    results = few_shot(config)
    assert before == (first.stat().st_mtime_ns, first.read_bytes())
    assert len(resumed) == 1 and 2 <= resumed[0] < 40

    whole = replace(config, out=config.out.with_name("whole"))
    expected = few_shot(whole)
    assert [r["accuracy"] for r in results["folds"]] == [r["accuracy"] for r in expected["folds"]]
    for k in (0, 1):
        a, b = (read_safetensors(c.out / f"folds/{k}/adapter/adapter_model.safetensors")
                for c in (config, whole))  # fmt: skip
        assert all(torch.equal(a[key], b[key]) for key in b)
