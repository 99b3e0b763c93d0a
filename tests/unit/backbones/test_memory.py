"""Keeping less for the backward changes no loss and no gradient."""

import gc
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones import Tokens, memory
from pointadapt.backbones.layers import Block, LeanAttention, attend, set_drop_path
from pointadapt.backbones.linear import linear
from pointadapt.backbones.memory import again, dropped_gelu, instead, keeping
from pointadapt.methods import make_method
from pointadapt.methods.dapt import DaptBlockTaps
from pointadapt.methods.modules import ScaleShift
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES = ("ball", "bar", "helix", "plate")


def gradients(folder, batch, keep, name="dapt", half=False, **options):
    """Loss and gradients of one training step with dropout and DropPath."""
    torch.manual_seed(0)
    net = load_backbone(folder)
    task = make_task("classification")
    model = PointModel(net, Adapter(net, make_method(name, options), task, CLASSES)).train()
    net.set_drop_path(0.3)
    model.keep = keep
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = task.loss(model(batch[0]), batch[1])
    loss.backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), grads


@pytest.mark.parametrize("keep", ["lean", "recompute"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dapt", {"dropout": 0.2}),
        ("dapt", {"dynamic_scale": False, "placement": "serial", "prompts": 2}),
        ("dapt", {"scale_shift": False}),
        ("ssf", {}),
        ("ia3", {}),
        ("gft", {"layers": 2}),
        ("full", {}),
        ("linear_probe", {}),
    ],
)
def test_losses_and_gradients_are_those_of_keeping_all(
    keep, name, options, micro_backbone, toy_batch
):
    loss, want = gradients(micro_backbone, toy_batch, "all", name, **options)
    same_loss, found = gradients(micro_backbone, toy_batch, keep, name, **options)
    assert same_loss == loss
    assert found.keys() == want.keys()
    for key, grad in found.items():  # equal up to the scale-shifts that are found from their output
        torch.testing.assert_close(grad, want[key], rtol=1e-3, atol=1e-5 * float(want[key].norm()))


def test_in_bfloat16(micro_backbone, toy_batch):
    loss, want = gradients(micro_backbone, toy_batch, "all", half=True)
    lean_loss, found = gradients(micro_backbone, toy_batch, "lean", half=True)
    assert abs(loss - lean_loss) < 1e-2
    for key, grad in found.items():
        assert (grad - want[key]).norm() <= 0.05 * want[key].norm() + 1e-4, key


def kept_bytes(run):
    """Bytes allocated and not freed by a forward pass."""
    with torch.profiler.profile(profile_memory=True) as profile:
        out = run()
    del out
    return sum(event.self_cpu_memory_usage for event in profile.events())


def test_less_is_kept(micro_backbone, toy_batch):
    net = load_backbone(micro_backbone)
    adapter = Adapter(net, make_method("dapt", {}), make_task("classification"), CLASSES)
    model, size = PointModel(net, adapter).train(), {}
    for keep in ("all", "lean", "recompute"):
        model.keep = keep
        size[keep] = kept_bytes(lambda: model(toy_batch[0]))
    assert size["recompute"] < size["lean"] < 0.75 * size["all"]


def test_factors_of_the_hidden_layer_keep_nothing_of_it(micro_backbone, toy_batch):
    """(IA)³ multiplies k, v and the GELU's output; all three are found again."""
    net, size = load_backbone(micro_backbone), {}
    adapter = Adapter(net, make_method("ia3", {}), make_task("classification"), CLASSES)
    model, tokens = PointModel(net, adapter).train(), 32 * (1 + net.config.groups)
    for keep in ("all", "lean"):
        model.keep = keep
        size[keep] = kept_bytes(lambda: model(toy_batch[0]))
    channels = net.config.hidden + 2 * net.config.dim
    assert size["all"] - size["lean"] >= net.config.depth * tokens * channels * 4  # bytes


