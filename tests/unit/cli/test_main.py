"""The command line: every sub-command on micro input, and one line for every wrong one."""

import errno
import gc
import importlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pointadapt.cli import main as cli
from pointadapt.cli.commands import COMMANDS
from pointadapt.cli.listing import LISTS
from pointadapt.cli.main import main
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.io import write_points
from pointadapt.tasks import TASKS


def run(*args, **env):
    """A real process: (exit status, standard output, standard error)."""
    done = subprocess.run(
        [sys.executable, "-m", "pointadapt", *map(str, args)],
        capture_output=True, text=True, env={**os.environ, **env}, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def fails(capsys, *args) -> str:
    """The one line that a wrong command is answered with."""
    capsys.readouterr()
    assert main([str(a) for a in args]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pointadapt: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


# --- starting up


def test_garbage_is_looked_for_once_a_command_works(monkeypatch):
    """Not before, where importing torch makes what stays; and only what ``__main__`` began."""
    frozen, works = gc.get_freeze_count(), []
    monkeypatch.setattr(COMMANDS["list"], "run", lambda self: works.append(gc.isenabled()) or 0)
    assert main(["list", "methods"]) == 0
    assert gc.get_freeze_count() == frozen
    gc.disable()
    try:
        assert main(["list", "methods"]) == 0
        assert works == [True, True] and gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize("args", [[], ["--help"], ["train", "--help"], ["predict", "--help"]])
def test_help_imports_nothing_heavy(args):
    code = (
        "import sys\nfrom pointadapt.cli.main import main\n"
        f"try: main({args})\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'accelerate', 'matplotlib', 'h5py', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pointadapt" in done.stdout


def test_import_is_lazy_and_functions_stay_functions():
    code = (
        "import sys, pointadapt\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "import pointadapt.training.trainer, pointadapt.adapters.convert\n"
        "import pointadapt.inference.classify_files\n"
        "from pointadapt.training.trainer import build_model\n"
        "for name in pointadapt.__all__: assert getattr(pointadapt, name) is not None, name\n"
        "for name in ('train', 'pretrain', 'predict', 'convert', 'evaluate'):\n"
        "    assert callable(getattr(pointadapt, name)), name\n"
        "from pointadapt import train\n"
        "assert callable(train)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pointadapt 0.")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], "unknown command trian of pointadapt: did you mean train?"),
        (["data", "shwo", "x"], "did you mean show? see pointadapt data --help"),
        (["train", "--epcohs", "3"], "unknown option --epcohs of pointadapt train: did you mean "),
        (["predict", "--adapater=x", "a.ply"], "did you mean --adapter?"),
        (["data", "show", "x", "--ot", "y"], "see pointadapt data show --help"),
        (["compare", "--method", "dapt"], "did you mean --methods?"),
        (["qqq"], "it has: demo, train, "),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest_one(args, words, capsys):
    assert words in fails(capsys, *args)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["convert"],
            "Missing from pointadapt convert: FILE the published .pth or",
        ),
        (["train", "surplus"], "surplus; see pointadapt train --help"),
        (["train", "--precision", "fp8"], "'fp8' for argument '--precision'. Expected one of"),
        (["train", "--seed", "many"], "--seed: invalid literal for int() with base 10: 'many'"),
        (["train", "--epochs", "many"], "--epochs: it takes INT|{auto}, not 'many'"),
        (["train", "--epochs"], "Missing value for argument '--epochs'"),
        (["list", "methds"], "invalid choice 'methds'"),
        (["data", "show"], "see pointadapt data show --help"),
    ],
)
def test_a_wrong_or_missing_value_is_one_line(args, words, capsys):
    assert words in fails(capsys, *args)


def test_it_is_one_line_too_where_the_parser_draws_a_box():
    status, out, err = run("train", "--precision", "fp8", PYTHONIOENCODING="utf-8")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("pointadapt: error: invalid choice 'fp8' for argument '--precision'.")
    assert err.endswith("('auto', 'fp32', 'bf16', 'fp16'); see pointadapt train --help\n")


# --- what train starts from


