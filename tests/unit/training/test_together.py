"""Several runs at once: each gives what it gives alone."""

import json
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.core import stops
from pointadapt.core.config import TrainConfig
from pointadapt.core.files import read_json
from pointadapt.core.tensors import read_safetensors
from pointadapt.training import together as module
from pointadapt.training.together import alike, train_together, why_alone
from pointadapt.training.trainer import train_in


@pytest.fixture
def config(tmp_path, toy_root, bare_backbone):
    """Two epochs of five steps, without draws in the forward pass.

    Nor BatchNorm in the head: biases before it have no gradient but rounding, which AdamW makes as
    large as any other, and running means follow late.
    """
    return TrainConfig(
        out=tmp_path / "a", data="folder", root=toy_root, points=64, epochs=2, batch_size=8,
        backbone=str(bare_backbone("point_vit")), lr=3e-3, options=("rank=8",), drop_path=0.0,
        task_options=("hidden=16", "dropout=0", "batchnorm=false"), tensorboard=False, threads=1,
        baseline=False,
    )  # fmt: skip


def several(config, count=2, **each):
    """Runs of other seeds, and other values of options."""
    return [
        replace(config, out=config.out.with_name(f"run{k}"), seed=k,
                **{name: values[k] for name, values in each.items()})
        for k in range(count)
    ]  # fmt: skip


def log(config):
    rows = map(json.loads, (config.out / "log.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def close(together, alone):
    """Logs and weights are those of the run alone, but for rounding."""
    for a, b in zip(log(together), log(alone), strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    files = [c.out / "adapter" / adapter_folder.WEIGHTS for c in (together, alone)]
    a, b = (read_safetensors(file)["head.layers.0.weight"] for file in files)
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["dapt", "full", "lora"])
def test_runs_together_are_the_runs_alone(config, method):
    options = () if method == "full" else config.options
    config = replace(config, method=method, options=options, select="val", val_fraction=0.25)
    runs = several(config, lr=(1e-3, 3e-4))
    alone = [replace(run, out=run.out.with_name(f"alone{k}")) for k, run in enumerate(runs)]
    found = train_together(runs)
    for run, one, results in zip(runs, alone, found, strict=True):
        want = train_in(one)
        close(run, one)
        assert results["accuracy"] == want["accuracy"]
        assert results["protocol"].pop("trained_together") == 2
        assert results["protocol"] == want["protocol"]
        assert read_json(run.out / "results.json")["confusion"] == want["confusion"]
        assert not (run.out / "checkpoint.pt").exists()


def test_draws_of_the_network_differ(config):
    """Two runs of one seed and one order are equal but for their dropout."""
    config = replace(config, task_options=("hidden=16", "dropout=0.5"), epochs=1)
    runs = [replace(config, out=config.out.with_name(name)) for name in "xy"]
    train_together(runs)
    first, second = (log(run)[0]["loss"] for run in runs)
    assert first != second and first == pytest.approx(second, rel=0.5)


def test_what_does_not_fit_is_trained_alone(config, capsys):
    """Of three runs, one with fewer clouds takes fewer steps."""
    runs = [*several(config), replace(config, out=config.out.with_name("few"), shots=3)]
    found = train_together(runs)
    assert [r["protocol"].get("trained_together", 1) for r in found] == [2, 2, 1]
    assert "few is trained alone: no other has as many clouds" in capsys.readouterr().err


def test_stopped_runs_are_begun_again(config, monkeypatch):
    runs = several(config)
    monkeypatch.setattr(stops, "asked", lambda: True)
    with pytest.raises(stops.Stopped, match="nothing saved"):
        train_together(runs)
    assert not (runs[0].out / "checkpoint.pt").exists()
    monkeypatch.undo()
    assert len(train_together(runs)) == 2


def test_which_are_alike(config):
    first, second = several(config, lr=(1e-3, 1e-4))
    assert alike(first) == alike(second)
    assert alike(first) != alike(replace(second, batch_size=4))
    assert why_alone(first) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"method": "gaprompt"}, "gaprompt is not written"),
        ({"method": "instant"}, "instant trains nothing"),
        ({"accumulate": 2}, "--accumulate"),
        ({"keep": "recompute"}, "--keep recompute"),
        ({"precision": "fp16"}, "--precision fp16"),
        ({"start": "instant"}, "--start"),
        ({"tracker": ("wandb",)}, "--tracker"),
    ],
)
def test_why_alone(config, changes, why):
    assert why_alone(replace(config, **changes)).startswith(why)


def test_a_captured_step_is_the_eager_one(config, monkeypatch):
    """The capture is pretended: what it would do is done again."""
    eager, captured = several(config), several(replace(config, step="graph"))
    captured = [replace(run, out=run.out.with_name(f"c{run.out.name}")) for run in captured]
    train_together(eager)
    monkeypatch.setattr(module, "why_not_capture", lambda *_: "")
    monkeypatch.setattr("pointadapt.training.step.why_not_capture", lambda *_: "")
    recorded = Mock(side_effect=lambda body: body)
    monkeypatch.setattr("pointadapt.training.capture.cuda_graph", recorded)
    train_together(captured)
    recorded.assert_called_once()
    for a, b in zip(captured, eager, strict=True):
        close(a, b)
