"""What only a GPU can show: `python benchmarks/gpu/run.py tests` runs it there.

With POINTADAPT_REHEARSE=1 it runs on the CPU at toy size, where captured graphs are skipped.
"""

from __future__ import annotations

import copy
import importlib
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pointadapt import ops
from pointadapt.backbones.folder import save_backbone
from pointadapt.backbones.layers import maximum
from pointadapt.core import stops
from pointadapt.core.config import PretrainConfig, TrainConfig
from pointadapt.core.machine import make_accelerator
from pointadapt.ops import _kernels, largest
from pointadapt.ops._distance import split_axes
from pointadapt.pretrained.load import load_backbone
from pointadapt.pretraining.objectives import make_objective
from pointadapt.pretraining.setup import make_optimizer
from pointadapt.pretraining.step import make_step as make_pretraining_step
from pointadapt.training.setup import build_model, load_clouds
from pointadapt.training.step import GraphStep, Step, TaskLosses
from pointadapt.training.together import train_together
from pointadapt.training.trainer import train_in

GOLDEN = Path(__file__).parents[2] / "tests/golden"
REHEARSAL = os.environ.get("POINTADAPT_REHEARSE") == "1"
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
pytestmark = pytest.mark.skipif(not (GPU or REHEARSAL), reason="needs a GPU")
needs_gpu = pytest.mark.skipif(not GPU, reason="needs a GPU: a CPU has no graphs")
train = importlib.import_module("pointadapt.training.trainer").train
pretrain = importlib.import_module("pointadapt.pretraining.trainer").pretrain


# ---- geometry