def test_flags_over_file_over_recipe(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("epochs: 7\nlr: 0.01\n")
    plain = cli.parse(["train", "--recipe", "dapt-modelnet40"])
    assert isinstance(plain, COMMANDS["train"])
    assert (plain.epochs, plain.options, plain.recipe) == (300, ("rank=72",), "dapt-modelnet40")
    both = cli.parse(["train", "--recipe=dapt-modelnet40", "--config", str(file), "--lr", "0.1"])
    assert isinstance(both, COMMANDS["train"])
    assert (both.epochs, both.lr, both.available) == (7, 0.1, 8192)


def test_recipe_named_in_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("recipe: full-laptop\nepochs: 2\n")
    command = cli.parse(["train", "--config", str(file)])
    assert isinstance(command, COMMANDS["train"])
    assert (command.method, command.epochs) == ("full", 2)


def test_unknown_recipe_and_key(tmp_path, capsys):
    assert "did you mean 'dapt-modelnet40'?" in fails(capsys, "train", "--recipe", "dapt-modelnt40")
    file = tmp_path / "c.yaml"
    file.write_text("epohcs: 7\n")
    assert "did you mean 'epochs'?" in fails(capsys, "train", "--config", file)
    assert "nope.yaml" in fails(capsys, "train", "--config", tmp_path / "nope.yaml")


def test_recipe_without_its_backbone_says_what_to_get(tmp_path, capsys, monkeypatch, toy_root):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POINTADAPT_OFFLINE", "1")
    monkeypatch.setenv("POINTADAPT_CACHE", str(tmp_path / "cache"))
    data = ("--data", "folder", "--root", toy_root, "--points", "64", "--available", "0")
    line = fails(capsys, "train", "--recipe", "dapt-modelnet40", *data)
    assert "pointadapt fetch point_mae-small --file" in line


@pytest.mark.parametrize(
    ("flag", "least"), [("--epochs", 0), ("--accumulate", 1), ("--batch-size", 1)]
)
def test_values_out_of_range(flag, least, capsys):
    assert f"must be at least {least}" in fails(capsys, "train", flag, str(least - 1))


# --- the commands


def test_train_prints_a_summary_and_resumes(tmp_path, micro_flags, capsys):
    out = tmp_path / "run"
    train = ["train", "--out", str(out), "--method", "linear_probe", *micro_flags]
    assert main(train) == 0
    printed = capsys.readouterr().out
    for word in ("accuracy", "selection", "trained", "peak memory", "time", "kB"):
        assert word in printed
    assert f"pointadapt predict FILE --adapter {out / 'adapter'}" in printed
    assert "add --resume" in fails(capsys, *train)
    assert main([*train, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["adapter"] == str(out / "adapter")


def test_train_json_in_a_process(tmp_path, micro_flags):
    status, out, err = run("train", "--out", tmp_path / "run", *micro_flags, "--json")
    assert status == 0, err
    results = json.loads(out)
    assert results["adapter_bytes"] > 0 and results["protocol"]["selection"] == "last epoch"
    assert "pointadapt predict FILE" in err
    assert "Warning" not in err and "\x1b" not in out + err


def test_evaluate_repeats_the_end_of_training(micro_adapter, capsys):
    assert main(["evaluate", "--adapter", str(micro_adapter), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    trained = json.loads((micro_adapter.parent / "results.json").read_text())
    assert scores["accuracy"] == trained["accuracy"]
    assert scores["count"] == 32
    votes = ["--votes", "2", "--split", "train", "--data-options", "size=8"]
    assert main(["evaluate", "--adapter", str(micro_adapter), *votes]) == 0
    text = capsys.readouterr().out
    assert "shapes train: 8 clouds, 2 votes" in text and "accuracy" in text


def test_evaluate_shows_the_worst_class_first(capsys):
    from pointadapt.core import console
    from pointadapt.reports import terminal as report

    scores = {"accuracy": 50.0, "class_accuracy": 50.0, "count": 2, "votes": 0,
              "per_class": {"good": 100.0, "bad": 0.0}}  # fmt: skip
    report.evaluation(scores, TASKS["classification"], "x test", console.output())
    text = capsys.readouterr().out
    assert text.index("bad") < text.index("good")


def test_predict_files_and_folders(own_files, micro_adapter, tmp_path, capsys):
    table, picture = tmp_path / "o.csv", tmp_path / "o.png"
    args = ["predict", str(own_files), "--adapter", str(micro_adapter), "--csv", str(table)]
    assert main([*args, "--picture", str(picture), "--top", "2"]) == 0
    assert "0.ply" in capsys.readouterr().out
    lines = table.read_text().splitlines()
    assert lines[0] == "path,label,confidence,label_2,confidence_2,error"
    assert len(lines) == 9
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_predict_json(own_files, micro_adapter, capsys):
    file = own_files / "flat" / "0.ply"
    assert main(["predict", str(file), "--adapter", str(micro_adapter), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["path"] == str(file) and row["error"] is None
    assert len(row["top"]) == 3 and row["top"][0] == [row["label"], row["confidence"]]


def test_one_bad_file_among_many(own_files, micro_adapter, capsys):
    bad = own_files / "flat" / "picture.ply"
    bad.write_bytes(b"\xff\xd8\xff\xe0 this is a JPEG")
    assert main(["predict", str(own_files), "--adapter", str(micro_adapter)]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("own") == 8
    assert captured.err.count("\n") == 1 and "JPEG" in captured.err and str(bad) in captured.err


def test_pretrain_a_step(tmp_path, capsys):
    flags = ["--steps", "1", "--batch-size", "2", "--points", "128", "--warmup-steps", "0"]
    flags += ["--picture-every", "0", "--workers", "0"]
    assert main(["pretrain", "--out", str(tmp_path / "p"), *flags, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (Path(summary["backbone"]) / "model.safetensors").is_file()
    from pointadapt.core import console
    from pointadapt.reports import terminal as report

    report.pretrain_summary(summary, console.output())
    assert f"pointadapt train --backbone {summary['backbone']}" in capsys.readouterr().out
    assert "mask_ratio" in fails(capsys, "pretrain", "--mask-ratio", "1.5")


def test_probe(bare_backbone, toy_root, capsys):
    pytest.importorskip("sklearn")
    flags = ["--data", "folder", "--root", str(toy_root), "--points", "64", "--random"]
    command = ["probe", str(bare_backbone("point_vit")), *flags]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["train_clouds"] == 40 and result["test_clouds"] == 16
    assert main(command) == 0
    text = capsys.readouterr().out
    for key in ("accuracy", "random_accuracy"):
        assert 25 < result[key] <= 100  # of four classes
        assert f"{result[key]:.2f} %" in text
    assert "--root" in fails(capsys, "probe", "tiny")
    assert "c must be positive" in fails(capsys, "probe", "tiny", "--c", "0")


def published(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a backbone folder under the names of Point-MAE's pre-training."""
    from pointadapt.core.tensors import read_safetensors

    names = {
        "linear1": "first_conv.0", "norm1": "first_conv.1", "linear2": "first_conv.3",
        "linear3": "second_conv.0", "norm2": "second_conv.1", "linear4": "second_conv.3",
    }  # fmt: skip
    out = {}
    for key, value in read_safetensors(folder / "model.safetensors").items():
        first, _, rest = key.partition(".")
        if first == "encoder":
            layer, kind = rest.split(".")
            conv = layer.startswith("linear") and kind == "weight"
            out[f"encoder.{names[layer]}.{kind}"] = value.unsqueeze(-1) if conv else value
        elif first == "blocks":
            out[f"blocks.{key}"] = value
        elif not key.startswith("cls_"):
            out[key] = value
    out = {f"module.MAE_encoder.{key}": value for key, value in out.items()}
    return out | {"module.MAE_decoder.norm.weight": torch.ones(3)}


def test_convert_a_backbone(tmp_path, micro_backbone, capsys):
    file = tmp_path / "pretrain.pth"
    torch.save({"base_model": published(micro_backbone), "epoch": 300}, file)
    args = ["convert", str(file), "--out", str(tmp_path / "w"), "--heads", "2"]
    args += ["--groups", "8", "--group-size", "8"]
    assert main(args) == 0
    text = capsys.readouterr().out
    assert "pre-trained backbone" in text and "1: MAE_decoder.norm.weight" in text
    assert f"pointadapt train --backbone {tmp_path / 'w' / 'backbone'}" in text
    assert main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == ["cls_token", "cls_pos"]


@pytest.mark.parametrize("kind", LISTS)
def test_list(kind, capsys):
    assert main(["list", kind]) == 0
    text = capsys.readouterr().out
    assert main(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and all(row["name"] in text for row in rows)


def test_list_on_a_narrow_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list", "methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  title: Full fine-tuning" in lines and "  parameters 22,093,327" in lines
    assert any("layers=all " in line for line in lines) and max(map(len, lines)) <= 80
    assert lines[1].startswith("parameters: trained on point_vit:small with 15 classes")


def test_list_all(capsys):
    assert main(["list", "--json"]) == 0
    every = json.loads(capsys.readouterr().out)
    assert {"dapt", "full", "linear_probe"} <= {row["name"] for row in every["methods"]}
    small = next(row for row in every["backbones"] if row["name"] == "point_vit:small")
    assert small["parameters"] == 21_825_792
    dapt = next(row for row in every["methods"] if row["name"] == "dapt")
    assert dapt["options"]["rank"] == 64 and "CVPR 2024" in dapt["paper"]
    assert (dapt["parameters"], dapt["foldable"]) == (1_087_771, "partly")
    foldable = {row["name"]: row["foldable"] for row in every["methods"]}
    assert (foldable["ssf"], foldable["vpt"]) == ("wholly", "no")


# --- wrong input: one line, status 2, nothing half-written


class Attack:
    """What a pickle that runs code looks like."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("write", [torch.save, lambda x, f: f.write_bytes(pickle.dumps(x, 2))])
def test_convert_runs_no_code(write, tmp_path, capsys):
    file, mark = tmp_path / "evil.pth", tmp_path / "mark"
    write({"base_model": Attack(mark)}, file)
    assert "could run code" in fails(capsys, "convert", file, "--out", tmp_path / "out")
    assert not mark.exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 truncated"])
def test_convert_damaged(content, tmp_path, capsys):
    file = tmp_path / "bad.pth"
    file.write_bytes(content)
    fails(capsys, "convert", file, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def make_nan(folder):
    write_points(folder / "bad.npy", np.ones((50, 3), np.float32))
    np.save(folder / "bad.npy", np.full((50, 3), np.nan, np.float32))


def make_inf(folder):
    (folder / "bad.xyz").write_text("0 0 0\n1 inf 2\n" * 20)


def make_three_points(folder):
    (folder / "bad.xyz").write_text("0 0 0\n1 1 1\n0 1 0\n")


def make_two_columns(folder):
    (folder / "bad.xyz").write_text("0 1\n1 1\n" * 20)


def make_jpeg(folder):
    (folder / "bad.ply").write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))


BAD = {
    make_nan: "NaN or infinite",
    make_inf: "NaN or infinite",
    make_three_points: "3 points",
    make_two_columns: "column",
    make_jpeg: "JPEG",
}


@pytest.mark.parametrize("make", BAD, ids=lambda f: f.__name__)
def test_bad_file_in_training_and_prediction(
    make, own_files, micro_backbone, micro_adapter, capsys, tmp_path
):
    make(own_files / "flat")
    (bad,) = own_files.rglob("bad.*")
    out = tmp_path / "run"
    flags = ["--backbone", micro_backbone, "--points", "64", "--batch-size", "2"]
    line = fails(capsys, "train", "--data", "folder", "--root", own_files, "--out", out, *flags)
    assert str(bad) in line and BAD[make] in line
    assert not out.exists()
    line = fails(capsys, "predict", bad, "--adapter", micro_adapter)
    assert str(bad) in line and BAD[make] in line


def test_missing_things(tmp_path, micro_adapter, own_files, capsys):
    nowhere = tmp_path / "nowhere.ply"
    assert "does not exist" in fails(capsys, "predict", nowhere, "--adapter", micro_adapter)
    assert "does not exist" in fails(capsys, "predict", own_files, "--adapter", nowhere)
    assert "does not exist" in fails(capsys, "train", "--data", "folder", "--root", nowhere)
    assert "--root" in fails(capsys, "train", "--data", "modelnet40")
    assert "at least one" in fails(capsys, "predict", "--adapter", micro_adapter)


def test_empty_folders(tmp_path, micro_adapter, capsys):
    (tmp_path / "empty" / "class").mkdir(parents=True)
    line = fails(capsys, "train", "--data", "folder", "--root", tmp_path / "empty" / "class")
    assert "empty" in line
    fails(capsys, "train", "--data", "folder", "--root", tmp_path / "empty")
    fails(capsys, "predict", tmp_path / "empty", "--adapter", micro_adapter)


def test_class_with_one_sample(own_files, capsys, tmp_path):
    for file in list((own_files / "tall").iterdir())[1:]:
        file.unlink()
    out = tmp_path / "run"
    line = fails(capsys, "train", "--data", "folder", "--root", own_files, "--out", out)
    assert "tall" in line and not out.exists()


def test_unknown_names(tmp_path, micro_flags, capsys):
    out = ["--out", tmp_path / "run"]
    line = fails(capsys, "train", *micro_flags, *out, "--method", "dapd")
    assert "did you mean 'dapt'?" in line
    assert "data set" in fails(capsys, "train", *micro_flags, *out, "--data", "shape")
    line = fails(capsys, "train", *micro_flags, *out, "--options", "rnak=3")
    assert "did you mean 'rank'?" in line
    assert "key=value" in fails(capsys, "train", *micro_flags, *out, "--options", "rank")
    assert not (tmp_path / "run").exists()


def test_adapter_on_another_backbone(micro_adapter, tmp_path, own_files, capsys):
    from dataclasses import replace

    from pointadapt.backbones.folder import save_backbone
    from pointadapt.backbones.point_vit import PointViT
    from pointadapt.pretrained.load import load_backbone

    own = json.loads((micro_adapter / "adapter_config.json").read_text())["backbone"]["name"]
    other = PointViT(replace(load_backbone(own).config)).seal()
    save_backbone(other, tmp_path / "other")
    args = ["--adapter", micro_adapter, "--backbone", tmp_path / "other"]
    assert "sha256" in fails(capsys, "predict", own_files, *args)
    assert "sha256" in fails(capsys, "evaluate", *args)


def test_truncated_weights(micro_adapter, tmp_path, own_files, capsys):
    import shutil

    broken = Path(shutil.copytree(micro_adapter, tmp_path / "broken"))
    weights = broken / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    assert str(weights) in fails(capsys, "predict", own_files, "--adapter", broken)


def test_bad_input_in_a_process(tmp_path):
    status, out, err = run("predict", tmp_path / "a.ply", "--adapter", tmp_path)
    assert (status, out, err.count("\n")) == (2, "", 1)
    status, _, err = run("predict", "a.ply", "--adapter", tmp_path, POINTADAPT_DEBUG="1")
    assert status == 1 and "Traceback" in err


# --- what the machine does


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried"), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device", "f"), "no space left on the disk of f"),
        (PermissionError(errno.EACCES, "Permission denied", "f"), "f: Permission denied"),
        (ConfigError("so"), "so"),
        (UnknownNameError("thing", "a", ["b"]), "unknown thing"),
    ],
)
def test_explained(error, words, capsys, monkeypatch):
    def broken(_):
        raise error

    monkeypatch.setattr(COMMANDS["list"], "run", broken)
    assert words in fails(capsys, "list")


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def broken(_):
        raise ZeroDivisionError

    monkeypatch.setattr(COMMANDS["list"], "run", broken)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_interruption_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["train"], "run", stopped)
    out = tmp_path / "a run"
    assert main(["train", "--out", str(out)]) == 130
    assert "before the first checkpoint" in capsys.readouterr().err
    out.mkdir()
    (out / "checkpoint.pt").touch()
    assert main(["train", "--out", str(out), "--epochs", "3"]) == 130
    line = capsys.readouterr().err
    assert f"pointadapt train --out '{out}' --epochs 3 --resume\n" in line


def test_one_class_is_nothing_to_tell_apart(own_files, tmp_path, capsys):
    only = next(p for p in sorted(own_files.iterdir()) if p.is_dir())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / only.name).symlink_to(only)
    line = fails(capsys, "train", "--data", "folder", "--root", tmp_path / "data", "--out", "x")
    assert "two are needed" in line


def test_an_output_that_cannot_be_written_is_said_before_the_work(
    tmp_path, micro_adapter, own_files, capsys, monkeypatch
):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "x"
    for name in ("inference.classify_files", "adapters.protocol"):  # nothing is loaded
        monkeypatch.setattr(importlib.import_module(f"pointadapt.{name}"), "load_ready", None)
    monkeypatch.setattr(importlib.import_module("pointadapt.training.trainer"), "load_clouds", None)
    for args in (
        ("train", "--out", target),
        ("evaluate", "--adapter", micro_adapter, "--html", target),
        ("evaluate", "--adapter", micro_adapter, "--report-json", target),
        ("predict", own_files, "--adapter", micro_adapter, "--csv", target),
        ("predict", own_files, "--adapter", micro_adapter, "--picture", f"{target}.png"),
    ):
        assert "is a file, not a folder" in fails(capsys, *args)
    picture = ("predict", own_files, "--adapter", micro_adapter, "--picture", tmp_path / "a.foo")
    assert "must end in .png" in fails(capsys, *picture)
