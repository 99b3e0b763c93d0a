"""The training loop: repeatable, resumable, selecting, refusing."""

import errno
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.protocol import Protocol
from pointadapt.core import stops
from pointadapt.core.config import TrainConfig, load_config
from pointadapt.core.errors import (
    CheckpointError,
    ConfigError,
    DataLayoutError,
    PointAdaptError,
    UnknownNameError,
)
from pointadapt.core.files import load_state, save_state
from pointadapt.core.folders import only_run_in
from pointadapt.core.machine import make_accelerator
from pointadapt.core.tensors import read_safetensors
from pointadapt.data.sets.folder import Folder
from pointadapt.data.splits import held_out, stratified_split
from pointadapt.inference.score import evaluate
from pointadapt.training.epoch_order import epoch_order
from pointadapt.training.schedule import warmup_cosine
from pointadapt.training.setup import build_model, load_clouds

SLOW = pytest.mark.slow

loop = importlib.import_module(
    "pointadapt.training.trainer"
)  # the package's attribute is the function
train = loop.train


@pytest.fixture
def config(tmp_path, toy_root, bare_backbone):
    """Three epochs of five steps."""
    return TrainConfig(
        out=tmp_path / "run", data="folder", root=toy_root, points=64, epochs=3, batch_size=8,
        backbone=str(bare_backbone("point_vit")), lr=3e-3, options=("rank=8", "dropout=0.2"),
        task_options=("hidden=16",), tensorboard=False, threads=1,
    )  # fmt: skip


def adapter(out):
    return read_safetensors(Path(out) / "adapter" / adapter_folder.WEIGHTS)


def log(out):
    rows = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def identical(a, b):
    return same(adapter(a), adapter(b)) and log(a) == log(b)


# ---- what a run leaves


def test_a_forest_is_fitted_before_scenes_are_learned(config, tmp_path):
    make = runpy.run_path(str(Path(__file__).parents[2] / "data/folder_segmentation/make.py"))
    options = make["make"](tmp_path / "scenes")
    root = options.pop("root")
    more = (*(f"{k}={v}" for k, v in options.items()), "features=z")
    of_points = ("width=8", "hidden=8,8", "forest=3")
    run = replace(
        config, data="folder_segmentation", root=root, data_options=more, epochs=1, points=32,
        task="scene_segmentation", task_options=of_points,
    )  # fmt: skip
    train(run)
    first = adapter(run.out)
    assert first["head.forest.shares"].max() > 0.9  # as it began, all labels are as likely
    train(replace(run, resume=True))
    assert same(first, adapter(run.out))


def test_what_a_run_writes(config):
    results = train(config)
    out = config.out
    assert sorted(p.name for p in out.iterdir()) == [
        "adapter", "checkpoint.pt", "config.yaml", "log.jsonl", "results.json",
    ]  # fmt: skip
    assert load_config(out / "config.yaml", TrainConfig) == config
    assert json.loads((out / "results.json").read_text()) == results
    assert results["adapter"] == str(out / "adapter")
    assert results["adapter_bytes"] == (out / "adapter" / adapter_folder.WEIGHTS).stat().st_size
    assert results["count"] == 16
    protocol = results["protocol"]
    assert protocol["selection"] == "last epoch"
    assert (protocol["train_clouds"], protocol["test_clouds"]) == (40, 16)
    assert protocol["augmentation"] == ["scale_shift"]
    rows = log(out)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_saved_adapter_scores_what_was_reported(config):
    results = train(config)
    _, test, _ = load_clouds(config)
    scores = evaluate(adapter_folder.load(config.out / "adapter"), test, 64)
    assert scores["accuracy"] == results["accuracy"]
    assert scores["per_class"] == results["per_class"]


def test_it_learns(config):
    results = train(
        replace(config, epochs=10, method="full", options=(), augment=(), drop_path=0.0)
    )
    assert results["accuracy"] >= 75  # four classes


def test_learning_rates_are_those_of_the_schedule(config):
    train(replace(config, epochs=4, warmup_epochs=2, schedule="epoch"))
    want = [warmup_cosine(e, 4, 2, 3e-3) for e in range(4)]
    assert [row["lr"] for row in log(config.out)] == pytest.approx(want)
    train(replace(config, epochs=2, warmup_epochs=1, out=config.out / "step"))  # last step of five
    want = [warmup_cosine(e + 0.8, 2, 1, 3e-3) for e in range(2)]
    assert [row["lr"] for row in log(config.out / "step")] == pytest.approx(want)


def test_tensorboard_events(config):
    pytest.importorskip("tensorboard")
    train(replace(config, epochs=1, tensorboard=True))
    assert list((config.out / "tensorboard").glob("events*"))


