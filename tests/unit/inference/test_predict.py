"""Predicting with any adapter: options of its kind, rows as CSV, one line for what is wrong."""

import csv
from pathlib import Path

import pytest

import pointadapt
from pointadapt.cli.main import main
from pointadapt.core.errors import AdapterError, UnknownNameError
from pointadapt.inference.predictor import PREDICTORS
from pointadapt.inference.rows import Prediction, write_table


def test_predictors_are_found_by_the_name_that_tasks_give():
    from pointadapt.tasks import TASKS

    assert {TASKS[name].predictor for name in TASKS} <= set(PREDICTORS)


def test_an_option_of_another_kind_is_refused(own_files, micro_adapter, capsys):
    file = own_files / "flat" / "0.ply"
    with pytest.raises(UnknownNameError, match=r"predict, which says something.*'block'.*top"):
        pointadapt.predict(file, micro_adapter, block=3)
    assert main(["predict", str(file), "--adapter", str(micro_adapter), "--block", "3"]) == 2
    said = capsys.readouterr().err
    assert "unknown option --block" in said and f"--adapter {micro_adapter} --help" in said


def test_the_call_and_the_command_say_the_same(own_files, micro_adapter):
    file = own_files / "flat" / "0.ply"
    (row,) = pointadapt.predict(file, micro_adapter, top=2)
    model = pointadapt.load(micro_adapter)
    (same,) = pointadapt.predict([file], model, points=64, top=2)
    assert row.label == same.label and len(row.top) == 2
    with pytest.raises(AdapterError, match="no adapter folder"):
        pointadapt.predict(file, own_files)


def test_help_without_an_adapter_says_where_more_is(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert "--adapter DIR --help" in " ".join(capsys.readouterr().out.split())


def test_a_table_has_every_column_and_the_error_last(tmp_path):
    rows = [
        Prediction(Path("bad.ply"), error="is no PLY"),
        Prediction(Path("a.ply"), "x", 0.75, (("x", 0.75), ("y", 0.25))),
        Prediction(Path("b.ply"), "3.5", None, values={"value": 3.5}),
    ]
    write_table(tmp_path / "t.csv", rows)
    bad, first, second = csv.DictReader((tmp_path / "t.csv").open(encoding="utf-8"))
    assert list(first) == [
        "path", "label", "confidence", "label_2", "confidence_2", "value", "error",
    ]  # fmt: skip
    assert (bad["path"], bad["label"], bad["error"]) == ("bad.ply", "", "is no PLY")
    assert (first["label_2"], first["confidence"], first["value"]) == ("y", "0.750000", "")
    assert (second["label"], second["value"]) == ("", "3.5")