def test_a_scale_shift_and_its_layer_norm_are_one_operation():
    torch.manual_seed(0)
    module, norm = ScaleShift(5, 0.3), torch.nn.LayerNorm(5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    x, upstream = torch.randn(4, 3, 5, requires_grad=True), torch.randn(4, 3, 5)
    inputs = (x, module.gamma, module.beta, norm.weight, norm.bias)
    one, two = module.after_layer_norm(norm, x), module(norm(x))
    torch.testing.assert_close(one, two)
    torch.testing.assert_close(
        torch.autograd.grad(one, inputs, upstream), torch.autograd.grad(two, inputs, upstream)
    )


@pytest.mark.parametrize("bias", [True, False])
def test_no_half_precision_copy_of_a_frozen_weight_is_kept(bias):
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 6, bias=bias).requires_grad_(False)
    results = []
    for keep in ("all", "lean"):
        x = torch.randn(3, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with keeping(keep), torch.autocast("cpu", torch.bfloat16):
            y = linear(layer, x)
        kept = [t.data_ptr() for t in getattr(y.grad_fn, "saved_tensors", ())]
        assert (kept == [layer.weight.data_ptr()]) is (keep == "lean")
        y.backward(torch.ones_like(y))
        results.append((y.detach(), x.grad))
    torch.testing.assert_close(*results, atol=0, rtol=0)


@pytest.mark.parametrize("half", [False, True])
def test_dropout_behind_a_gelu_draws_the_same_and_keeps_no_mask(half):
    dropout, results = torch.nn.Dropout(0.3), []
    for keep in ("all", "lean"):
        torch.manual_seed(3)
        start = torch.linspace(-3, 3, 200).view(50, 4)
        x = start.to(torch.bfloat16 if half else torch.float32).requires_grad_()
        with keeping(keep):
            y = dropped_gelu(x, dropout)
        y.square().sum().backward()
        results.append((y.detach(), x.grad))
    torch.testing.assert_close(*results, atol=0, rtol=0)
    assert 0 < float((y == 0).float().mean()) < 0.6
    masks = kept_bytes(lambda: dropped_gelu(x * 1, dropout))
    with keeping("lean"):
        assert kept_bytes(lambda: dropped_gelu(x * 1, dropout)) <= masks - x.numel()


@pytest.mark.parametrize("width", [4, 2], ids=["weights kept", "weights computed again"])
def test_lean_attention(width):
    torch.manual_seed(0)
    shape = 2, 3, 7, width
    q, k, v = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for _ in range(3))
    for seen in (None, torch.ones(7, 7, dtype=torch.bool).tril()):
        assert torch.autograd.gradcheck(LeanAttention.apply, (q, k, v, seen))
        plain = attend(q, k, v, causal=seen is not None)
        lean: Any = LeanAttention.apply(q, k, v, seen)
        torch.testing.assert_close(lean, plain)
        kept = [t for t in lean.grad_fn.saved_tensors if t is not None]
        assert len(kept) == (4 if width == 4 else 3)


def test_memory_that_is_used_again_gets_no_old_recipe():
    weight = torch.randn(64, 64, requires_grad=True)
    x = torch.randn(8, 64)
    with keeping("lean"):
        for _ in range(5):  # each tensor takes the place of the one before, which is gone
            again(torch.mul, x @ weight, torch.tensor(2.0))
            y = (x @ weight).exp()
        loss = (y * y).sum()
    loss.backward()
    other = weight.detach().requires_grad_()
    (x @ other).exp().square().sum().backward()
    torch.testing.assert_close(weight.grad, other.grad)


