"""Models of one kind as one: losses, gradients and moving buffers of each are its own."""

from contextlib import nullcontext
from dataclasses import fields

import pytest
import torch

from pointadapt.core.config import TrainConfig
from pointadapt.methods import METHODS
from pointadapt.training.setup import build_model
from pointadapt.training.stacked import Stacked, tensors

CLASSES = tuple("abcd")


@pytest.fixture
def make(bare_backbone):
    """A model of a method and a seed, in training mode, that draws nothing."""

    def build(method, seed=0, **changes):
        known = {field.name for field in fields(METHODS[method])}
        config = TrainConfig(
            backbone=str(bare_backbone("point_vit")), method=method, seed=seed, points=64,
            options=("dropout=0",) if "dropout" in known else (), drop_path=0.0,
            task_options=("dropout=0", "hidden=16"), **changes,
        )  # fmt: skip
        return build_model(config, CLASSES).train()

    return build


def batches(toy_batch, count=2):
    """Clouds (K, 8, 64, 3) and their labels."""
    points, labels = toy_batch
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[: 8 * count]
    return points[order].unflatten(0, (count, 8)), labels[order].unflatten(0, (count, 8))


@pytest.mark.parametrize("name", [n for n in METHODS if METHODS[n].trains_together])
def test_each_is_as_it_is_alone(name, make, toy_batch):
    if METHODS[name].fits:
        pytest.skip("trains nothing")
    points, labels = batches(toy_batch)
    alone, models = ([make(name, seed) for seed in range(2)] for _ in range(2))
    stacked, task = Stacked(models), models[0].adapter.task
    losses, _ = stacked.losses(task.loss, points, labels, {}, nullcontext)
    stacked.backward(losses)
    for k, (one, model) in enumerate(zip(alone, models, strict=True)):
        loss = task.loss(one(points[k]), labels[k])
        loss.backward()
        torch.testing.assert_close(losses[k], loss, rtol=1e-5, atol=1e-5)
        want = {key: p.grad for key, p in one.named_parameters() if p.grad is not None}
        found = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
        assert found.keys() == want.keys()
        largest = max(float(grad.abs().max()) for grad in want.values())
        for key, grad in found.items():
            assert grad.is_contiguous(), key  # as its parameter is: fused optimizers ask for it
            torch.testing.assert_close(grad, want[key], rtol=1e-3, atol=2e-4 * largest, msg=key)
        for (key, buffer), (_, own) in zip(one.named_buffers(), model.named_buffers(), strict=True):
            torch.testing.assert_close(own, buffer, rtol=1e-4, atol=1e-5, msg=key)


def test_what_is_equal_is_shared_and_the_rest_stacked(make):
    first, second = (make("dapt", seed) for seed in range(2))
    states = [{k: v.clone() for k, v in model.adapter_state().items()} for model in (first, second)]
    stacked = Stacked([first, second])
    qkv = [model.backbone.blocks[0].attn.qkv.weight for model in (first, second)]
    assert qkv[0].data_ptr() == qkv[1].data_ptr()
    assert not any("qkv" in name and "backbone" in name for name in stacked.own)
    assert "backbone.encoder.norm1.running_mean" in stacked.own
    up = "adapters.default.taps.blocks.0.adapter.up.weight"
    with torch.no_grad():
        stacked.own[up][1] += 1.0
        assert dict(second.named_parameters())[up].min() == 1.0
        assert dict(first.named_parameters())[up].max() == 0.0
        stacked.own[up][1] -= 1.0
    stacked.release()
    for model, state in zip((first, second), states, strict=True):
        now = model.adapter_state()
        assert all(torch.equal(now[key], state[key]) for key in state)
    assert all(x.untyped_storage().nbytes() == x.nbytes for _, x in tensors(first) if x.numel())


def test_tokens_that_the_seed_draws_are_stacked(make):
    """A probe does not train the CLS token, which the weights lack: each run has its own."""
    stacked = Stacked([make("linear_probe", seed) for seed in range(2)])
    assert not stacked.own["backbone.cls_token"].requires_grad
    assert "backbone.cls_token" not in stacked.training_names


def test_half_precision(make, toy_batch):
    points, labels = batches(toy_batch)
    alone, models = ([make("dapt", seed) for seed in range(2)] for _ in range(2))
    task = models[0].adapter.task

    def half():
        return torch.autocast("cpu", torch.bfloat16)

    losses, _ = Stacked(models).losses(task.loss, points, labels, {}, half)
    for k, one in enumerate(alone):
        with half():
            output = one(points[k])
        torch.testing.assert_close(losses[k], task.loss(output, labels[k]), rtol=2e-2, atol=2e-2)


def test_scenes(make, bare_backbone):
    """Heads of points, their neighbours included, go through as well."""
    draw = torch.Generator().manual_seed(0)
    points = torch.rand(2, 4, 64, 3, generator=draw)
    labels = torch.randint(0, 3, (2, 4, 64), generator=draw)
    config = TrainConfig(
        backbone=str(bare_backbone("point_vit")), method="dapt", task="scene_segmentation",
        task_options=("dropout=0", "features=false", "hidden=16,16", "width=16"), points=64,
        drop_path=0.0,
    )  # fmt: skip

    def model(seed):
        torch.manual_seed(seed)
        return build_model(config, ("scene",), ("x", "y", "z")).train()

    alone, models = ([model(seed) for seed in range(2)] for _ in range(2))
    task = models[0].adapter.task
    losses, _ = Stacked(models).losses(task.loss, points, labels, {}, nullcontext)
    for k, one in enumerate(alone):
        torch.testing.assert_close(
            losses[k], task.loss(one(points[k]), labels[k]), rtol=1e-4, atol=1e-4
        )
