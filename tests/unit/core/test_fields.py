"""Dataclasses from plain values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from pointadapt.core.config import PretrainConfig, TrainConfig, other_options, to_plain
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.core.fields import (
    LARGEST,
    at_least,
    build,
    convert,
    is_a,
    number_set,
    positive,
    seeds,
)


@dataclass(frozen=True)
class Sample:
    kind: ClassVar[str] = "sample"
    count: int = 1
    rate: float = 0.5
    on: bool = True
    name: str = "x"
    mode: Literal["fast", "slow"] = "fast"
    path: Path | None = None
    names: tuple[str, ...] = ()
    three: tuple[int, int, int] = (1, 2, 3)
    anything: Any = None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"count": "12"}, 12),
        ({"count": 3.0}, 3),
        ({"rate": "5e-4"}, 5e-4),
        ({"rate": 2}, 2.0),
        ({"on": "no"}, False),
        ({"on": "True"}, True),
        ({"on": 0}, False),
        ({"name": 7}, "7"),
        ({"name": Path("a/b")}, "a/b"),
        ({"mode": "slow"}, "slow"),
        ({"path": "a/b"}, Path("a/b")),
        ({"path": None}, None),
        ({"path": "none"}, None),
        ({"names": "a, b,"}, ("a", "b")),
        ({"names": ["a", "b"]}, ("a", "b")),
        ({"names": ""}, ()),
        ({"names": []}, ()),
        ({"three": "4,5,6"}, (4, 5, 6)),
        ({"three": [4, 5, 6.0]}, (4, 5, 6)),
        ({"anything": {1: 2}}, {1: 2}),
    ],
)
def test_values_become_what_the_field_says(values, expected):
    got = getattr(build(Sample, values, "sample"), *values)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": "many"}, "option 'count' of sample must be a whole number, not 'many'"),
        ({"count": 2.5}, "whole number, not 2.5"),
        ({"count": float("inf")}, "whole number, not inf"),
        ({"count": float("nan")}, "whole number, not nan"),
        ({"count": True}, "whole number, not True"),
        ({"count": None}, "whole number, not None"),
        ({"count": [1]}, "whole number"),
        ({"rate": "fast"}, "must be a number, not 'fast'"),
        ({"rate": False}, "must be a number, not False"),
        ({"on": "maybe"}, "must be true or false, not 'maybe'"),
        ({"on": 2}, "true or false"),
        ({"on": None}, "true or false"),
        ({"name": None}, "must be str, not None"),
        ({"name": ["a"]}, "must be str"),
        ({"path": 3}, "must be Path, not 3"),
        ({"names": 3}, "must be a list, not 3"),
        ({"names": [["a"]]}, "must be str"),
        ({"three": "1,2"}, "must be 3 values, not 2"),
        ({"three": "1,2,3,4"}, "must be 3 values, not 4"),
        ({"three": "1,2,x"}, "whole number, not 'x'"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(ConfigError) as caught:
        build(Sample, values, "sample")
    assert message in str(caught.value)


@pytest.mark.parametrize("mode", ["fsat", ["fast"], {"fast": 1}, None, 3])
def test_values_outside_a_choice(mode):
    with pytest.raises(UnknownNameError, match="known: fast, slow"):
        build(Sample, {"mode": mode}, "sample")


@pytest.mark.parametrize(
    ("key", "hint"), [("cuont", "did you mean 'count'"), ("zzz", "known: "), (1, "'1'")]
)
def test_unknown_keys(key, hint):
    with pytest.raises(UnknownNameError, match=hint):
        build(Sample, {key: 1}, "sample")


def test_class_attributes_are_no_options():
    with pytest.raises(UnknownNameError, match="kind"):
        build(Sample, {"kind": "other"}, "sample")


def test_convert_takes_unions_with_none_last_or_first():
    for hint in (int | None, None | int):
        assert convert("3", hint, "x") == 3
        assert convert(None, hint, "x") is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (["6-8"], {6, 7, 8}), (["0", "2-3"], {0, 2, 3}), (["all"], set(range(12))),
        (["none"], set()), ([], set()), (["5-5"], {5}),
    ],
)  # fmt: skip
def test_number_set(text, numbers):
    assert number_set("layers", text, 12) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8-6", "runs backwards"), ("6-", "no number"), ("-3", "no number"), ("x", "no number"),
        ("", "no number"), ("12", "there is no 12; the last is 11"), ("1-99999999999", "no 99999"),
    ],
)  # fmt: skip
def test_number_set_of_something_else(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        number_set("layers", [text], 12)
    assert str(caught.value).startswith("layers: ")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with scans/ and a link to it."""
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/labels.csv").write_text("path,label\n")
    (tmp_path / "own.csv").write_text("path,label\n")
    (tmp_path / "link").symlink_to(tmp_path / "scans")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("given", ["scans", "./scans/", "../{}/scans", "link", "scans/../scans"])
def test_one_folder_has_one_spelling(folder, given):
    given = Path(given.format(folder.name))
    assert TrainConfig(root=given).root == folder / "scans"
    pretrain = PretrainConfig(data=("shapes", "folder"), root=given, roots=(f"folder={given}",))
    assert (pretrain.root, pretrain.roots) == (folder / "scans", (f"folder={folder / 'scans'}",))
    assert TrainConfig(root=folder / "none").root == folder / "none"
    assert TrainConfig().root is None