@needs_gpu
@pytest.mark.parametrize("rule", ["plain", "pointnet2"])
@pytest.mark.parametrize("kind", ["random", "float16", "duplicated", "grid"])
@pytest.mark.parametrize("size", [(32, 1024, 64), (32, 2048, 128), (4, 8192, 1200), (2, 16384, 99)])
def test_sampling_and_search_at_full_size(size, kind, rule):
    b, n, m = size
    points = torch.randn(b, n, 3, generator=torch.Generator().manual_seed(n))
    if kind == "float16":
        points = points.half()
    elif kind == "duplicated":
        points = points[:, : n // 4].repeat_interleave(4, dim=1)
    elif kind == "grid":
        points = (points * 4).round() / 4
    there = points.to(DEVICE)
    assert _kernels.kernels(split_axes(there.float())) is not None  # not the fallback
    picked = ops.farthest_point_sample(points, m, rule=rule)
    assert torch.equal(ops.farthest_point_sample(there, m, rule=rule).cpu(), picked)
    centers = ops.gather_points(points, picked)
    for ours, cpu in zip(
        ops.knn(centers.to(DEVICE), there, 32), ops.knn(centers, points, 32), strict=True
    ):
        assert torch.equal(ours.cpu(), cpu)


@needs_gpu
def test_plain_code_on_a_gpu_is_the_cpu_too(monkeypatch):
    monkeypatch.setenv("POINTADAPT_TRITON", "0")
    points = torch.randint(-3, 4, (3, 500, 3), generator=torch.Generator().manual_seed(0)).float()
    for ours, cpu in zip(
        ops.group(points.to(DEVICE), 60, 17), ops.group(points, 60, 17), strict=True
    ):
        assert torch.equal(ours.cpu(), cpu)


@needs_gpu
@pytest.mark.parametrize("triton", ["0", "1"])
def test_a_network_over_voxels_equals_the_cpu(triton, monkeypatch):
    """Features, and the gradient of a kernel."""
    monkeypatch.setenv("POINTADAPT_TRITON", triton)
    net = load_backbone("ptv3:tiny").eval()
    points = torch.randn(2, 3000, 3, generator=torch.Generator().manual_seed(0)) * 0.3
    weight = net.net.stages[1].blocks[0].cpe.conv.weight
    found = []
    for device in ("cpu", DEVICE):
        out = net.to(device)(points.to(device)).x
        found += [out, *torch.autograd.grad(out.square().mean(), weight)]
    for cpu, ours in zip(found[:2], found[2:], strict=True):
        assert (ours.cpu() - cpu).norm() < 2e-3 * cpu.norm()  # a GPU multiplies in TF32, if at all


@needs_gpu
def test_more_points_than_a_kernel_takes():
    points = torch.randn(2, 20_000, 3, generator=torch.Generator().manual_seed(0))
    there = points.to(DEVICE)
    assert _kernels.kernels(split_axes(there)) is None
    assert torch.equal(
        ops.farthest_point_sample(there, 50).cpu(), ops.farthest_point_sample(points, 50)
    )


# ---- the published arithmetic


@pytest.mark.parametrize("kind", ["dapt", "ft"])
def test_golden(kind, monkeypatch):
    monkeypatch.syspath_prepend(str(GOLDEN))
    from test_golden import converted, gradients, train_step

    model, expected = converted(kind)
    cpu_model = copy.deepcopy(model)
    model.to(DEVICE)
    there = {k: v.to(DEVICE) for k, v in expected.items()}
    with torch.no_grad():
        torch.testing.assert_close(
            model.eval()(there["points"]), there["logits"], atol=1e-4, rtol=0
        )
    out, loss = train_step(model, there)
    torch.testing.assert_close(out, there["train_logits"], atol=2e-4, rtol=0)
    torch.testing.assert_close(loss, there["loss_train"], atol=1e-4, rtol=0)
    train_step(cpu_model, expected)
    want = gradients(cpu_model)
    for name, grad in gradients(model).items():
        assert (grad.cpu() - want[name]).norm() <= 2e-3 * want[name].norm() + 1e-4, name


# ---- steps


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A small run on made-up shapes, and a backbone as wide as the device deserves."""
    size = {"dim": 24, "depth": 2, "heads": 2, "encoder_widths": (8, 16, 16)} if REHEARSAL else {}
    torch.manual_seed(0)
    net = load_backbone("point_vit:tiny", groups=8, group_size=8, **size)
    folder = save_backbone(net, tmp_path_factory.mktemp("backbone") / "b")
    return TrainConfig(
        out=tmp_path_factory.mktemp("run") / "run", backbone=str(folder), points=64, epochs=2,
        data="shapes", data_options=("size=64", "test_size=32"), batch_size=16, lr=1e-3,
        options=("rank=8", "dropout=0.1"), tensorboard=False,
    )  # fmt: skip


def batches(config, count):
    clouds = load_clouds(config)[0]
    g = torch.Generator().manual_seed(3)
    for _ in range(count):
        at = torch.randperm(len(clouds), generator=g)[: config.batch_size]
        points = ops.normalize(torch.from_numpy(clouds.points)[at])
        yield points.to(DEVICE), torch.from_numpy(clouds.labels)[at].to(DEVICE)


def make(config, cls, precision="fp32", keep="all", **changes):
    acc = make_accelerator(precision)
    model = build_model(replace(config, keep=keep), load_clouds(config)[0].classes).train()
    groups = model.parameter_groups(0.05)
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    net, optimizer = acc.prepare(model, optimizer)
    step = cls(TaskLosses(net, model, model.adapter.task, acc), net, optimizer, acc, 10.0)
    for name, value in changes.items():
        setattr(step, name, value)
    return step


def losses(step, data, lr=1e-3):
    torch.manual_seed(9)
    out = []
    for batch in data:
        step.set_lr(lr)
        out.append(step(*batch)[0].clone())
    return torch.stack(out).cpu()


@needs_gpu
@pytest.mark.parametrize("method", ["dapt", "full", "linear_probe", "lora"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_captured_step_trains_as_the_eager_one(config, method, precision):
    """Dropout and DropPath are on: a replay draws what the eager step draws."""
    config = replace(config, method=method, options=())
    data = list(batches(config, 15))
    eager = losses(make(config, Step, precision), data)
    step = make(config, GraphStep, precision)
    captured = losses(step, data)
    assert step.replay is not None
    assert not step.failed
    tolerance = 2e-3 if precision == "fp32" else 3e-2
    torch.testing.assert_close(captured, eager, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("step", ["eager", "graph"])
@pytest.mark.parametrize("method", ["dapt", "full"])
def test_runs_together_are_the_runs_alone(config, method, step, tmp_path):
    """On a CPU all are eager."""
    config = replace(
        config, method=method, options=(), drop_path=0.0, task_options=("dropout=0",), epochs=2,
        step="auto" if step == "graph" and not GPU else step, tensorboard=False, baseline=False,
    )  # fmt: skip
    runs = [replace(config, seed=k, out=tmp_path / f"together{k}") for k in range(3)]
    train_together(runs)
    for run in runs:
        alone = replace(run, out=tmp_path / f"alone{run.seed}")
        train_in(alone)
        (found, want) = (
            [json.loads(line)["loss"] for line in (r.out / "log.jsonl").read_text().splitlines()]
            for r in (run, alone)
        )
        assert found == pytest.approx(want, rel=2e-2)


@needs_gpu
def test_a_captured_step_follows_the_schedule_after_a_checkpoint(config):
    """A learning rate on the host would be taken once, by the capture."""
    first, file = make(config, GraphStep), io.BytesIO()
    losses(first, batches(config, 1))
    torch.save(first.optimizer.state_dict(), file)
    file.seek(0)
    step = make(config, GraphStep)
    step.optimizer.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    losses(step, batches(config, 5))
    assert step.replay is not None
    before = [p.clone() for p in step.net.parameters()]
    losses(step, batches(config, 1), lr=0.0)
    assert all(map(torch.equal, step.net.parameters(), before))


@needs_gpu
def test_nothing_waits_for_the_gpu(config):
    from pointadapt.data.transforms import augment, resample
    from pointadapt.training.device_arrays import Resident

    clouds = load_clouds(config)[0]
    step, there = make(config, GraphStep, "bf16"), Resident(DEVICE)
    at = torch.arange(config.batch_size).numpy()

    def once():
        step.set_lr(1e-3)
        draw = torch.Generator().manual_seed(0)
        points = ops.normalize(there.rows(clouds.points, at).float())
        points = augment(resample(points, config.points, draw), ("scale_shift", "jitter"), draw)
        return step(points, there.rows(clouds.labels, at))

    for _ in range(6):
        once()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            once()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_follows_float32(config, precision, tmp_path):
    if precision == "fp16" and not GPU:
        pytest.skip("fp16 needs a GPU")
    config = replace(config, drop_path=0.0, options=("rank=8",), task_options=("dropout=0",))
    whole = train(replace(config, out=tmp_path / "a"))
    half = train(replace(config, out=tmp_path / "b", precision=precision))
    assert abs(whole["accuracy"] - half["accuracy"]) <= 20
    read = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in "ab"]
    for a, b in zip(*read, strict=True):
        assert json.loads(b)["loss"] == pytest.approx(json.loads(a)["loss"], rel=0.05)


compiles = pytest.mark.skipif(
    os.environ.get("POINTADAPT_SKIP_INDUCTOR") == "1"
    or not (shutil.which("gcc") or shutil.which("cc")),
    reason="takes minutes, or inductor has no C++ compiler",
)


@compiles
@pytest.mark.parametrize("keep", ["all", "lean"])
def test_compiled(config, keep):
    """On a GPU captured, too."""
    torch.compiler.reset()  # it would take what it compiled for the other
    config = replace(config, drop_path=0.0, options=("rank=8",), task_options=("dropout=0",))
    data = list(batches(config, 5))
    eager = losses(make(config, Step), data)
    step = make(config, GraphStep if GPU else Step, keep=keep)
    step.losses.compile(must=True)
    torch.testing.assert_close(losses(step, data), eager, rtol=5e-3, atol=5e-3)
    assert not GPU or step.replay is not None


@compiles
def test_a_compiled_run_is_stopped_and_goes_on(config, tmp_path, monkeypatch):
    """The command's whole way: compile, capture, stop inside an epoch, go on, score."""
    config = replace(config, out=tmp_path / "a", epochs=3, keep="lean", step="compile")
    steps = iter(range(6))
    with monkeypatch.context() as patch:
        patch.setattr(stops, "asked", lambda: next(steps, None) is None)
        with pytest.raises(stops.Stopped):
            train(config)
    found = train(replace(config, resume=True))
    eager = train(replace(config, out=tmp_path / "b", step="eager"))
    assert abs(found["accuracy"] - eager["accuracy"]) <= 20
    rows = (config.out / "log.jsonl").read_text().splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == [1, 2, 3]


@needs_gpu
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_largest_of_a_patch(kind):
    x = torch.randn(64, 128, 32, 384, device=DEVICE).to(kind)
    ours, torchs = (x.clone().requires_grad_() for _ in range(2))
    out, want = torch.compile(lambda x: maximum(x, 2))(ours), torchs.max(dim=2).values
    assert torch.equal(out, want)
    assert _kernels._checked[largest.KERNELS, x.device.index] is not None  # not the fallback
    g = torch.randn_like(out)
    out.backward(g)
    want.backward(g)
    # Of equal ones each takes its own.
    assert torch.equal(ours.grad.float().sum(2), torchs.grad.float().sum(2))
    assert torch.equal(ours.grad != 0, (ours.grad != 0) & (x == out.unsqueeze(2)))


def test_training_with_and_without_capture(config, tmp_path):
    config = replace(config, keep="all", epochs=3)
    runs = {}
    for how in ("eager", "auto"):
        runs[how] = train(replace(config, out=tmp_path / how, step=how))
    assert abs(runs["auto"]["accuracy"] - runs["eager"]["accuracy"]) <= 10
    longer = replace(config, out=tmp_path / "auto", step="auto", resume=True)
    assert train(longer)["accuracy"] == runs["auto"]["accuracy"]


# ---- steps of pre-training


def pretraining_step(config):
    """An objective and its step."""
    torch.manual_seed(0)
    acc = make_accelerator(config.precision)
    objective = make_objective(config, acc)
    net = objective.net.to(DEVICE).train()
    optimizer = make_optimizer(config, net)
    return objective, make_pretraining_step(config, objective, net, optimizer, acc)


def pretraining(precision, how):
    """Losses and figures of eight steps of pre-training with all losses, and the step."""
    size = {"groups": 8, "group_size": 8, "points": 64} if REHEARSAL else {}
    c = PretrainConfig(
        size="tiny", batch_size=8, steps=8, precision=precision, label_weight=0.1, views=("noise",),
        attribute_weight=0.1, contrast_weight=0.1, decoder_depth=1, step=how, **size,
    )  # fmt: skip
    objective, step = pretraining_step(c)
    told = []
    for number in range(c.steps):
        step.set_lr(1e-4)
        batch = (part.to(DEVICE) for part in objective.source[number])
        told.append(torch.stack(step(**objective.inputs(number, *batch))))
    return torch.stack(told).cpu(), step


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_captured_step_of_pretraining_follows_the_eager_one(precision):
    eager, _ = pretraining(precision, "eager")
    captured, step = pretraining(precision, "graph")
    assert step.replay is not None
    tolerance = 2e-3 if precision == "fp32" else 3e-2
    torch.testing.assert_close(captured, eager, rtol=tolerance, atol=tolerance)


@compiles
def test_a_compiled_step_of_pretraining_follows_the_eager_one():
    """On a GPU captured, too."""
    torch.compiler.reset()
    compiled, step = pretraining("fp32", "compile")
    eager, _ = pretraining("fp32", "eager")
    torch.testing.assert_close(compiled, eager, rtol=5e-3, atol=5e-3)
    assert not GPU or step.replay is not None


@needs_gpu
def test_nothing_waits_for_the_gpu_in_pretraining():
    c = PretrainConfig(size="tiny", batch_size=8, augment=("scale_shift", "rotate"), step="graph")
    objective, step = pretraining_step(c)
    batch = [part.to(DEVICE) for part in objective.source[0]]

    def once(number):
        step.set_lr(1e-3)
        return step(**objective.inputs(number, *batch))

    for number in range(6):
        once(number)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(3):
            once(number)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_pretraining_with_and_without_capture(tmp_path):
    runs = {}
    for how in ("eager", "auto"):
        c = PretrainConfig(
            out=tmp_path / how, size="tiny", groups=8, group_size=8, points=64, batch_size=8,
            steps=8, decoder_depth=1, save_every=4, picture_every=0, workers=1, step=how,
        )  # fmt: skip
        runs[how] = pretrain(c)
    assert runs["auto"]["loss"] == pytest.approx(runs["eager"]["loss"], rel=1e-2)


# ---- memory


@needs_gpu
def test_lean_keeps_less(config):
    config = replace(config, backbone="tiny", groups=0, group_size=0, points=1024)
    model = build_model(config, load_clouds(config)[0].classes).to(DEVICE).train()
    points, _ = next(batches(config, 1))
    kept = {}
    for keep in ("all", "lean", "recompute"):
        model.keep = keep
        before = torch.cuda.memory_allocated()
        out = model(points)
        kept[keep] = torch.cuda.memory_allocated() - before
        del out
    print({k: f"{v / 2**20:.0f} MiB" for k, v in kept.items()})
    assert kept["recompute"] < kept["lean"] < 0.7 * kept["all"]
