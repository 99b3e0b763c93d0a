"""The captured and the compiled step against the eager one, with a stand-in for the CUDA graph.

A GPU repeats these with real graphs: benchmarks/gpu/test_gpu.py.
"""

import copy
import importlib
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pointadapt.backbones import point_vit
from pointadapt.core.config import TrainConfig
from pointadapt.core.errors import ConfigError
from pointadapt.core.machine import make_accelerator
from pointadapt.ops import group
from pointadapt.pretrained.load import load_backbone
from pointadapt.training import capture
from pointadapt.training import step as steps
from pointadapt.training.capture import GraphStep, Step, why_not_capture
from pointadapt.training.setup import build_model
from pointadapt.training.step import TaskLosses, make_step

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # where accelerate puts the model
loop = importlib.import_module("pointadapt.training.trainer")
CLASSES = ("a", "b", "c", "d")


@pytest.fixture
def model(bare_backbone):
    config = TrainConfig(
        backbone=str(bare_backbone("point_vit")), points=64, options=("rank=8", "dropout=0.2"),
        task_options=("hidden=16",), keep="all",
    )  # fmt: skip
    return build_model(config, CLASSES)


def step_of(cls, model, **changes):
    acc = make_accelerator("fp32")
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(model.parameter_groups(0.05), lr=1e-3, fused=True)
    net, optimizer = acc.prepare(model, optimizer)
    step = cls(TaskLosses(net, model, model.adapter.task, acc), net, optimizer, acc, 10.0)
    for name, value in changes.items():
        setattr(step, name, value)
    return step


def batches(toy_batch, count):
    points, labels = toy_batch
    labels = labels % len(CLASSES)
    g = torch.Generator().manual_seed(0)
    for i in range(count):
        at = torch.randperm(len(points), generator=g)[:8]
        lr = (i + 1) / 1024  # a float32 has it exactly
        yield lr, points[at].to(DEVICE), labels[at].to(DEVICE)


def run(step, toy_batch, count=7):
    torch.manual_seed(5)
    losses = []
    for lr, *batch in batches(toy_batch, count):
        step.set_lr(lr)
        loss, output = step(*batch)
        assert not loss.requires_grad
        assert not output.requires_grad
        losses.append(float(loss))
    return losses, {k: v.clone() for k, v in step.net.state_dict().items()}


def assert_same(a, b, **tolerance):
    assert a[0] == pytest.approx(b[0], rel=tolerance.get("rtol", 0))
    for key in a[1]:
        torch.testing.assert_close(a[1][key], b[1][key], **(tolerance or {"rtol": 0, "atol": 0}))


def test_a_captured_step_is_the_eager_one(model, toy_batch):
    """Same losses, weights, statistics and random draws, over warm-up and replays."""
    calls = []

    def record(body):
        def replay():
            calls.append(1)
            return body()

        return replay

    eager = run(step_of(Step, model), toy_batch)
    captured = run(step_of(GraphStep, model, record=record), toy_batch)
    assert len(calls) == 7 - capture.WARM_UP
    assert_same(eager, captured)
    assert not torch.equal(
        eager[1]["adapters.default.head.layers.0.weight"],
        model.state_dict()["adapters.default.head.layers.0.weight"],
    )


def test_each_replay_reads_new_input(model, toy_batch):
    """What is recorded works on the step's own tensors, of which each call changes the values."""
    seen = []

    def record(body):
        return lambda: (seen.append(step.inputs[0].clone()), body())[1]

    step = step_of(GraphStep, model, record=record, to_warm_up=0)
    where = set()
    for lr, *batch in batches(toy_batch, 3):
        step.set_lr(lr)
        step(*batch)
        assert torch.equal(seen[-1], batch[0])
        where.add(step.inputs[0].data_ptr())
    assert len(where) == 1


def test_it_is_captured_anew_where_other_operations_are_needed(model, toy_batch):
    """A γ that has come near 0 by the next epoch makes its layer keep its input."""
    captured = []
    step = step_of(GraphStep, model, record=lambda body: captured.append(1) or body, to_warm_up=0)
    run(step, toy_batch, 3)
    assert len(captured) == 1
    gamma = next(p for n, p in step.net.named_parameters() if n.endswith("ss_fc1.gamma"))
    with torch.no_grad():
        gamma[0] = 0.0
    step.net.train()
    run(step, toy_batch, 3)
    assert len(captured) == 2


@pytest.mark.parametrize("keep", ["all", "lean"])
@pytest.mark.parametrize(
    "method", ["dapt", "full", "linear_probe", "bitfit", "ssf", "ia3", "lora", "vpt"]
)
def test_nothing_in_the_step_asks_for_a_value(
    bare_backbone, toy_batch, method, keep, monkeypatch, refused
):
    """Geometry aside, which on a GPU is a kernel (a CPU's loops ask)."""
    config = TrainConfig(
        backbone=str(bare_backbone("point_vit")), points=64, method=method, keep=keep
    )
    step = step_of(Step, build_model(config, CLASSES))
    points, labels = (x.to(DEVICE) for x in toy_batch)
    done = group(points, 8, 8)
    monkeypatch.setattr(point_vit, "group", lambda *a, **k: done)
    step.set_lr(torch.tensor(1e-3, device=DEVICE))
    step(points, labels)  # makes the optimizer's state
    with refused():
        step(points, labels)


def test_the_probe_of_the_test_above_finds_what_asks(refused):
    with refused(), pytest.raises(RuntimeError, match="not permitted"):
        float(torch.ones(()))