def test_a_backbone_folder_has_one_spelling_too(folder):
    (folder / "scans/config.json").write_text("{}")
    for given in ("scans", "./scans/", "link", str(folder / "scans")):
        assert TrainConfig(backbone=given).backbone == str(folder / "scans")
        assert PretrainConfig(init=given).init == str(folder / "scans")
    (folder / "tiny").mkdir()
    (folder / "tiny/config.json").write_text("{}")
    for name in ("tiny", "point_mae-small", "point_vit:small", "nowhere"):
        assert TrainConfig(backbone=name).backbone == name
    assert PretrainConfig().init is None


def test_a_manifest_is_found_from_elsewhere(folder):
    def stored(value, root):
        return TrainConfig(root=root, data_options=("up=y", f"manifest={value}")).data_options

    assert stored("own.csv", "scans") == ("up=y", f"manifest={folder / 'own.csv'}")
    assert stored("labels.csv", "scans") == ("up=y", "manifest=labels.csv")  # it moves with root
    assert stored("none.csv", None) == ("up=y", "manifest=none.csv")


def test_a_run_that_stored_a_relative_folder_goes_on(folder):
    now = to_plain(TrainConfig(root=Path("scans")))
    assert other_options({**now, "root": "scans"}, now) == ""
    assert other_options({**now, "root": "link"}, now) == ""
    assert other_options({**now, "root": "elsewhere"}, now).startswith("root: elsewhere then")
    (folder / "scans/config.json").write_text("{}")
    now = to_plain(TrainConfig(backbone="scans"))
    assert other_options({**now, "backbone": "./scans"}, now) == ""
    assert other_options({**now, "backbone": "tiny"}, now).startswith("backbone: tiny then")


@pytest.mark.parametrize("values", [
    {"count": 2**64}, {"count": "1" * 5000}, {"rate": "nan"}, {"rate": float("inf")},
    {"rate": 1e300}, {"count": [1]}, {"count": None}, {"name": None}, {"name": ["a"]},
    {"name": {"a": 1}}, {"mode": ["fast"]}, {"mode": {}}, {"mode": None}, {"three": 5},
    {"three": {"a": 1}}, {"names": [["a"]]}, {"names": [None]}, {"path": 5j}, {"path": [1]},
    {"count": True}, {"rate": False},
])  # fmt: skip
def test_values_of_strangers_are_one_line(values):
    with pytest.raises((ConfigError, UnknownNameError), match="of sample") as caught:
        build(Sample, values, "sample")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True), (True, int, False), (1.0, int, False), ("1", int, False),
        (LARGEST, int, True), (LARGEST + 1, int, False), (-LARGEST - 1, int, False),
        (1.5, float, True), (float("nan"), float, False), (float("inf"), float, False),
        (True, bool, True), (1, bool, False), ("a", str, True), (None, str, False),
        ({}, dict, True), ([], dict, False), ([], list[str], True), (["a"], list[str], True),
        (["a", 1], list[str], False), ([None], list[str], False), ("a", list[str], False),
        ([1, 2], list[int], True), ([1, True], list[int], False),
    ],
)  # fmt: skip
def test_kinds_of_plain_values(value, hint, expected):
    assert is_a(value, hint) is expected


@pytest.mark.parametrize("seed", [-1, 2**32, 2**53])
def test_seeds_that_nothing_draws_from(seed):
    for ok in (0, 2**32 - 1):
        seeds(Sample(count=ok), "count")
    with pytest.raises(ConfigError, match="count must be 0 to 4294967295"):
        seeds(Sample(count=seed), "count")


@pytest.mark.parametrize("check", [positive, lambda o, *names: at_least(o, 1, *names)])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (LARGEST + 1, "count is too large: 9007199254740993, beyond 2"),
        (float("inf"), "count is too large: inf"),
        (0, "count must be (positive|at least 1), not 0"),
        (float("nan"), "count must be (positive|at least 1), not nan"),
    ],
)
def test_too_large_is_not_called_too_small(check, value, message):
    with pytest.raises(ConfigError, match=message):
        check(Sample(count=value), "count")
    check(Sample(count=LARGEST), "count")


@pytest.mark.parametrize(
    ("values", "message"),
    [({"count": 2**64}, "too large"), ({"rate": 1e300}, "too large"),
     ({"rate": "-1e300"}, "too small")],
)  # fmt: skip
def test_beyond_the_range(values, message):
    with pytest.raises(ConfigError, match=f"of sample is {message}: "):
        build(Sample, values, "sample")


@dataclass(frozen=True)
class Outer:
    inner: Sample = Sample()


def test_a_dataclass_inside_another():
    assert build(Outer, {"inner": {"count": 3}}, "it").inner == Sample(count=3)
    assert build(Outer, {"inner": Sample(count=4)}, "it").inner.count == 4
    with pytest.raises(ConfigError, match="option 'inner' of it must be a table of options"):
        build(Outer, {"inner": "3"}, "it")
    with pytest.raises(UnknownNameError, match="option of option 'inner' of it"):
        build(Outer, {"inner": {"counts": 3}}, "it")