@pytest.fixture
def own_tracker(monkeypatch):
    """Accelerate knows a tracker "notes", which keeps what it is told."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

    class Notes(GeneralTracker):
        name, requires_logging_directory, told = "notes", False, []
        tracker = None

        def __init__(self, project):
            super().__init__()
            self.told.append(("project", project))

        def store_init_configuration(self, values):
            self.told.append(("lr", values["lr"]))

        def log(self, values, step=None, **more):
            self.told.append((step, values["epoch"], values["loss"]))

        def finish(self):
            self.told.append("end")

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "notes", Notes)
    return Notes


def test_a_tracker_is_told_of_every_epoch(config, own_tracker):
    train(replace(config, epochs=2, tracker=("notes",)))
    rows = [(row["epoch"], row["epoch"], row["loss"]) for row in log(config.out)]
    assert own_tracker.told == [("project", "pointadapt"), ("lr", config.lr), *rows, "end"]


def test_a_tracker_that_fails_does_not_stop_training(config, own_tracker, monkeypatch, capsys):
    def fail(*given, **more):
        raise OSError("no room\nfor it")

    monkeypatch.setattr(own_tracker, "log", fail)
    train(replace(config, epochs=2, tracker=("notes",)))
    said = capsys.readouterr().err
    assert said.count("the tracker notes fails (no room): training goes on without it") == 1
    assert len(log(config.out)) == 2


def test_a_tracker_that_is_not_there_is_told_before_training(config, monkeypatch):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    with pytest.raises(ConfigError, match="tracker wandb is not installed: pip install wandb"):
        train(replace(config, tracker=("wandb",)))
    with pytest.raises(UnknownNameError, match="did you mean 'mlflow'"):
        train(replace(config, tracker=("mflow",)))
    assert not config.out.exists()


# ---- the same again


def test_one_seed_gives_one_result(config):
    train(config)
    train(replace(config, out=config.out / "again"))
    assert identical(config.out, config.out / "again")


def test_another_seed_gives_another(config):
    train(replace(config, epochs=1))
    train(replace(config, epochs=1, out=config.out / "other", seed=1))
    assert not same(adapter(config.out), adapter(config.out / "other"))


def test_the_seed_fixes_every_new_tensor(config):
    states = [build_model(replace(config, seed=s), ("a", "b")).adapter_state() for s in (0, 0, 1)]
    assert same(states[0], states[1])
    same_in_other = {k for k in states[0] if torch.equal(states[0][k], states[2][k])}
    assert not any(k.startswith("backbone.") for k in same_in_other)  # CLS and its position
    constant = {k for k in states[0] if states[0][k].unique().numel() == 1}
    assert same_in_other == constant  # zeros and ones


def test_every_batch_is_augmented_anew(config):
    run = loop.Run(config, make_accelerator("fp32"))
    order = np.arange(40)

    def batch(epoch, seed=0):
        run.epoch, run.config = epoch, replace(config, seed=seed)
        return run.batch(0, order).points

    assert torch.equal(batch(0), batch(0))
    run.model.train()
    seen = [batch(0), batch(1), batch(0, seed=1), run.batch(0, np.roll(order, 8)).points]
    scales = [points.amax(dim=1) - points.amin(dim=1) for points in seen]
    for i, one in enumerate(scales):
        assert not any(torch.allclose(one, other) for other in scales[i + 1 :])
    first = [run.batch(step, np.zeros(40, int)).points for step in (0, 1)]
    assert not torch.equal(*first)


def test_what_ran_before_in_the_process_does_not_matter(config):
    train(config)
    torch.manual_seed(99)
    np.random.seed(99)
    torch.rand(7)
    train(replace(config, out=config.out / "again", precision="fp32"))
    assert identical(config.out, config.out / "again")


def test_one_precision_after_another(config):
    for precision in ("fp32", "bf16", "fp32"):
        out = config.out / precision
        assert train(replace(config, epochs=1, out=out / "a", precision=precision))
        (out / "a").rename(out / f"done{len(list(out.iterdir()))}")
    assert not same(adapter(config.out / "bf16/done1"), adapter(config.out / "fp32/done1"))
    assert same(adapter(config.out / "fp32/done1"), adapter(config.out / "fp32/done2"))


# ---- resuming


class Stopped(BaseException):
    """What no handler in the program catches."""


def stop_at(monkeypatch, epoch, step):
    original = loop.Run.batch

    def batch(self, at, order):
        if (self.epoch, at) == (epoch, step):
            raise Stopped
        return original(self, at, order)

    monkeypatch.setattr(loop.Run, "batch", batch)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"select": "val"},
        pytest.param({"select": "test", "method": "full", "options": ()}, marks=SLOW),
        pytest.param({"method": "linear_probe", "options": (), "schedule": "epoch"}, marks=SLOW),
        pytest.param({"accumulate": 2, "batch_size": 7, "precision": "bf16"}, marks=SLOW),
        {"method": "point_peft", "options": ("bank=8",)},  # which looks at the clouds first
        pytest.param({"sampling": "balanced"}, marks=SLOW),
    ],
    ids=["dapt", "val", "full", "probe", "accumulate", "bank", "balanced"],
)
def test_resuming_is_exact(config, changes, monkeypatch):
    whole = replace(config, **changes, out=config.out / "whole")
    train(whole)
    parts = replace(whole, out=config.out / "parts")
    for epoch, step in ((1, 1), (2, 0)):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stop_at(patch, epoch, step)
            train(replace(parts, resume=epoch > 1))
        assert len(log(parts.out)) == epoch
    results = train(replace(parts, resume=True))
    assert identical(whole.out, parts.out)
    stored = json.loads((whole.out / "results.json").read_text())
    assert results["protocol"] == stored["protocol"]
    assert results["per_class"] == stored["per_class"]


def terminate_in(monkeypatch, name, when):
    """SIGTERM comes while the run is in its method ``name``, if ``when(run, first argument)``."""
    original = getattr(loop.Run, name)

    def method(self, *args):
        if when(self, *args[:1]):
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args)

    monkeypatch.setattr(loop.Run, name, method)


STOPS = {  # where SIGTERM comes, and what is saved
    "step": ("batch", lambda run, step: (run.epoch, step) == (1, 2), "step 3 of 5 of epoch 2"),
    "first": ("batch", lambda run, step: (run.epoch, step) == (0, 0), "step 1 of 5 of epoch 1"),
    "last": ("batch", lambda run, step: (run.epoch, step) == (2, 4), "step 5 of 5 of epoch 3"),
    "score": ("_score", lambda run, _: run.epoch == 1, "step 5 of 5 of epoch 2"),
    "save": ("_save", lambda run: run.epoch == 1, "step 1 of 5 of epoch 2"),
}


def test_resuming_goes_on_as_the_epoch_began(config, monkeypatch, sigterm):
    """A scale that shrinks inside an epoch changes how its gradient is found in the next one."""
    seen, batch = [], loop.Run.batch
    with monkeypatch.context() as patch, pytest.raises(stops.Stopped):
        terminate_in(patch, *STOPS["step"][:2])
        train(config)
    stops.forget()
    checkpoint = load_state(config.out / "checkpoint.pt")
    began = checkpoint["inside"][0]["deciding"]
    assert len(began) > 1 and all(began)
    for name, value in checkpoint["adapter"].items():
        if name.endswith("gamma"):
            value[0] = 0.01
    save_state(config.out / "checkpoint.pt", checkpoint)

    def watched(self, step, order):
        seen.append((self.epoch, self.model.adapter.taps.deciding()))
        return batch(self, step, order)

    monkeypatch.setattr(loop.Run, "batch", watched)
    train(replace(config, resume=True))
    assert seen[0] == (1, tuple(began))
    assert seen[-1] == (2, (False,) * len(began))


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("step", {}),
        pytest.param("step", {"accumulate": 2, "batch_size": 4, "precision": "bf16"}, marks=SLOW),
        pytest.param(
            "step", {"method": "point_lora", "options": (), "sampling": "balanced"}, marks=SLOW
        ),
        pytest.param("first", {"method": "full", "options": ()}, marks=SLOW),
        pytest.param("last", {}, marks=SLOW),
        ("score", {"select": "val", "batch_size": 7}),
        pytest.param("save", {}, marks=SLOW),
    ],
    ids=["step", "accumulate", "point_lora", "first", "last", "score", "save"],
)  # fmt: skip
def test_sigterm_saves_the_step_and_resuming_is_exact(config, where, changes, monkeypatch, sigterm):
    whole = replace(config, **changes, out=config.out / "whole")
    train(whole)
    parts = replace(whole, out=config.out / "parts")
    name, when, saved = STOPS[where]
    if "accumulate" in changes:
        saved = "step 4 of 10 of epoch 2"  # the optimizer moves every second step
    with monkeypatch.context() as patch, pytest.raises(stops.Stopped, match=f"saved after {saved}"):
        terminate_in(patch, name, when)
        train(parts)
    stops.forget()
    assert load_state(parts.out / "checkpoint.pt")["done"] == int(saved.split()[1])
    results = train(replace(parts, resume=True))
    assert identical(whole.out, parts.out)
    assert results["per_class"] == json.loads((whole.out / "results.json").read_text())["per_class"]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("inside"),
        lambda state: state.update(inside=[]),
        lambda state: state.update(inside=[{"draws": {}, "sums": {}}]),
        lambda state: state["inside"][0]["draws"].update(cpu=torch.zeros(3)),
        lambda state: state["inside"][0].update(sums=7),
    ],
)
def test_a_damaged_checkpoint_of_the_middle_of_an_epoch(config, change, monkeypatch, sigterm):
    with monkeypatch.context() as patch, pytest.raises(stops.Stopped):
        terminate_in(patch, *STOPS["first"][:2])
        train(config)
    stops.forget()
    state = load_state(config.out / "checkpoint.pt")
    change(state)
    save_state(config.out / "checkpoint.pt", state)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt") as caught:
        train(replace(config, resume=True))
    assert "\n" not in str(caught.value)


def test_sigterm_while_the_last_score_is_taken(config, monkeypatch, sigterm):
    """All is saved already, so nothing waits."""
    train(replace(config, out=config.out / "whole"))
    parts = replace(config, out=config.out / "parts")
    with monkeypatch.context() as patch, pytest.raises(stops.Stopped):
        terminate_in(patch, "_score", lambda run, _: True)
        train(parts)
    stops.forget()
    assert not (parts.out / "adapter").exists()
    train(replace(parts, resume=True))
    assert identical(config.out / "whole", parts.out)


KILLED = """
import importlib, os, signal, sys
from pathlib import Path
loop = importlib.import_module("pointadapt.training.trainer")
from pointadapt.core.config import TrainConfig, load_config