def test_what_cannot_be_captured_runs_eagerly(model, toy_batch):
    eager = run(step_of(Step, model), toy_batch, 2)

    def refuse(body):
        raise RuntimeError("operation not permitted\nmore")

    step = step_of(GraphStep, model, record=refuse, to_warm_up=0)
    with pytest.warns(RuntimeWarning, match="runs eagerly .operation not permitted.: --step eager"):
        captured = run(step, toy_batch, 2)
    assert_same(eager, captured)
    with warnings.catch_warnings():  # said once
        warnings.simplefilter("error")
        run(step, toy_batch, 1)


def test_a_checkpoint_of_a_captured_run_continues_an_eager_one(model, toy_batch):
    first = step_of(GraphStep, model, record=lambda body: body)
    run(first, toy_batch, 5)
    state = first.optimizer.state_dict()
    assert isinstance(state["param_groups"][0]["lr"], torch.Tensor)
    for cls in (Step, GraphStep):
        step = step_of(cls, model)
        step.optimizer.load_state_dict(copy.deepcopy(state))
        step.net.load_state_dict(first.net.state_dict())
        step.set_lr(2e-3)
        assert float(step.optimizer.param_groups[0]["lr"]) == pytest.approx(2e-3)
        assert np.isfinite(run(step, toy_batch, 1)[0]).all()


def test_what_must_hold_for_a_capture():
    gpu = SimpleNamespace(device=torch.device("cuda"), num_processes=1, scaler=None)
    assert why_not_capture(gpu, 1, "lean") == ""
    assert "accumulate" in why_not_capture(gpu, 2, "lean")
    assert "keep" in why_not_capture(gpu, 1, "recompute")
    for change, text in (
        ({"device": torch.device("cpu")}, "runs on cpu"),
        ({"num_processes": 2}, "one process"),
        ({"scaler": object()}, "fp16"),
    ):
        assert text in why_not_capture(SimpleNamespace(**{**vars(gpu), **change}), 1, "lean")


def test_a_network_over_voxels_is_not_captured(bare_backbone):
    def model(family):
        return SimpleNamespace(backbone=load_backbone(bare_backbone(family)))

    assert "how many voxels" in steps.why_not_this(model("ptv3"))
    assert steps.why_not_this(model("point_vit")) == ""


def test_which_step(model):
    parts = (model, model, None)
    cpu = SimpleNamespace(device=torch.device("cpu"), num_processes=1, scaler=None)
    for how in ("eager", "auto"):
        assert type(make_step(how, *parts, cpu, clip=1.0)) is Step
    with pytest.raises(ConfigError, match="--step graph: it needs an NVIDIA GPU"):
        make_step("graph", *parts, cpu, clip=1.0)
    gpu = SimpleNamespace(device=torch.device("cuda"), num_processes=1, scaler=None)
    model.keep = "lean"
    assert type(make_step("eager", *parts, gpu, clip=1.0)) is Step
    assert model.keep == "lean"
    for how, keep in (("graph", "lean"), ("auto", "lean"), ("compile", "all")):
        model.keep = "lean"
        assert type(make_step(how, *parts, gpu, clip=1.0)) is GraphStep
        assert model.keep == keep


@pytest.mark.slow
def test_compiled(model, toy_batch):
    """The whole forward is one graph, and has the gradients of the eager one.

    Not compared after steps of AdamW, which makes much of gradients that are rounding alone.
    Inductor itself, which takes minutes to compile, is for benchmarks/gpu/test_gpu.py.
    """
    for module in model.modules():  # inductor draws other random numbers
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    _, points, labels = next(iter(batches(toy_batch, 1)))
    model = model.to(DEVICE).train()
    compiled = torch.compile(model, dynamic=False, backend="aot_eager", fullgraph=True)
    found = []
    for net in (model, compiled):
        model.zero_grad()
        torch.manual_seed(5)
        loss = model.adapter.task.loss(net(points), labels)
        loss.backward()
        found.append(
            [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)]
        )
    assert len(found[0]) > 30
    for eager, got in zip(*found, strict=True):
        torch.testing.assert_close(got, eager, rtol=1e-4, atol=1e-5)


def test_training_with_every_step(tmp_path, toy_root, bare_backbone, monkeypatch):
    """The loop with a captured step gives what it gives with an eager one; it may be resumed so."""
    config = TrainConfig(
        out=tmp_path / "a", data="folder", root=toy_root, points=64, epochs=2, batch_size=8,
        backbone=str(bare_backbone("point_vit")), lr=3e-3, options=("rank=8",), threads=1,
        task_options=("hidden=16",), tensorboard=False, keep="all",
    )  # fmt: skip
    eager = loop.train(config)
    monkeypatch.setattr(steps, "why_not_capture", lambda *a: "")
    monkeypatch.setattr(capture, "cuda_graph", lambda body: body)
    captured = loop.train(replace(config, out=tmp_path / "b", step="graph"))
    assert captured["accuracy"] == pytest.approx(eager["accuracy"], abs=7)
    rows = [
        [line for line in (tmp_path / run / "log.jsonl").read_text().splitlines()] for run in "ab"
    ]
    assert len(rows[0]) == len(rows[1]) == 2
    monkeypatch.undo()
    again = loop.train(replace(config, out=tmp_path / "b", step="eager", resume=True))
    assert again["accuracy"] == captured["accuracy"]
