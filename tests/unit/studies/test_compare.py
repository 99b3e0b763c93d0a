"""The board: which methods, with what options, one table, one picture."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from runs_here import run_here

from pointadapt.cli import main as cli
from pointadapt.core import console
from pointadapt.core.config import TrainConfig
from pointadapt.core.errors import ConfigError, PointAdaptError, UnknownNameError
from pointadapt.methods import METHODS
from pointadapt.studies.compare import CompareConfig, compare, picture, tune
from pointadapt.studies.compare.entries import make_entries
from pointadapt.studies.compare.tables import to_csv, to_markdown, to_terminal
from pointadapt.studies.jobs import Job, Outcome

BASE = TrainConfig(epochs=3, head=("cls",))


def entries(methods=(), options=(), file=None):
    return make_entries(methods, options, file, BASE)


# ---- which methods


def test_all_methods():
    found = entries()
    assert [e.label for e in found] == list(METHODS) == [e.method for e in found]
    assert found == entries(["all"])
    assert not any(e.changes or e.options for e in found)


def test_one_method_under_two_labels():
    found = entries(
        ["r8=dapt", "r64=dapt", "linear_probe"],
        ["r8:rank=8,lr=2e-3,head=cls,patch_max", "linear_probe:lr=3e-3,drop_path=0"],
    )
    assert [(e.label, e.method) for e in found] == [
        ("r8", "dapt"), ("r64", "dapt"), ("linear_probe", "linear_probe"),
    ]  # fmt: skip
    assert found[0].options == ("rank=8",) and found[1].options == ()
    config = found[0].train_config(BASE, 5, Path("out"))
    assert (config.method, config.lr, config.head) == ("dapt", 2e-3, ("cls", "patch_max"))
    assert (config.seed, config.epochs, str(config.out)) == (5, 3, "out/runs/r8/seed5")
    other = found[1].train_config(BASE, 5, Path("out"))
    assert (other.lr, other.head) == (BASE.lr, ("cls",))
    assert found[0].stated == "lr=0.002 head=cls,patch_max rank=8"
    assert found[2].changes == {"lr": 3e-3, "drop_path": 0.0}


def test_a_file_of_methods(tmp_path):
    file = tmp_path / "board.yaml"
    file.write_text(
        "linear_probe: {lr: 3e-3}\nbig: {method: dapt, rank: 32, head: [cls, patch_max]}\nfull:\n"
    )
    found = entries(file=file, options=["big:rank=16"])
    assert [(e.label, e.method, e.options) for e in found] == [
        ("linear_probe", "linear_probe", ()), ("big", "dapt", ("rank=16",)), ("full", "full", ()),
    ]  # fmt: skip
    assert found[0].changes == {"lr": 3e-3} and found[1].changes == {"head": ("cls", "patch_max")}
    assert [e.label for e in entries(["big"], file=file)] == ["big"]
    everything = entries(["all"], file=file)
    assert {e.label for e in everything} == {*METHODS, "big"}
    file.write_text("dapt: 3\n")
    with pytest.raises(ConfigError, match=r"board\.yaml: dapt must be followed by key: value"):
        entries(file=file)


@pytest.mark.parametrize(
    ("methods", "options", "error", "word"),
    [
        (["dapd"], [], UnknownNameError, "did you mean 'dapt'"),
        (["x=dapd"], [], UnknownNameError, "did you mean 'dapt'"),
        (["dapt"], ["dapt:rnk=3"], UnknownNameError, "did you mean 'rank'"),
        (["dapt"], ["dapd:rank=3"], UnknownNameError, "label in --method-options"),
        (["dapt"], ["dapt:rank=many"], ConfigError, "whole number"),
        (["dapt"], ["dapt:lr=-1"], ConfigError, "lr must be positive"),
        (["dapt"], ["dapt:epochs=3"], ConfigError, "epochs is part of the protocol"),
        (["dapt"], ["dapt"], ConfigError, "write method options as"),
        (["dapt"], ["rank=3"], ConfigError, "write method options as"),
        (["a b=dapt", "a_b=dapt"], [], ConfigError, "too like another"),
    ],
)
def test_what_is_wrong(methods, options, error, word):
    with pytest.raises(error) as caught:
        entries(methods, options)
    assert word in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_seeds_out_of_range(seeds):
    with pytest.raises(ConfigError, match="seeds must be"):
        CompareConfig(seeds=seeds)


# ---- the board


@pytest.fixture
def config(tmp_path, toy_root, bare_backbone):
    """Two methods, two seeds, one epoch."""
    return CompareConfig(
        out=tmp_path / "run", data="folder", root=toy_root, points=64, epochs=1, batch_size=8,
        threads=1, backbone=str(bare_backbone("point_vit")), methods=("linear_probe", "d=dapt"),
        method_options=("d:rank=4,lr=3e-3",), seeds=(0, 1),
    )  # fmt: skip


@pytest.fixture
def here(monkeypatch):
    run_here(monkeypatch)


def test_board(config, here):
    board = compare(config)
    assert sorted(p.name for p in config.out.iterdir()) == [
        "board.csv", "board.json", "board.md", "board.png", "runs",
    ]  # fmt: skip
    assert json.loads((config.out / "board.json").read_text()) == board
    assert board["finished"] and board["protocol"]["seeds"] == [0, 1]
    probe, dapt = board["methods"]
    stored = [json.loads((config.out / f"runs/d/seed{s}/results.json").read_text()) for s in (0, 1)]
    assert dapt["scores"] == [r["accuracy"] for r in stored]
    assert dapt["accuracy"] == pytest.approx(np.mean(dapt["scores"]), abs=1e-3)
    assert dapt["accuracy_sd"] == pytest.approx(np.std(dapt["scores"], ddof=1), abs=1e-3)
    assert dapt["peak_memory_bytes"] == max(r["peak_memory_bytes"] for r in stored)
    assert (dapt["lr"], dapt["options"], probe["lr"]) == (3e-3, ["rank=4"], 5e-4)
    assert probe["trainable_parameters"] < dapt["trainable_parameters"]
    assert probe["inference_seconds"] > 0
    rows = list(csv.DictReader((config.out / "board.csv").open()))
    assert [r["label"] for r in rows] == ["linear_probe", "d"]
    assert float(rows[1]["accuracy"]) == dapt["accuracy"] and rows[1]["own"] == "lr=0.003 rank=4"
    text = (config.out / "board.md").read_text()
    for word in ("| d |", f"{dapt['trainable_parameters']:,}", "lr=0.003 rank=4", "lr=0.0005",
                 "last epoch", "seeds 0, 1", "pointadapt compare"):  # fmt: skip
        assert word in text, word
    assert (config.out / "board.png").read_bytes().startswith(b"\x89PNG")


def test_methods_and_seeds_may_be_added(config, here):
    first = compare(replace(config, methods=("linear_probe",), method_options=(), seeds=(0,)))
    results = config.out / "runs/linear_probe/seed0/results.json"
    before = results.stat().st_mtime_ns
    more = compare(replace(config, methods=("linear_probe", "bitfit"), method_options=()))
    assert results.stat().st_mtime_ns == before
    assert more["methods"][0]["scores"][0] == first["methods"][0]["scores"][0]
    assert len(more["methods"]) == 2 and more["protocol"]["seeds"] == [0, 1]
    with pytest.raises(ConfigError, match=r"epochs: 1 then, 2 now"):
        compare(replace(config, epochs=2))


def test_chosen_points_are_chosen_once_for_all_runs(config, here):
    own = replace(config, methods=("linear_probe",), method_options=(), seeds=(0,), points=0)
    tuned = replace(own, lrs=(1e-3, 3e-3), tune_epochs=1, groups=8, group_size=8)
    first = compare(tuned)
    assert first["protocol"]["points"] == 64
    assert compare(tuned)["methods"] == first["methods"]


def test_a_method_that_fails_does_not_stop_the_others(config, here, capsys):
    failing = replace(config, method_options=("d:head=cls,rank=4", "linear_probe:head=nothing"))
    seen = []
    board = compare(replace(failing, seeds=(0,)), on_done=seen.append)
    assert [bool(o.results) for o in seen] == [False, True]
    probe, dapt = board["methods"]
    assert probe["accuracy"] is None and "nothing" in probe["error"]
    assert dapt["accuracy"] is not None and not dapt["error"]
    assert "failed" in (config.out / "board.md").read_text()
    with pytest.raises(PointAdaptError, match="every method failed"):
        compare(
            replace(failing, methods=("linear_probe",), method_options=failing.method_options[1:])
        )


@pytest.mark.slow
def test_fitted_methods_and_the_forest_have_their_lines(config, here, capsys):
    more = replace(
        config, methods=("instant", "d=norm"), method_options=("d:start=instant",), seeds=(0,),
        lrs=(1e-3, 1e-2), tune_epochs=1,
    )  # fmt: skip
    board = compare(more)
    instant, norm = board["methods"]
    assert instant["tuned"] == {} and len(norm["tuned"]) == 2  # it has no rate to choose
    assert instant["fit"]["cross_validated"] == norm["fit"]["cross_validated"]
    assert (instant["own"], norm["own"].split()[0]) == ("", "start=instant")
    assert board["protocol"]["epochs"] == 1
    forest = board["baseline"]
    assert forest["accuracy"] == 100 and forest["runs"] == 1  # balls, bars, helices, plates
    for text in ((config.out / "board.md").read_text(), shown(board)):
        assert "random forest" in text and "29 traits of the clouds" in text
    alone = compare(replace(more, baseline=False, lrs=(), out=config.out / "alone"))
    assert alone["baseline"] == {}


def shown(board):
    to = Console(width=200, record=True, file=io.StringIO())
    to.print(to_terminal(board))
    return to.export_text()


def flags(config):
    return console.invocation("compare", config).split()[1:]


def test_command_line(config, here, capsys):
    assert cli.main(flags(config)) == 0
    out = capsys.readouterr().out
    for word in ("d, seed 1: ", "trained", "parameters", "lr=0.003 rank=4", "board.json",
                 "pointadapt evaluate --adapter"):  # fmt: skip
        assert word in out, word
    assert cli.main([*flags(config), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["finished"] and "(kept)" in captured.err
    failing = replace(config, methods=("linear_probe",), method_options=("linear_probe:head=no",))
    assert cli.main(flags(replace(failing, out=config.out / "x"))) == 2
    assert "every method failed" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_board_goes_on(config):
    """SIGKILL while the second method trains: the first is kept."""
    config = replace(config, epochs=30, seeds=(0,))
    command = [sys.executable, "-m", "pointadapt", *flags(config)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env)
    log, end = config.out / "runs/d/seed0/log.jsonl", time.monotonic() + 1800
    try:
        while not (log.exists() and log.read_bytes().count(b"\n") >= 2):
            assert time.monotonic() < end and process.poll() is None, "it did not come so far"
            time.sleep(0.02)
    finally:
        process.kill()  # SIGKILL
        process.wait()
    assert process.returncode == -signal.SIGKILL
    board = json.loads((config.out / "board.json").read_text())
    assert not board["finished"] and board["methods"][0]["accuracy"] is not None
    assert "Not finished" in (config.out / "board.md").read_text()
    first = config.out / "runs/linear_probe/seed0/results.json"
    before = first.stat().st_mtime_ns
    assert subprocess.run(command, stdout=subprocess.DEVNULL, env=env, check=False).returncode == 0
    assert first.stat().st_mtime_ns == before
    board = json.loads((config.out / "board.json").read_text())
    assert board["finished"] and all(row["accuracy"] is not None for row in board["methods"])
    assert len(log.read_text().splitlines()) == 30


# ---- tables and picture of given numbers


def made_up(n=16, seed=0):
    """A board of ``n`` methods, many of them alike."""
    rng = np.random.default_rng(seed)
    names = [f"method_{k}" for k in range(n)]
    rows = [
        {
            "label": name, "method": name, "options": [], "lr": 1e-3, "own": "", "error": "",
            "accuracy": float(rng.normal(82, 2)), "accuracy_sd": 0.4, "scores": [],
            "trainable_parameters": int(10 ** rng.normal(5.2, 0.5)), "total_parameters": 10**7,
            "adapter_bytes": 10**6, "seconds": 100.0, "peak_memory_bytes": 10**9,
            "inference_seconds": 2e-3,
        }
        for name in names
    ]  # fmt: skip
    protocol = {"epochs": 10, "selection": "last epoch", "seeds": [0, 1]}
    return {"task": "classification", "data": "d", "data_options": [], "backbone": "b",
            "methods": rows, "finished": True, "protocol": protocol, "machine": {},
            "command": "pointadapt compare"}  # fmt: skip


def texts(board, path, monkeypatch):
    """The boxes of labels in the picture, its points, and the axes, in pixels."""
    kept = []
    monkeypatch.setattr(picture, "_save", lambda figure, path: kept.append(figure) or path)
    picture.trade_off(board, path)
    (axes,) = kept[0].axes
    kept[0].canvas.draw()
    labels = [t for t in axes.texts if t.get_text()]
    boxes = {t.get_text(): t.get_window_extent() for t in labels}
    points = axes.transData.transform(
        [(r["trainable_parameters"], r["accuracy"]) for r in board["methods"]]
    )
    return boxes, points, axes.get_window_extent()


@pytest.mark.parametrize("seed", range(3))
def test_labels_do_not_overlap(tmp_path, monkeypatch, seed):
    boxes, points, frame = texts(made_up(seed=seed), tmp_path / "p.png", monkeypatch)
    assert len(boxes) == 16
    shared = [
        (a, b)
        for a in boxes
        for b in boxes
        if a < b and min(boxes[a].x1, boxes[b].x1) - max(boxes[a].x0, boxes[b].x0) > 2
        and min(boxes[a].y1, boxes[b].y1) - max(boxes[a].y0, boxes[b].y0) > 2
    ]  # fmt: skip
    assert not shared
    covered = [name for name, box in boxes.items() for x, y in points if box.contains(x, y)]
    assert not covered
    assert all(frame.x0 - 1 <= b.x0 and b.x1 <= frame.x1 + 1 for b in boxes.values())


def test_the_front():
    x, y = np.array([1, 2, 3, 4, 2]), np.array([5, 7, 6, 8, 4])
    assert picture._front(x, y) == [0, 1, 3]


def test_nothing_to_draw(tmp_path):
    with pytest.raises(PointAdaptError, match="no result to draw"):
        picture.trade_off(
            {"task": "classification", "methods": [{"accuracy": None}]}, tmp_path / "p.png"
        )


def test_the_best_stands_first_and_the_failed_last():
    board = made_up(3)
    for row, value in zip(board["methods"], (None, 70.0, 80.0), strict=True):
        row["accuracy"] = value
    board["methods"][0]["error"] = "it | broke"
    board["protocol"] = {}  # as before the first run is done
    table = to_markdown(board).split("---|\n")[1]
    assert table.index("method_2") < table.index("method_1") < table.index("method_0")
    assert r"it \| broke" in table and "80.00 ± 0.40" in table
    assert [line.split(",")[0] for line in to_csv(board).splitlines()[1:]] == [
        "method_0", "method_1", "method_2",
    ]  # fmt: skip


def test_names_run_nowhere(tmp_path):
    board = made_up(2)
    board["methods"][0] |= {"label": "=1+1\x1b[2J", "own": "<b>|", "accuracy": None, "error": "@x"}
    board["methods"][1]["label"] = r"$\no_such$"
    board["command"] = "a\n```\n<b>"
    first, second = csv.DictReader(to_csv(board).splitlines())
    assert (first["label"], first["error"]) == (r"'=1+1\x1b[2J", "'@x")
    assert float(second["accuracy"]) == board["methods"][1]["accuracy"]
    assert picture.trade_off(board, tmp_path / "p.png").exists()
    board["protocol"] = {}  # as before the first run is done
    text = to_markdown(board)
    assert r"| =1+1\\x1b\[2J | failed |" in text and text.endswith("````\na\n```\n<b>\n````\n")


# ---- learning rates


def test_each_method_gets_the_best_of_the_learning_rates(config, here):
    config = replace(config, methods=("linear_probe", "bitfit"), seeds=(0,),
                     method_options=("bitfit:lr=2e-3",), lrs=(1e-9, 1e-2), tune_epochs=2,
                     val_fraction=0.5)  # fmt: skip
    board = compare(config)
    probe, bitfit = board["methods"]
    assert set(probe["tuned"]) == {"1e-09", "0.01"} and bitfit["tuned"] == {}
    assert probe["lr"] == float(max(probe["tuned"], key=probe["tuned"].get))
    assert bitfit["lr"] == 2e-3
    assert not (config.out / "tuning" / "bitfit").exists()
    results = json.loads((config.out / "runs/linear_probe/seed0/results.json").read_text())
    assert (
        results["config"]["lr"] == probe["lr"] and results["protocol"]["selection"] == "last epoch"
    )
    assert "the best of 1e-09, 0.01 after 2 epochs" in to_markdown(board)
    assert compare(config)["methods"][0]["scores"] == probe["scores"]
    # The choice stays, whatever becomes of the short runs.
    folder = config.out / "tuning" / "linear_probe"
    for log in folder.glob("lr*/log.jsonl"):
        log.unlink()
    assert compare(replace(config, seeds=(0, 1)))["methods"][0]["tuned"] == probe["tuned"]


def test_the_last_epoch_decides_and_failures_do_not(tmp_path):
    entry = entries(["dapt"])[0]
    scores = {1e-3: (50, 90), 3e-3: (95, 70), 1e-2: None}
    outcomes = {}
    for lr, epochs in scores.items():
        job = Job(f"lr {lr}", replace(BASE, out=tmp_path / str(lr)))
        job.config.out.mkdir()
        rows = [json.dumps({"epoch": i, "val_accuracy": a}) for i, a in enumerate(epochs or ())]
        (job.config.out / "log.jsonl").write_text("\n".join(rows) + "\n")
        outcomes[lr] = Outcome(job, {} if epochs is None else {"accuracy": 1}, "lr 0.01: NaN")
    best = tune._best(entry, outcomes)
    assert best.entry.changes == {"lr": 1e-3} and not best.error
    assert best.scores == {1e-3: 90.0, 3e-3: 70.0, 1e-2: None}
    none = tune._best(entry, {1e-2: outcomes[1e-2]})
    assert none.error == "lr 0.01: NaN" and none.entry == entry


def test_wrong_learning_rates():
    with pytest.raises(ConfigError, match="different numbers above 0"):
        CompareConfig(lrs=(1e-3, 0.0))


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_is_whole_on_a_narrow_screen_too(width):
    row = {
        "label": "linear_probe", "accuracy": 81.25, "accuracy_sd": 1.5, "trainable_parameters":
        22_093_327, "adapter_bytes": 671_100, "seconds": 36.4, "peak_memory_bytes": 663_600_000,
        "inference_seconds": 0.10785, "own": "rank=64", "lr": 0.005, "error": None,
    }  # fmt: skip
    to = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    to.print(to_terminal({"task": "classification", "methods": [row]}, narrow=width < 100))
    text = to.file.getvalue()
    for whole in ("linear_probe", "81.25 ± 1.50", "22,093,327", "parameters", "lr=0.005 rank=64"):
        assert whole in text
    assert "…" not in text and max(map(len, text.splitlines())) <= width