def test_nothing_stays_after_the_backward(micro_backbone, toy_batch):
    net = load_backbone(micro_backbone)
    adapter = Adapter(net, make_method("dapt", {}), make_task("classification"), CLASSES)
    model = PointModel(net, adapter).train()
    model(toy_batch[0]).sum().backward()  # what is made once and kept
    gc.collect()
    gc.disable()  # a cycle would stay
    try:
        with torch.profiler.profile(profile_memory=True) as profile:
            model(toy_batch[0]).sum().backward()
    finally:
        gc.enable()
    left = sum(event.self_cpu_memory_usage for event in profile.events())
    assert left < 20_000


def test_outside_a_forward_pass_all_is_plain():
    x = torch.randn(3, requires_grad=True)
    y = again(torch.exp, x)
    assert "ExpBackward" in type(y.grad_fn).__name__
    y.sum().backward()
    torch.testing.assert_close(x.grad, x.detach().exp())


def test_dropout_of_everything_is_zero_not_nan():
    x, dropout = torch.randn(3, 4, requires_grad=True), torch.nn.Dropout(1.0)
    with keeping("lean"):
        assert not dropped_gelu(x, dropout).any()


def kept_or_found_again(monkeypatch, mode):
    """What a DAPT block asks to keep, shape by shape, and whether a recipe takes its place."""
    asked, find = [], memory._Recipes.find

    def watched(self, tensor):
        found = find(self, tensor)
        asked.append((tuple(tensor.shape), found is not None))
        return found

    with monkeypatch.context() as patch, mode:
        patch.setattr(memory._Recipes, "find", watched)
        taps = DaptBlockTaps(make_method("dapt", {"dropout": 0.2, "rank": 4}), 12, 48)
        for module in taps.modules():
            if isinstance(module, ScaleShift):
                module.by_output = True  # training looks at it, which it cannot do here
        block = Block(12, 3).requires_grad_(False)
        set_drop_path(torch.nn.ModuleList([block, block]), 0.2)
        x = torch.randn(2, 7, 12, requires_grad=True)
        with keeping("lean"):
            block(Tokens(x=x, centers=x, pos=x[..., :0]), taps).x.sum().backward()
    return asked


def test_what_is_kept_follows_from_the_operations_alone(monkeypatch):
    """Fake tensors have no values and no addresses, and the same of them is kept."""
    real = kept_or_found_again(monkeypatch, nullcontext())
    fake = kept_or_found_again(monkeypatch, FakeTensorMode(allow_non_fake_inputs=True))
    assert real == fake
    assert {found for _, found in real} == {True, False}


def test_a_term_is_had_back_from_the_sum():
    """Also after the backward has asked to keep it, and through a sum that itself is not kept."""
    weight, other = torch.randn(3, 3, requires_grad=True), torch.randn(2, 3)
    x, kept = torch.randn(2, 3), []
    for keep in ("all", "lean"):
        with keeping(keep):
            z = (x @ weight).exp()  # whose backward needs z
            total = z + other
            instead(z, torch.sub, total, other)
            last = total + 1
            instead(total, lambda last: last - 1, last)
            loss = (last * last).sum()
        kept.append(torch.autograd.grad(loss, weight)[0])
    torch.testing.assert_close(*kept)


@pytest.mark.parametrize(("name", "depth", "most"), [("ssf", 2, 10.2), ("dapt", 1, 10.7)])
def test_of_a_block_ten_widths_a_token_are_kept(name, depth, most, toy_batch):
    """x, q, k, v, what attention gives, its projection, and four before the GELU; not the MLP's."""
    options, size = {"rank": 1} if name == "dapt" else {}, []
    for blocks in (depth, depth + 1):
        net = load_backbone(
            "point_vit:tiny", dim=48, depth=blocks, heads=2, groups=32, group_size=8
        )
        net.set_drop_path(0.2)
        task = make_task("classification")
        model = PointModel(net, Adapter(net, make_method(name, options), task, CLASSES)).train()
        model(toy_batch[0])
        size.append(kept_bytes(lambda m=model: m(toy_batch[0])))
    assert (size[1] - size[0]) / (len(toy_batch[0]) * 33 * 48 * 4) < most
