"""The captured and the compiled step of pre-training against the eager one, on the CPU.

A GPU repeats these with real graphs: benchmarks/gpu/test_gpu.py.
"""

import importlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pointadapt.backbones import BACKBONES
from pointadapt.core.config import PretrainConfig
from pointadapt.core.errors import ConfigError
from pointadapt.core.machine import make_accelerator
from pointadapt.ops import group
from pointadapt.pretrained.load import load_backbone
from pointadapt.pretraining import masked_autoencoder
from pointadapt.pretraining import step as steps
from pointadapt.pretraining.objectives import make_objective
from pointadapt.pretraining.setup import make_optimizer
from pointadapt.pretraining.step import ObjectiveLosses, make_step
from pointadapt.training import capture
from pointadapt.training.capture import WARM_UP, GraphStep, Step

trainer = importlib.import_module("pointadapt.pretraining.trainer")
pretrain = trainer.pretrain
ALL = {  # losses
    "label_weight": 0.3, "attribute_weight": 0.1, "contrast_weight": 0.1, "views": ("rotate_z",),
}  # fmt: skip
STEPS = 6


@pytest.fixture
def config(micro_backbone, tmp_path, monkeypatch):
    micro = load_backbone(micro_backbone).config
    monkeypatch.setitem(BACKBONES["point_vit"].sizes, "micro", micro)
    return PretrainConfig(
        out=tmp_path / "run", size="micro", points=64, steps=STEPS, batch_size=8, warmup_steps=2,
        decoder_depth=1, threads=1, lr=3e-3, picture_every=0, workers=0, assembly_fraction=0.3,
    )  # fmt: skip


def parts(config):
    """Objective, its step's parts, and the inputs of each step."""
    torch.manual_seed(0)
    acc = make_accelerator("fp32")
    objective = make_objective(config, acc)
    net = objective.net.to(acc.device).train()
    batches = [[x.to(acc.device) for x in objective.source[step]] for step in range(config.steps)]
    inputs = [objective.inputs(step, *batch) for step, batch in enumerate(batches)]
    return objective, (net, make_optimizer(config, net), acc), inputs


def run(config, cls, **changes):
    """Losses and figures of all steps, and the weights after them."""
    objective, (net, *rest), inputs = parts(config)
    step = cls(ObjectiveLosses(objective, net), net, *rest, config.clip)
    for name, value in changes.items():
        setattr(step, name, value)
    told = []
    for i, named in enumerate(inputs):
        step.set_lr((i + 1) / 1024)  # a float32 has it exactly
        told.append(torch.stack(step(**named)))
    return torch.stack(told), [p.detach().clone() for p in net.parameters()], step


@pytest.mark.parametrize("more", [{}, ALL], ids=["chamfer", "all losses"])
def test_a_captured_step_is_the_eager_one(config, more):
    config, calls = replace(config, **more), []

    def record(body):
        return lambda: (calls.append(1), body())[1]

    told, weights, _ = run(config, Step)
    captured, same, step = run(config, GraphStep, record=record)
    assert len(calls) == STEPS - WARM_UP
    assert set(step.named) >= {"points", "seen", "hidden"}
    assert torch.equal(captured, told)
    assert all(map(torch.equal, same, weights))
    assert (told[:, 0] > told[:, 1]).all() == bool(more)


def test_nothing_in_the_step_asks_for_a_value(config, refused, monkeypatch):
    """Geometry aside, which on a GPU is a kernel (a CPU's loops ask)."""
    config = replace(config, **ALL)
    objective, (net, *rest), inputs = parts(config)
    step = Step(ObjectiveLosses(objective, net), net, *rest, config.clip)
    done = group(inputs[0]["points"], 8, 8)
    monkeypatch.setattr(masked_autoencoder, "group", lambda *a, **k: done)
    step.set_lr(torch.tensor(1e-3, device=rest[1].device))
    step(**inputs[0])  # makes the optimizer's state
    with refused():
        step(**inputs[0])


@pytest.mark.slow
def test_all_losses_are_one_graph_with_the_same_gradients(config):
    """Inductor itself, which takes minutes, is for benchmarks/gpu/test_gpu.py."""
    objective, (net, *_), inputs = parts(replace(config, **ALL))
    losses = ObjectiveLosses(objective, net)
    compiled = torch.compile(losses.losses, dynamic=False, backend="aot_eager", fullgraph=True)
    found = []
    for function in (losses, compiled):
        net.zero_grad()
        loss, chamfer = function(**inputs[0])
        loss.backward()
        found.append([loss.detach(), chamfer.detach(), *(p.grad for p in net.parameters())])
    for eager, got in zip(*found, strict=True):
        torch.testing.assert_close(got, eager, rtol=1e-4, atol=1e-5)


