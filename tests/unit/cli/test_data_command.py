"""``pointadapt data``: verify and show, on every data set, and one line for wrong input."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from pointadapt.cli.main import main
from pointadapt.core.errors import PointAdaptError
from pointadapt.data import DATASETS
from pointadapt.reports.data_sheet import MOST, data_sheet, examples

TESTS = Path(__file__).parents[2]
MAKERS = {p.parent.name: p for p in (TESTS / "data").glob("*/make.py")}


def made(name, folder):
    """(positional folder, --options …) of a data set's look-alike."""
    folder.mkdir()
    options = runpy.run_path(str(MAKERS[name]))["make"](folder)
    options = dict(options) if isinstance(options, dict) else {"root": folder}
    root = [str(options.pop("root"))] if "root" in options else []
    flags = [f"{key}={value}" for key, value in options.items()]
    return [*root, *(["--data-options", *flags] if flags else [])]


DRAWN = ("folder_segmentation", "shapenetpart", "shapes")  # of every kind; make test-all takes all


@pytest.mark.parametrize(
    "name", [n if n in DRAWN else pytest.param(n, marks=pytest.mark.slow) for n in DATASETS]
)
def test_show_draws_every_data_set(name, tmp_path, capsys):
    flags = made(name, tmp_path / "in")
    assert main(["data", "show", name, *flags, "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["picture"]).read_bytes().startswith(b"\x89PNG")
    assert set(told["splits"]) == set(DATASETS[name].splits)
    for split in told["splits"].values():
        assert split["clouds"] == sum(split["classes"].values()) > 0


def test_show_in_words(toy_root, tmp_path, capsys):
    assert main(["data", "show", "folder", str(toy_root), "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for words in ("ball", "train: 40 clouds, 1,024 points each of 64 to 64 stored", "licence",
                  "folder.png"):  # fmt: skip
        assert words in text


@pytest.fixture
def verify(capsys):
    """Runs ``data verify … --json``: (status, what it printed, standard error)."""

    def run(*flags):
        capsys.readouterr()
        status = main(["data", "verify", *map(str, flags), "--json"])
        captured = capsys.readouterr()
        return status, json.loads(captured.out), captured.err

    return run


def test_verify(toy_root, verify):
    status, told, err = verify("folder", toy_root, "--data-options", "points=64")
    assert (status, told["wrong"], err) == (0, 0, "")
    assert {row["what"] for row in told["checks"]} >= {"train: classes", "test: duplicates"}
    assert told["splits"]["train"]["stored_points"] == [64, 64, 64]


def test_the_old_spelling_of_data_options_is_understood(toy_root, verify, capsys):
    status, told, _ = verify("folder", toy_root, "--data-options", "points=64")
    assert status == 0 and told["splits"]["train"]["points"] == 64
    with pytest.raises(SystemExit):
        main(["data", "show", "--help"])
    assert "--data-options" in capsys.readouterr().out


def test_verify_in_words(toy_root, capsys):
    assert main(["data", "verify", "folder", str(toy_root)]) == 0
    text = capsys.readouterr().out
    assert "10 each" in text and "wrong" in text and "--write-checksums" in text


def test_verify_fails_with_status_2_and_one_line(toy_root, tmp_path, verify):
    import shutil

    root = Path(shutil.copytree(toy_root, tmp_path / "toy"))
    (file, *_) = sorted((root / "train/ball").glob("*.npy"))
    np.save(file, np.full((64, 3), np.nan, np.float32))
    status, told, err = verify("folder", root)
    assert status == 2 and told["wrong"] == 1
    assert err.count("\n") == 1 and str(file) in err and "NaN" in err
    assert "test" in told["splits"]  # the other split was looked at all the same


def test_checksums(toy_root, tmp_path, verify):
    import shutil

    root = Path(shutil.copytree(toy_root, tmp_path / "toy"))
    status, told, _ = verify("folder", root, "--write-checksums")
    assert status == 0 and "56 files written" in told["checks"][-1]["text"]
    assert verify("folder", root)[1]["checks"][-1]["status"] == "ok"
    (file, *_) = sorted((root / "train/ball").glob("*.npy"))
    np.save(file, np.load(file) * 1.5)  # good data, and not those that were written down
    status, told, err = verify("folder", root)
    assert status == 2 and "checksums: changed" in err and "train/ball" in err
    away = tmp_path / "away.json"
    assert verify("folder", root, "--write-checksums", "--checksums", away)[0] == 0
    assert verify("folder", root, "--checksums", away)[0] == 0


def fails(capsys, *args):
    capsys.readouterr()
    assert main([str(a) for a in args]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_wrong_input(toy_root, tmp_path, capsys):
    assert "did you mean 'folder'" in fails(capsys, "data", "verify", "foldr", toy_root)
    assert "did you mean 'points'" in fails(
        capsys, "data", "show", "folder", toy_root, "--data-options", "pints=3"
    )
    gone = tmp_path / "gone"
    assert "does not exist" in fails(capsys, "data", "show", "folder", gone)
    for word in ("show", "verify"):
        said = fails(capsys, "data", word, "modelnet40")
        assert "DIR, after its name" in said and "--root" not in said
    options = ("--data-options", "size=32", "test_size=32", "points=16")
    said = fails(capsys, "data", "verify", "shapes", "--write-checksums", *options)
    assert "give the folder" in said
    record = ("--checksums", tmp_path / "no.json")
    assert "no.json is missing" in fails(capsys, "data", "verify", "folder", toy_root, *record)
    assert main(["data", "verify", "folder", str(gone), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["wrong"] == 2 and str(gone) in told["checks"][0]["text"]


@pytest.mark.parametrize("name", ["folds", "episodes"])
def test_an_index_of_data_elsewhere_says_how_to_name_the_place(name, tmp_path, verify):
    root, _, *options = made(name, tmp_path / "in")
    rest = [option for option in options if not option.startswith("source_root=")]
    flags = ["--data-options", *rest] if rest else []
    status, _, err = verify(name, root, *flags)
    assert status == 2 and "option source_root=DIR" in err and "--root" not in err
    assert verify(name, root, "--data-options", *options)[0] == 0


@pytest.mark.parametrize("args", [["data"], ["data", "verify"]])
def test_missing_words(args, capsys):
    assert f"see pointadapt {' '.join(args)} --help" in fails(capsys, *args)


def test_a_mistyped_word(capsys):
    assert "did you mean verify?" in fails(capsys, "data", "verfy")


def test_examples_are_of_every_class(toy_root):
    from pointadapt.data import Clouds, load_dataset

    clouds = load_dataset("folder", root=toy_root, points=64).load("train")
    chosen = examples(clouds)
    assert len(chosen) == len(set(chosen)) == 20
    assert {int(clouds.labels[i]) for i in chosen} == {0, 1, 2, 3}
    points = np.random.default_rng(0).random((300, 4, 3), np.float32)
    many = Clouds(points, np.arange(300), tuple(map(str, range(300))))
    assert len(examples(many)) == MOST


def test_sheet_of_nothing(tmp_path):
    with pytest.raises(PointAdaptError, match="no cloud to draw"):
        data_sheet({}, {}, tmp_path / "a.png", "")