config, where = load_config(sys.argv[1], TrainConfig), sys.argv[2]
batch, replace = loop.Run.batch, os.replace

def killing_batch(self, step, order):
    if where == "step" and (self.epoch, step) == (1, 2):
        os.kill(os.getpid(), signal.SIGKILL)
    return batch(self, step, order)

def killing_replace(source, target):
    if where == "save" and Path(target).name == "checkpoint.pt" and Path(target).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(source, target)

loop.Run.batch, os.replace = killing_batch, killing_replace
loop.train(config)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("where", [pytest.param("step", marks=SLOW), "save"])
def test_resuming_after_sigkill_is_exact(config, where, tmp_path):
    from pointadapt.core.config import save_config

    train(replace(config, out=tmp_path / "whole"))
    save_config(config, tmp_path / "run.yaml")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run.yaml"), where]
    done = subprocess.run(command, capture_output=True, timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    left = list(config.out.glob(".*.part"))
    assert len(left) == (where == "save")  # written beside the old one, which is whole
    assert len(log(config.out)) == (1 if where == "step" else 2)
    assert not (config.out / "adapter").exists()
    train(replace(config, resume=True))
    assert identical(tmp_path / "whole", config.out)
    assert not list(config.out.rglob(".*"))


def test_resuming_a_finished_run_only_reports_again(config):
    first = train(config)
    again = train(replace(config, resume=True))
    assert again["accuracy"] == first["accuracy"]
    assert len(log(config.out)) == 3


def test_an_earlier_run_is_not_overwritten(config):
    train(replace(config, epochs=1))
    before = adapter(config.out)
    with pytest.raises(ConfigError, match="holds an earlier run: add --resume"):
        train(replace(config, epochs=1, seed=1))
    assert same(before, adapter(config.out))


def test_nothing_to_resume(config):
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(replace(config, resume=True))
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 4}, "epochs: 2 then, 4 now"),
        ({"lr": 0.5}, "lr: 0.003 then, 0.5 now"),
        ({"options": ("rank=4",)}, "options: .*rank=8.* then, .*rank=4.* now"),
        ({"augment": ()}, "augment: "),
        ({"seed": 5}, "seed: 0 then, 5 now"),
    ],
)
def test_resuming_with_other_options_names_the_option(config, change, message):
    config = replace(config, epochs=2)
    if not config.out.exists():
        train(config)
    with pytest.raises(CheckpointError, match=message) as caught:
        train(replace(config, resume=True, **change))
    assert "\n" not in str(caught.value)


