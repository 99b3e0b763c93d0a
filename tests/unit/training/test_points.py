"""Points, patches and epochs that are chosen by what the training clouds are."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pointadapt import train
from pointadapt.cli.base import plain
from pointadapt.cli.main import main, parse
from pointadapt.core.config import (
    CrossValidateConfig,
    TrainConfig,
    load_config,
    save_config,
    to_plain,
)
from pointadapt.core.errors import ConfigError
from pointadapt.core.fields import build
from pointadapt.training.setup import fitted

make = runpy.run_path(str(Path(__file__).parents[2] / "data/toy/make.py"))["make"]


@pytest.mark.parametrize(
    ("have", "points", "groups", "group_size"),
    [
        (20, 64, 16, 16), (127, 64, 16, 16), (128, 128, 16, 32), (600, 512, 0, 0),
        (2000, 1024, 0, 0),
    ],
)  # fmt: skip
def test_no_more_than_the_cloud_in_the_middle_has(tmp_path, have, points, groups, group_size):
    config = TrainConfig(data="folder", root=make(tmp_path, train=2, test=1, n=have), points="auto")
    found = fitted(config)
    assert (found.points, found.groups, found.group_size) == (points, groups, group_size)


def test_the_middle_one_decides_and_what_is_given_stays(tmp_path):
    root = make(tmp_path, train=2, test=1, n=130)
    rng = np.random.default_rng(0)
    np.save(next((root / "train").rglob("*.npy")), rng.random((9000, 3)))
    config = CrossValidateConfig(data="folder", root=root, points=0, groups=12)
    found = fitted(config)
    assert isinstance(found, CrossValidateConfig)
    assert (found.points, found.groups, found.group_size) == (128, 12, 32)
    given = TrainConfig(data="folder", root=root, points=70)
    assert fitted(given) is given


def test_benchmarks_have_their_own_number():
    with pytest.raises(ConfigError, match="for your own files; give a number for shapes"):
        fitted(TrainConfig(data="shapes", points="auto"))
    with pytest.raises(ConfigError, match="for your own files; give a number for shapes"):
        train(data="shapes", points="auto")


@pytest.mark.parametrize(
    ("clouds", "changes", "epochs"),
    [
        (320, {}, 100), (330, {}, 100), (96, {}, 300), (3200, {}, 30), (20, {}, 300),
        (320, {"batch_size": 16}, 50), (320, {"accumulate": 2}, 200),
    ],
)  # fmt: skip
def test_few_clouds_have_more_epochs_for_as_many_steps(clouds, changes, epochs):
    config = TrainConfig(data="shapes", data_options=("size=64",), points=32, epochs="auto")
    assert fitted(replace(config, **changes), clouds).epochs == epochs


def test_clouds_that_are_held_out_make_no_steps():
    given = TrainConfig(data="shapes", data_options=("size=320",), points=32, epochs="auto")
    assert fitted(given).epochs == 100
    assert fitted(replace(given, select="val", val_fraction=0.5)).epochs == 200
    assert fitted(replace(given, shots=5)).epochs == 200  # of 32 classes
    assert fitted(replace(given, epochs=7)).epochs == 7


@pytest.mark.parametrize("name", ["points", "groups", "group_size", "epochs"])
def test_auto_is_a_word_for_0_in_python_and_files(tmp_path, name):
    config = TrainConfig(**{name: "auto"})
    assert getattr(config, name) == 0 and to_plain(config)[name] == 0
    assert config == TrainConfig(**{name: 0}) == build(TrainConfig, {name: "auto"}, "file")
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml", TrainConfig) == config


@pytest.mark.parametrize("word", ["many", "none", None, "Auto", 1.5])
def test_another_word_is_refused(word):
    with pytest.raises(ConfigError, match="'points' of file must be a whole number"):
        build(TrainConfig, {"points": word}, "file")


def test_the_command_line_takes_the_word_and_refuses_another(capsys):
    command = parse(["train", "--points", "auto", "--groups", "12", "--group-size", "auto"])
    config = plain(TrainConfig, command)
    assert (config.points, config.groups, config.group_size) == (0, 12, 0)
    assert main(["train", "--points", "auot"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "--points: it takes INT|{auto}, not 'auot'; see" in said


def test_a_run_records_what_was_chosen_and_predicts_so(tmp_path, bare_backbone):
    results = train(
        data="folder", root=make(tmp_path / "scans", train=3, test=1, n=70), points=0, epochs=1,
        backbone=str(bare_backbone("point_vit")), method="linear_probe", out=tmp_path / "run",
        tensorboard=False, threads=1,
    )  # fmt: skip
    assert results["config"]["points"] == results["protocol"]["points"] == 64
    assert results["config"]["groups"] == 16