class Stopped(BaseException):
    """What no handler in the program catches."""


def test_runs_with_every_step(config, monkeypatch):
    """An eager run goes on from the checkpoint of a captured one."""
    eager = replace(config, out=config.out / "a", step="eager", save_every=4)
    want = pretrain(eager)
    assert pretrain(replace(config, out=config.out / "b"))["sha256"] == want["sha256"]  # auto
    save = trainer.save_state

    def stop(*what):
        save(*what)
        raise Stopped

    captured = replace(eager, out=config.out / "c", step="graph")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(steps, "why_not_capture", lambda acc: "")
        patch.setattr(capture, "cuda_graph", lambda body: body)
        patch.setattr(trainer, "save_state", stop)
        pretrain(captured)
    state = torch.load(captured.out / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4 and "step" not in json.loads(state["config"])
    assert all(isinstance(g["lr"], torch.Tensor) for g in state["optimizer"]["param_groups"])
    pretrain(replace(captured, step="eager", resume=True))
    a, c = (load_backbone(run.out / "backbone").state_dict() for run in (eager, captured))
    for name, value in a.items():  # a learning rate on the device is a float32
        torch.testing.assert_close(c[name], value, rtol=0, atol=1e-5)


def test_a_learning_rate_from_a_checkpoint_comes_to_the_device():
    """Read from a file it is on the host, where a graph would take it as it is for ever."""
    optimizer = SimpleNamespace(param_groups=[{"lr": torch.tensor(1e-3)}])
    acc = SimpleNamespace(device=torch.device("meta"))
    GraphStep(None, None, optimizer, acc, 1.0).set_lr(2e-3)
    assert optimizer.param_groups[0]["lr"].device.type == "meta"


@pytest.mark.parametrize("must", [False, True])
def test_where_nothing_can_be_compiled(config, must, monkeypatch, tmp_path):
    def refuse(**_):
        raise RuntimeError("no compiler")

    monkeypatch.setenv("POINTADAPT_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch, "compile", lambda *a, **k: refuse)
    objective, (net, *_), inputs = parts(config)
    losses = ObjectiveLosses(objective, net)
    want = losses(**inputs[0])
    losses.compile(must)
    if must:
        with pytest.raises(ConfigError, match="pre-training of point_vit cannot be compiled here"):
            losses(**inputs[0])
    else:
        assert losses(**inputs[0]) == want


def test_which_step(config):
    cpu = SimpleNamespace(device=torch.device("cpu"), num_processes=1, scaler=None)
    gpu = SimpleNamespace(device=torch.device("cuda"), num_processes=1, scaler=None)
    two = SimpleNamespace(device=torch.device("cuda"), num_processes=2, scaler=None)
    objective, (net, optimizer, _), _ = parts(config)

    def made(how, acc, objective=objective):
        return make_step(replace(config, step=how), objective, net, optimizer, acc)

    assert [type(made(how, cpu)) for how in ("eager", "auto")] == [Step, Step]
    assert [type(made(how, gpu)) for how in ("eager", "auto", "graph")] == [
        Step, GraphStep, GraphStep,
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="--step graph: it needs an NVIDIA GPU"):
        made("graph", cpu)
    for how in ("graph", "compile"):
        with pytest.raises(ConfigError, match=f"--step {how}: it is for one process, not 2"):
            made(how, two)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mask_spread": 0.2}, "--mask-spread hides another number"),
        ({**ALL, "view_points": 64}, "--view-points gives views another size"),
        ({"data": "scenes", "backbone": "ptv3", "size": "tiny"}, "how many voxels"),
    ],
)
def test_what_differs_from_step_to_step_runs_eagerly(config, changes, why):
    config = replace(config, **changes)
    gpu = SimpleNamespace(device=torch.device("cuda"), num_processes=1, scaler=None)
    objective = make_objective(config, make_accelerator("fp32"))
    parts = objective, objective.net, None, gpu
    assert type(make_step(config, *parts)) is Step
    for how in ("graph", "compile"):
        with pytest.raises(ConfigError, match=why):
            make_step(replace(config, step=how), *parts)