def test_the_same_folder_in_another_spelling_and_place(config, toy_root, monkeypatch, tmp_path):
    """Started beside the data, gone on with from elsewhere, evaluated from a third place."""
    monkeypatch.chdir(toy_root.parent)
    train(replace(config, epochs=2, root=Path(toy_root.name)))
    monkeypatch.chdir(tmp_path)
    again = replace(config, epochs=2, root=toy_root / ".." / toy_root.name, resume=True)
    assert train(again)["config"]["root"] == str(toy_root)
    (tmp_path / "third").mkdir()
    monkeypatch.chdir(tmp_path / "third")
    protocol = Protocol.of(config.out / "adapter")
    assert len(protocol.load("test")) == 16


def test_a_checkpoint_from_before_an_option_existed(config):
    """It was made with what is the option's default now."""
    train(replace(config, epochs=2))
    path = config.out / "checkpoint.pt"
    state = load_state(path)
    identity = json.loads(state["identity"])
    del identity["sampling"]
    save_state(path, {**state, "identity": json.dumps(identity)})
    train(replace(config, epochs=2, resume=True))
    with pytest.raises(CheckpointError, match="sampling: uniform then, balanced now"):
        train(replace(config, epochs=2, resume=True, sampling="balanced"))


def test_processes_share_a_balanced_step(config):
    order = epoch_order(np.repeat(np.arange(4), (20, 12, 6, 2)), "balanced", 0, 0)

    def share(rank):
        acc = SimpleNamespace(num_processes=2, process_index=rank)
        return loop.Run._rows(SimpleNamespace(acc=acc, batch_size=8), 1, order).tolist()

    assert len(share(0)) == len(share(1)) == 8
    assert sorted(share(0) + share(1)) == sorted(order[16:32].tolist())


