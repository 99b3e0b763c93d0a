"""Partial unfreezing: which blocks train, and what the average of them does to the gradient."""

import copy

import pytest
import torch
from small_networks import small_vit

from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.methods import make_method
from pointadapt.methods.partial import blocks_in_order
from pointadapt.methods.staged import attach
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

DEPTH = 4


@pytest.fixture
def net():
    return small_vit(DEPTH)


def model_of(net, **options):
    torch.manual_seed(1)
    method, task = make_method("partial", options), make_task("classification", {"hidden": 0})
    return PointModel(net, Adapter(net, method, task, tuple("abcd")))


def trained(net, **options):
    method = make_method("partial", {"train_cls": False, **options})
    names = method.trainable_among(name for name, _ in net.named_parameters())
    return {".".join(name.split(".")[:2]) if "blocks" in name else name for name in names}


NORM = {"norm.weight", "norm.bias"}


def test_the_last_blocks_and_what_is_asked_for_train(net):
    assert trained(net) == {"blocks.1", "blocks.2", "blocks.3"} | NORM
    assert trained(net, last=1) == {"blocks.3"} | NORM
    assert trained(net, last=9) == {f"blocks.{i}" for i in range(DEPTH)} | NORM
    every = trained(net, last=1, norms="all")
    assert every == {f"blocks.{i}" for i in range(DEPTH)} | NORM  # norms alone of the first three
    encoder = {name for name, _ in net.named_parameters() if name.startswith("encoder.")}
    assert trained(net, last=1, patch_encoder=True) == {"blocks.3"} | NORM | encoder


def test_the_decoder_comes_last_from_its_coarsest_stage():
    stages = ("stages.0", "stages.1", "decoder.0", "decoder.1")
    names = [f"net.{stage}.blocks.{i}.norm1.bias" for stage in stages for i in range(2)]
    order = [block.removeprefix("net.").replace("blocks.", "") for block in blocks_in_order(names)]
    assert order[-4:] == ["decoder.1.0", "decoder.1.1", "decoder.0.0", "decoder.0.1"]


def gradients(model, batch, seed=3):
    """Of every parameter that trains, after one backward pass of the task's loss."""
    torch.manual_seed(seed)
    model.zero_grad()
    model.adapter.task.loss(model(batch[0]), batch[1]).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_the_term_pulls_towards_the_average(net, toy_batch):
    """The gradient is the task's plus that of the cosine to a teacher worked out again here."""
    batch = tuple(part[:4] for part in toy_batch)
    model = model_of(net, last=2, consistency=0.7, memory=4, batchnorm="frozen").train()
    gradients(model, batch)  # the average begins at the first step
    teacher = copy.deepcopy(net).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
        for name, own in teacher.named_parameters():
            if name.startswith(("blocks.2", "blocks.3", "norm.")):
                own.lerp_(net.get_parameter(name), 1 / 4)
            else:  # what is embedded is shared
                own.copy_(net.get_parameter(name))
        answer = teacher(batch[0]).x
    model.adapter.taps.loss_scale = 3.0  # as a loss that is multiplied by it
    got = gradients(model, batch)
    plain = model_of(net, last=2, consistency=0, batchnorm="frozen").train()
    plain.adapter.head.load_state_dict(model.adapter.head.state_dict())
    x = net(batch[0]).x
    term = 3.0 * 0.7 * (1 - torch.nn.functional.cosine_similarity(x, answer, dim=-1)).mean()
    plain.zero_grad()
    (plain.adapter.task.loss(plain(batch[0]), batch[1]) + term).backward()
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(got[name], parameter.grad, atol=1e-6, rtol=1e-4)
    assert float(term.detach()) > 1e-3


def test_the_first_step_has_nothing_to_hold_back(net, toy_batch):
    """The teacher is the student then, wherever the adapter was made."""
    model = model_of(net, batchnorm="frozen").train()
    first = gradients(model, toy_batch)
    without = model_of(net, consistency=0, batchnorm="frozen").train()
    for name, gradient in gradients(without, toy_batch).items():
        torch.testing.assert_close(first[name], gradient, atol=1e-5, rtol=1e-4)


def test_evaluation_moves_no_average(net, toy_batch):
    model = model_of(net).eval()
    model(toy_batch[0])
    assert not model.adapter.taps.begun
    assert not list(model.adapter.taps.parameters())


def test_stages_take_it_without_a_teacher(bare_backbone):
    net = load_backbone(bare_backbone("ptv3"))
    method = make_method("partial", {"last": 1, "consistency": 0})
    assert not attach(method, net).state_dict()
    names = method.trainable_among(name for name, _ in net.named_parameters())
    assert len({name.split("attn")[0] for name in names if "attn" in name}) == 1
