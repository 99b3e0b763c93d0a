"""The demo's pieces, and one quick run of the whole on a micro backbone."""

import json
from pathlib import Path

import numpy as np
import pytest

from pointadapt.cli.main import main
from pointadapt.core import console
from pointadapt.core.config import to_plain
from pointadapt.core.errors import PointAdaptError
from pointadapt.studies.demo import (
    MARK,
    METHODS,
    Budget,
    advice,
    first_of_each,
    prepare,
    run,
    table,
)

RESULT = {
    "trainable_parameters": 400_000, "total_parameters": 3_000_000, "accuracy": 81.25,
    "seconds": 75.0, "peak_memory_bytes": 612e6, "adapter_bytes": 1_600_000,
}  # fmt: skip


@pytest.mark.slow  # make demo runs the whole one
def test_quick_run(tmp_path, micro_backbone, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.txt").touch()
    assert main(["demo", "--quick", "--out", "d", "--backbone", str(micro_backbone)]) == 0
    out = capfd.readouterr().out
    for word in ("Linear probe", "DAPT", "Full fine-tuning", "peak memory", "pointadapt list"):
        assert word in out
    assert "pointadapt predict d/cloud.ply --adapter d/dapt/adapter" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "other.txt"]
    left = sorted(p.name for p in (tmp_path / "d").iterdir())
    assert left == ["cloud.ply", "dapt", "demo.json", "full", "linear_probe", "predictions.png"]
    assert (tmp_path / "d/dapt/adapter/adapter_model.safetensors").is_file()
    done = json.loads((tmp_path / "d" / MARK).read_text())
    assert done["finished"] and set(done["results"]) == set(METHODS)
    trained = {k: r["trainable_parameters"] for k, r in done["results"].items()}
    assert trained["linear_probe"] < trained["dapt"] < trained["full"]


def test_an_earlier_demo_is_replaced(tmp_path):
    out = tmp_path / "d"
    prepare(out)
    (out / "dapt").mkdir()
    (out / "dapt" / "checkpoint.pt").touch()
    prepare(out)
    assert [p.name for p in out.iterdir()] == [MARK]


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(PointAdaptError, match="choose another --out"):
        prepare(tmp_path)
    with pytest.raises(PointAdaptError, match="is a file"):
        prepare(tmp_path / "thesis.tex")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_table(capsys):
    console.output().print(table({name: RESULT for name in METHODS}))
    text = capsys.readouterr().out
    for cell in ("DAPT", "400,000 (13.3 %)", "81.2 %", "1 min 15 s", "612.0 MB", "1.6 MB"):
        assert cell in text


def test_every_method_gets_the_same_budget(tmp_path):
    own = {"method", "out", "lr", "options"}
    configs = [to_plain(Budget().config(method, tmp_path, "tiny")) for method in METHODS]
    shared = [{k: v for k, v in config.items() if k not in own} for config in configs]
    assert shared[0] == shared[1] == shared[2]
    assert [Path(config["out"]).name for config in configs] == list(METHODS)


def test_first_of_each():
    assert first_of_each(np.array([1, 0, 1, 2, 0])).tolist() == [1, 0, 3]


def test_advice(tmp_path):
    commands = [command for _, command in advice(tmp_path)]
    assert len(commands) == 3 and all(c.startswith("pointadapt ") for c in commands)


def test_a_step_that_fails(capfd):
    with pytest.raises(PointAdaptError, match="the demo stopped: pointadapt predict"):
        run(["nowhere.ply", "--adapter", "nowhere"], "predict")
    assert "nowhere does not exist" in capfd.readouterr().err