@pytest.mark.parametrize(
    "typo",
    [
        {"method": "dapd"}, {"options": ("rnak=4",)}, {"task": "clasification"},
        {"task_options": ("hiden=3",)}, {"backbone": "tinny"}, {"backbone": "point_vit:smal"},
        {"head": ("clss",)}, {"data": "foldr"}, {"data_options": ("min_pionts=20",)},
    ],
    ids="-".join,
)  # fmt: skip
def test_names_are_checked_before_data_are_read(config, typo, monkeypatch):
    def load(self, split):
        raise AssertionError("the data were read first")

    monkeypatch.setattr(Folder, "load", load)
    with pytest.raises(UnknownNameError, match="did you mean"):
        train(replace(config, **typo))
    assert not config.out.exists()


def test_resuming_elsewhere_with_other_threads(config):
    train(replace(config, out=config.out / "whole"))
    train(config)
    config.out.rename(config.out.with_name("moved"))
    moved = replace(config, out=config.out.with_name("moved"), threads=2, resume=True, recipe="x")
    train(moved)
    torch.set_num_threads(1)


@pytest.mark.parametrize("content", [b"", b"junk", "half", "other"])
def test_resuming_from_a_damaged_checkpoint(config, content):
    train(replace(config, epochs=1))
    path = config.out / "checkpoint.pt"
    if content == "other":
        torch.save({"a": torch.ones(1)}, path)
    else:
        path.write_bytes(path.read_bytes()[:500] if content == "half" else content)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt") as caught:
        train(replace(config, epochs=1, resume=True))
    assert "\n" not in str(caught.value)


# ---- selection


def test_last_never_looks_at_the_test_set_before_the_end(config, monkeypatch):
    scored = []
    original = loop.Run._score
    monkeypatch.setattr(
        loop.Run, "_score", lambda self, *a: scored.append(self.epoch) or original(self, *a)
    )
    train(config)
    assert scored == [3]
    assert not any(
        "accuracy" in k and k != "train_accuracy" for row in log(config.out) for k in row
    )


@pytest.mark.parametrize("select", ["val", "test"])
def test_the_best_epoch_is_kept(config, select, monkeypatch):
    values = iter([50.0, 80.0, 80.0, 60.0])
    states, original = [], loop.Run._score

    def score(self, clouds, votes=0):
        states.append({k: v.clone() for k, v in self.model.adapter_state().items()})
        try:
            return {"accuracy": next(values)}
        except StopIteration:
            return original(self, clouds, votes)

    monkeypatch.setattr(loop.Run, "_score", score)
    results = train(replace(config, epochs=4, select=select))
    assert results["protocol"]["selected_epoch"] == 2  # the first of equals
    assert same(adapter(config.out), states[1])
    assert [row[f"{select}_accuracy"] for row in log(config.out)] == [50, 80, 80, 60]
    wording = {"val": "held out of train", "test": "the papers' way"}[select]
    assert wording in results["protocol"]["selection"]


def test_val_is_held_out_of_train(config):
    whole, test, none = load_clouds(config)
    kept, test2, held = load_clouds(replace(config, select="val", val_fraction=0.3))
    assert none is None
    assert (len(kept), len(held), len(whole)) == (28, 12, 40)
    assert set(kept.ids) | set(held.ids) == set(whole.ids)
    assert not set(kept.ids) & set(held.ids)
    assert not set(held.ids) & set(test2.ids)
    assert test.ids == test2.ids
    assert np.bincount(held.labels).tolist() == [3, 3, 3, 3]
    other = load_clouds(replace(config, select="val", val_fraction=0.3, seed=1))[2]
    assert held.ids != other.ids


def test_stratified_split_leaves_every_class_something():
    labels = np.array([0] * 10 + [1] * 2 + [2])
    for share in (0.0, 0.01, 0.5, 0.99):
        kept, held = stratified_split(labels, share, 0)
        assert sorted([*kept, *held]) == list(range(13))
        assert set(labels[kept]) == {0, 1, 2}
        assert (labels[held] == 1).sum() == 1
        assert (labels[held] == 2).sum() == 0
    assert (labels[stratified_split(labels, 0.5, 0)[1]] == 0).sum() == 5
    with pytest.raises(DataLayoutError, match="hold out"):
        stratified_split(np.arange(5), 0.5, 0)


