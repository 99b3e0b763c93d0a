"""Configurations and YAML."""

import dataclasses
from pathlib import Path

import pytest

from pointadapt.core.config import (
    PretrainConfig,
    TrainConfig,
    key_values,
    load_config,
    save_config,
    to_plain,
)
from pointadapt.core.errors import ConfigError, PointAdaptError, UnknownNameError

BOTH = pytest.mark.parametrize("cls", [TrainConfig, PretrainConfig])


@BOTH
def test_yaml_round_trip_of_defaults(cls, tmp_path):
    save_config(cls(), tmp_path / "c.yaml")
    assert load_config(tmp_path / "c.yaml", cls) == cls()


def test_yaml_round_trip_of_everything_changed(tmp_path):
    config = TrainConfig(
        out=Path("a/b"), data="folder", root=Path("/data/größe"), data_options=("up=y",),
        backbone="point_vit:small", method="full", options=("rank=3", "prompt=false"),
        head=("cls", "patch_max"), points=2048, available=8192, lr=5e-4, min_lr=1e-7,
        warmup_epochs=0.5, schedule="epoch", augment=("rotate", "jitter"), select="val",
        precision="bf16", resume=True, recipe="none",
    )  # fmt: skip
    save_config(config, tmp_path / "c.yaml")
    assert load_config(tmp_path / "c.yaml", TrainConfig) == config
    assert "größe" in (tmp_path / "c.yaml").read_text(encoding="utf-8")