# ---- one optimizer step, several ways


def without_chance(config, **changes):
    """Nothing random but the order of clouds, and nothing that mixes the clouds of a batch.

    Nor the shift after qkv: attention does not depend on that of the keys, so its gradient is
    rounding noise, of which Adam makes whole steps.
    """
    return replace(
        config, augment=(), drop_path=0.0, schedule="epoch",
        options=("batchnorm=frozen", "scale_shift=false"),
        task_options=("hidden=0", "dropout=0"), epochs=2, **changes,
    )  # fmt: skip


def first_points(points, along, n, generator):
    return points[:, :n], [x[:, :n] for x in along]


def test_accumulating_equals_a_larger_batch(config, monkeypatch):
    monkeypatch.setattr("pointadapt.training.batches.resample_along", first_points)
    a = without_chance(config, batch_size=4, accumulate=2)
    b = without_chance(config, batch_size=8, out=config.out / "b")
    train(a)
    train(b)
    one, other = adapter(a.out), adapter(b.out)
    assert one.keys() == other.keys()
    start = build_model(a, ("a", "b", "c", "d")).adapter_state()
    for key in one:
        torch.testing.assert_close(one[key], other[key], atol=1e-5, rtol=0, msg=key)
    assert max((one[k] - start[k]).abs().max() for k in start) > 1e-3
    losses = [[row["loss"] for row in log(c.out)] for c in (a, b)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_clouds_that_make_no_whole_step_wait(config, monkeypatch):
    """40 clouds in batches of 8, two to a step: four batches, and no gradient is carried over."""
    seen = []
    original = loop.Run.batch
    monkeypatch.setattr(
        loop.Run, "batch", lambda self, s, o: seen.append((self.epoch, s)) or original(self, s, o)
    )
    train(replace(config, accumulate=2, epochs=2))
    assert seen == [(e, s) for e in range(2) for s in range(4)]


def test_gradients_are_clipped(config, monkeypatch):
    norms = []
    from accelerate import Accelerator

    original = Accelerator.clip_grad_norm_

    def clip(self, parameters, most, *args):
        parameters = list(parameters)
        before = original(self, parameters, most, *args)
        grads = [p.grad for p in parameters if p.grad is not None]
        norms.append((float(before), float(torch.stack([g.norm() for g in grads]).norm())))
        return before

    monkeypatch.setattr(Accelerator, "clip_grad_norm_", clip)
    train(replace(config, epochs=1, clip=0.01))
    assert len(norms) == 5
    assert all(before > 0.011 for before, _ in norms)
    assert all(after <= 0.0101 for _, after in norms)


TWO = """
import importlib, sys, torch
loop = importlib.import_module("pointadapt.training.trainer")
from pointadapt.core.config import TrainConfig, load_config
from pointadapt.core.machine import make_accelerator

batches = importlib.import_module("pointadapt.training.batches")
batches.resample_along = lambda points, along, n, generator: (points[:, :n], along)
config = load_config(sys.argv[1], TrainConfig)
run = loop.Run(config, make_accelerator(config.precision, config.accumulate))
batch, seen = run.batch, []

def watched(step, order):
    made = batch(step, order)
    seen.append([float(cloud.sum()) for cloud in made.points.double()])
    return made

run.batch = watched
results = run.run()
torch.save(
    {"state": dict(run.model.adapter_state()), "history": str(run.history),
     "processes": run.acc.num_processes, "seen": seen},
    config.out / f"rank{run.acc.process_index}.pt",
)
run.acc.wait_for_everyone()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="torch was built without gloo",
)
def test_two_processes_equal_one_with_twice_the_batch(config, tmp_path, monkeypatch):
    from pointadapt.core.config import save_config

    two = without_chance(config, batch_size=4)
    save_config(two, tmp_path / "two.yaml")
    (tmp_path / "two.py").write_text(TWO)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone",
        str(tmp_path / "two.py"), str(tmp_path / "two.yaml"),
    ]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, timeout=600, check=False, env=env)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    ranks = [torch.load(two.out / f"rank{r}.pt", weights_only=True) for r in (0, 1)]
    assert [r["processes"] for r in ranks] == [2, 2]
    for ours, theirs in zip(ranks[0]["seen"], ranks[1]["seen"], strict=True):
        assert len(ours) == len(theirs) == 4
        assert len({*ours, *theirs}) == 8  # each cloud goes to one of them
    assert same(ranks[0]["state"], ranks[1]["state"])
    assert same(adapter(two.out), ranks[0]["state"])

    monkeypatch.setattr("pointadapt.training.batches.resample_along", first_points)
    one = without_chance(config, batch_size=8, out=tmp_path / "one")
    train(one)
    for key, value in adapter(one.out).items():
        torch.testing.assert_close(ranks[0]["state"][key], value, atol=1e-5, rtol=0, msg=key)
    losses = [[row["loss"] for row in log(c.out)] for c in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


STOPPED_TWO = """
import importlib, os, signal, sys, torch
from dataclasses import replace
from pointadapt.core import stops
stops.install()
loop = importlib.import_module("pointadapt.training.trainer")
from pointadapt.core.config import TrainConfig, load_config

config, batch, loop.AGREE = load_config(sys.argv[1], TrainConfig), loop.Run.batch, 2

def stopping(run, step, order):
    where = run.acc.process_index, run.epoch, step, run.config.out.name
    if where == (1, 1, 0, "parts"):
        os.kill(os.getpid(), signal.SIGTERM)  # one of them alone
    return batch(run, step, order)

loop.Run.batch = stopping
loop.train(replace(config, out=config.out / "whole"))
try:
    loop.train(replace(config, out=config.out / "parts"))
    sys.exit("not stopped")
except stops.Stopped as stopped:
    assert "step 2 of 5 of epoch 2" in str(stopped), stopped
    stops.forget()
torch.distributed.barrier()
loop.Run.batch = batch
loop.train(replace(config, out=config.out / "parts", resume=True))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="torch was built without gloo",
)
def test_two_processes_agree_where_to_stop(config, tmp_path):
    """SIGTERM reaches one of them; both save after the same step and go on from there exactly."""
    from pointadapt.core.config import save_config

    save_config(replace(config, batch_size=4, epochs=2), tmp_path / "two.yaml")
    (tmp_path / "two.py").write_text(STOPPED_TWO)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone",
        str(tmp_path / "two.py"), str(tmp_path / "two.yaml"),
    ]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, timeout=600, check=False, env=env)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert identical(config.out / "whole", config.out / "parts")


@pytest.mark.parametrize(("accumulate", "size"), [(1, 40), (6, 6)])
def test_a_step_takes_all_clouds_where_they_are_fewer_than_a_batch(config, accumulate, size):
    results = train(replace(config, batch_size=64, accumulate=accumulate, epochs=1))
    assert results["protocol"]["batch_size"] == size and results["protocol"]["train_clouds"] == 40


# ---- bad input


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"accumulate": 21}, ConfigError, "40 training clouds are too few for .* 21 accumulated"),
        ({"lr": 1e15, "epochs": 2}, PointAdaptError, "the loss became nan in epoch [12].*--lr"),
        ({"precision": "fp16"}, ConfigError, "fp16 needs a GPU"),
        ({"method": "dapd"}, PointAdaptError, "did you mean 'dapt'"),
        ({"options": ("rnk=3",)}, PointAdaptError, "did you mean 'rank'"),
        ({"options": ("rank",)}, ConfigError, "write it as key=value"),
        ({"task": "segment"}, PointAdaptError, "unknown task 'segment'"),
        ({"task_options": ("hiden=3",)}, PointAdaptError, "did you mean 'hidden'"),
        ({"head": ("clss",)}, PointAdaptError, "did you mean 'cls'"),
        ({"data": "foldr"}, PointAdaptError, "did you mean 'folder'"),
        ({"data_options": ("up=w",)}, PointAdaptError, "unknown"),
        ({"root": None}, DataLayoutError, "--root"),
        ({"backbone": "tinny"}, PointAdaptError, "did you mean 'tiny'"),
        ({"groups": 65}, ConfigError, "clouds of 64 points are too small for 65 patches of 8"),
        ({"group_size": 65}, ConfigError, "too small for 8 patches of 65: raise --points"),
        ({"augment": ("flip",)}, PointAdaptError, "unknown augmentation 'flip'"),
        (
            {"method": "full", "options": (), "head": ("prompt_mean",)},
            ConfigError,
            "this method adds none",
        ),
    ],
)
def test_bad_input(config, changes, error, message):
    with pytest.raises(error, match=message) as caught:
        train(replace(config, **changes))
    assert "\n" not in str(caught.value)
    assert "lr" in changes or not config.out.exists()  # only a loss takes a run to be found
    assert not (config.out / "adapter").exists()
    assert not list(config.out.rglob(".*")) if config.out.exists() else True


def test_predictions_that_are_no_numbers_are_not_reported(config, monkeypatch):
    original = loop.Run._train_epoch

    def spoil(self, display):
        row = original(self, display)
        with torch.no_grad():
            if self.epoch == 2:
                self.model.adapter.head.layers[0].weight.fill_(torch.nan)
        return row

    monkeypatch.setattr(loop.Run, "_train_epoch", spoil)
    with pytest.raises(PointAdaptError, match="predicts NaN after epoch 3"):
        train(config)
    assert not (config.out / "results.json").exists()