def test_yaml_as_a_person_writes_it(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "lr: 5e-4\nhead: [cls, patch_max]\naugment: []\nroot:\nresume: yes\npoints: 64\n"
    )
    config = load_config(path, TrainConfig)
    assert config == TrainConfig(
        lr=5e-4, head=("cls", "patch_max"), augment=(), root=None, resume=True, points=64
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("epoch: 3\n", UnknownNameError, "did you mean 'epochs'"),
        ("1: 3\n", UnknownNameError, "unknown option of .*'1'"),
        ("epochs: three\n", ConfigError, "whole number, not 'three'"),
        ("epochs: .inf\n", ConfigError, "whole number, not inf"),
        ("epochs: -1\n", ConfigError, "epochs must be at least 0"),
        ("data:\n", ConfigError, "must be str, not None"),
        ("select: tset\n", UnknownNameError, "did you mean 'test'"),
        ("augment: [flip]\n", UnknownNameError, "unknown value"),
        ("- a\n- b\n", ConfigError, "key: value"),
        ("", ConfigError, "key: value"),
        ("a: [1\n", PointAdaptError, "is not YAML"),
        ("!!python/object/apply:os.mkdir ['sprung']", PointAdaptError, "is not YAML"),
    ],
)
def test_wrong_yaml(text, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(error, match=message) as caught:
        load_config(tmp_path / "c.yaml", TrainConfig)
    assert "\n" not in str(caught.value)
    assert "c.yaml" in str(caught.value) or "epochs must" in str(caught.value)
    assert not (tmp_path / "sprung").exists()


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "far more than a configuration does"),
        (BOMB + "<<: [*a11, *a11]\n", "is not YAML"),
        ("a: &a [*a]\n", "nested more than 50 deep"),
        ("&a {? *a : 1}\n", "is not YAML"),
        ("data: " + "[" * 100_000 + "]" * 100_000, "has more than 128 KiB"),
        ("data: " + "[" * 400 + "]" * 400, "nested more than 50 deep"),
        ("- " * 60_000, "nested more than 50 deep"),
        ("data: " + "x" * 200_000, "has more than 128 KiB"),
        ("a: &a [" + "a, " * 300 + "]\nb: [" + "*a, " * 70 + "]\n", "far more than"),
        ("seed: 18446744073709551616\n", "seed of|'seed'"),
        ("seed: 4294967296\n", "seed must be 0 to 4294967295"),
        ("lr: .nan\n", "'lr' .* must be a number, not nan"),
        ("data: !!int x\n", "is not YAML"),
        ("data: !!timestamp x\n", "is not YAML"),
        ("data: !!map [1]\n", "is not YAML"),
        ("? [a, b]\n: 1\n", "not YAML|unknown option"),
        ('data: "a\\ud800"\n', "no character"),
        ('data: "a\\0b"\n', "no character"),
        ("data: !!binary aGVsbG8=\n", "must be str"),
        ("data: 2024-01-01\n", "must be str"),
        ("options: {a: 1}\n", "must be a list"),
        ("epochs: " + "9" * 5000 + "\n", "is not YAML|whole number"),
    ],
    ids=range(22),
)
def test_yaml_by_a_stranger(text, message, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(PointAdaptError, match=message) as caught:
        load_config(path, TrainConfig)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400


def test_aliases_that_people_write_are_read(tmp_path):
    (tmp_path / "c.yaml").write_text("augment: &a [rotate, jitter]\noptions: *a\n")
    config = load_config(tmp_path / "c.yaml", TrainConfig)
    assert config.augment == config.options == ("rotate", "jitter")


def test_yaml_that_is_missing_or_no_text(tmp_path):
    with pytest.raises(PointAdaptError, match=r"cannot read .*No such file"):
        load_config(tmp_path / "c.yaml", TrainConfig)
    (tmp_path / "c.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(PointAdaptError, match="is not YAML"):
        load_config(tmp_path / "c.yaml", TrainConfig)


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (TrainConfig, {"points": -1}),
        (TrainConfig, {"epochs": -1}),
        (TrainConfig, {"batch_size": 0}),
        (TrainConfig, {"accumulate": 0}),
        (TrainConfig, {"seed": -1}),
        (TrainConfig, {"seed": 2**64}),
        (TrainConfig, {"votes": -1}),
        (TrainConfig, {"lr": 0.0}),
        (TrainConfig, {"lr": float("nan")}),
        (TrainConfig, {"lr": float("inf")}),
        (TrainConfig, {"clip": -1.0}),
        (TrainConfig, {"min_lr": -1e-6}),
        (TrainConfig, {"warmup_epochs": -1.0}),
        (TrainConfig, {"weight_decay": float("nan")}),
        (TrainConfig, {"drop_path": 1.0}),
        (TrainConfig, {"val_fraction": 1.0}),
        (TrainConfig, {"available": 512}),
        (PretrainConfig, {"steps": 0}),
        (PretrainConfig, {"batch_size": 0}),
        (PretrainConfig, {"save_every": 0}),
        (PretrainConfig, {"seed": -1}),
        (PretrainConfig, {"seed": 2**32}),
        (PretrainConfig, {"lr": -1.0}),
        (PretrainConfig, {"mask_ratio": 1.0}),
        (PretrainConfig, {"precision": "fp16"}),
    ],
)
def test_values_out_of_range(cls, values):
    name = next(iter(values))
    with pytest.raises(ConfigError, match="fp16" if name == "precision" else name):
        cls(**values)


def test_key_values():
    assert key_values(("rank=32", " a = b=c ")) == {"rank": "32", "a": "b=c"}
    assert key_values({"rank": 32}) == {"rank": 32}
    assert key_values(()) == {}
    for wrong in ("rank", "=3", ""):
        with pytest.raises(ConfigError, match="key=value"):
            key_values((wrong,))


@BOTH
def test_plain_values_are_json(cls):
    import json

    assert json.loads(json.dumps(to_plain(cls()))) == to_plain(cls())


@BOTH
def test_every_field_is_documented(cls):
    for field in dataclasses.fields(cls):
        assert f"\n        {field.name}: " in cls.__doc__, field.name


def test_configurations_do_not_import_torch():
    import subprocess
    import sys

    code = "import sys, pointadapt.core.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=600).returncode == 0