def test_a_full_disk_leaves_the_last_checkpoint(config, monkeypatch):
    train(replace(config, out=config.out / "whole"))
    part = replace(config, out=config.out / "part")
    original, calls = torch.save, []

    def save(state, path, *args):
        calls.append(path)
        if len(calls) == 2:
            Path(path).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(state, path, *args)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(PointAdaptError, match=r"cannot write .*checkpoint\.pt: No space left"):
        train(part)
    assert not list(part.out.rglob(".*"))
    train(replace(part, resume=True))
    assert identical(config.out / "whole", part.out)


def test_a_full_disk_is_said_before_the_first_step(config, monkeypatch):
    """By what a checkpoint will need: three numbers for each that trains."""
    asked = []

    def full(descriptor, start, size):
        asked.append(size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    train(replace(config, epochs=1, out=config.out / "before"))
    size = (config.out / "before" / "checkpoint.pt").stat().st_size
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(loop.Run, "_train_epoch", None)
    line = "needed for checkpoints and the adapter: No space left on device: make room"
    with pytest.raises(PointAdaptError, match=line):
        train(replace(config, out=config.out / "full"))
    assert not (config.out / "full").exists()
    assert asked[0] > 2 * size  # one is written beside the other


def test_one_run_at_a_time(config):
    with only_run_in(config.out):
        for resume in (False, True):
            with pytest.raises(PointAdaptError, match=r"run is in use by another run \(process"):
                train(replace(config, resume=resume))
        assert [path.name for path in config.out.iterdir()] == [".lock"]
    train(replace(config, epochs=1))
    with only_run_in(config.out), pytest.raises(PointAdaptError, match="in use"):
        train(replace(config, epochs=1, resume=True))


def test_what_a_killed_run_left_goes_also_where_it_had_no_checkpoint(config):
    left = [config.out / ".checkpoint.pt.9.part", config.out / "adapter" / ".README.md.9.part"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    train(replace(config, epochs=1))
    assert not list(config.out.rglob(".*"))


def test_out_that_cannot_be_written(config):
    config.out.write_text("a file")
    with pytest.raises(PointAdaptError, match="cannot write"):
        train(config)
    assert config.out.read_text() == "a file"


def test_blocks_are_held_out_by_whole_scenes():
    from pointadapt.data import Clouds

    ids = tuple(f"room{k % 5}#{k}" for k in range(40))
    blocks = Clouds(
        np.zeros((40, 8, 3), np.float32), np.zeros(40, np.int64), ("scene",), ids,
        np.zeros((40, 8), np.int64), ("floor", "wall"),
    )  # fmt: skip
    kept, held = held_out(blocks, 0.2, 0)
    assert {k % 5 for k in held} and not {k % 5 for k in held} & {k % 5 for k in kept}
    assert (len(kept), len(held)) == (32, 8)
    one = blocks.subset(np.arange(0, 40, 5))
    kept, held = held_out(one, 0.25, 0)  # a single scene
    assert (len(kept), len(held)) == (6, 2)


def test_losses_of_taps_are_scaled_as_the_loop_scales_its_own(config):
    """Twice the same half batch, accumulated, gives the gradients of one, score loss included."""
    grads = []
    for accumulate in (1, 2):
        options = {"method": "point_lora", "options": (), "accumulate": accumulate}
        torch.manual_seed(0)
        run = loop.Run(replace(config, **options), make_accelerator("fp32", accumulate))
        run.net.eval()  # BatchNorm and dropout as in prediction; the score loss needs training
        run.model.adapter.taps.train()
        run.optimizer.step = run.optimizer.zero_grad = lambda *a, **k: None
        run.step.clip = 1e9
        batch = run.batch(0, np.arange(len(run.train_set)))
        run.model.adapter.taps.loss_scale = run._loss_scale()
        for _ in range(accumulate):
            run.step(batch.points, batch.target, **batch.told)
        grads.append([p.grad.clone() for p in run.model.adapter.taps.score.parameters()])
    for one, two in zip(*grads, strict=True):
        torch.testing.assert_close(two, one)


def test_few_shots_are_all_that_training_and_the_forest_see(config, monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "baseline_of", lambda *sets: seen.append(len(sets[2])) or {})
    results = loop.train(replace(config, shots=2, epochs=1))
    assert results["protocol"]["train_clouds"] == 8  # of 40, in four classes
    assert results["protocol"]["shots"] == 2
    assert seen == [8]
    assert "shots" not in loop.train(replace(config, out=config.out / "all", epochs=1))["protocol"]
