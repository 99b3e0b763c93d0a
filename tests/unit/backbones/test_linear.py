"""A scale and a shift after a frozen layer: one product, with the plain arithmetic's gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F

from pointadapt.backbones import linear as ours
from pointadapt.backbones.linear import ScaledLinear, scaled_linear
from pointadapt.backbones.memory import keeping
from pointadapt.methods.modules import ScaleShift

FEW, MANY = (2, 2), (4, 3)  # rows: fewer, and more, than the layer has inputs


def made(rows, bias=True, dtype=torch.float32):
    """A frozen layer 5 → 7, a scale-shift that training has begun with, and input of some rows."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 7, bias=bias, dtype=dtype).requires_grad_(False)
    module = ScaleShift(7, 0.3).to(dtype).train()
    with torch.no_grad():
        module.gamma[2] *= -1  # a negative one is as good
    return layer, module, torch.randn(*rows, 5, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("rows", [FEW, MANY])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_in_float64(rows, bias):
    layer, module, x = made(rows, bias, torch.float64)
    inputs = x, layer.weight, layer.bias, module.gamma, module.beta, torch.float64
    assert torch.autograd.gradcheck(ScaledLinear.apply, inputs)


@pytest.mark.parametrize("rows", [FEW, MANY])
def test_it_is_the_plain_arithmetic_up_to_rounding(rows):
    layer, module, x = made(rows)
    upstream, inputs = torch.randn(*rows, 7), (x, module.gamma, module.beta)
    found = module.after_linear(layer, x)
    assert "ScaledLinear" in type(found.grad_fn).__name__
    want = F.linear(x, layer.weight, layer.bias) * module.gamma + module.beta
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, upstream), torch.autograd.grad(want, inputs, upstream)
    )


def test_its_output_is_all_that_it_keeps_of_the_rows():
    layer, module, x = made(MANY)
    y = module.after_linear(layer, x)
    kept = [t.data_ptr() for t in y.grad_fn.saved_tensors if t.dim() == 3]  # type: ignore[union-attr]
    assert kept == [y.data_ptr()]


@pytest.mark.parametrize("keep", ["all", "lean"])
def test_in_bfloat16_gradients_are_near_those_in_float32(keep):
    layer, module, x = made((40, 8))
    inputs, results = (x, module.gamma, module.beta), []
    for half in (False, True):
        with keeping(keep), torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = module.after_linear(layer, x)
        assert y.dtype is (torch.bfloat16 if half else torch.float32)
        results.append(torch.autograd.grad(y.float().square().mean(), inputs))
    for found, want in zip(results[1], results[0], strict=True):
        assert found.dtype == torch.float32
        assert (found - want).norm() <= 0.02 * want.norm()


def test_a_channel_that_is_nearly_switched_off_is_found_by_its_input():
    layer, module, x = made(MANY)
    with torch.no_grad():
        module.gamma[3] = 1e-6
    y = module.train().after_linear(layer, x)
    assert "ScaledLinear" not in type(y.grad_fn).__name__
    want = (torch.ones(4, 3, 7) * F.linear(x, layer.weight, layer.bias)).sum(dim=(0, 1))
    torch.testing.assert_close(torch.autograd.grad(y.sum(), module.gamma)[0], want.detach())


def test_a_channel_that_goes_out_within_an_epoch_spoils_nothing():
    layer, module, x = made(MANY)
    before = torch.autograd.grad(module.after_linear(layer, x).sum(), module.gamma)[0]
    with torch.no_grad():
        module.gamma[3] = 0.0
    after = torch.autograd.grad(module.after_linear(layer, x).sum(), module.gamma)[0]
    assert torch.isfinite(after).all()
    others = torch.arange(7) != 3
    torch.testing.assert_close(after[others], before[others])


def test_a_layer_that_trains_has_its_own_gradient():
    layer, module, x = made(MANY)
    layer.requires_grad_(True)
    module.after_linear(layer, x).sum().backward()
    assert layer.weight.grad is not None


def test_whether_weights_or_the_product_are_scaled_is_up_to_their_size(monkeypatch):
    called, scaled = [], ours.scaled
    monkeypatch.setattr(ours, "scaled", lambda *a: called.append(1) or scaled(*a))
    for rows, times in ((FEW, 0), (MANY, 2)):  # forward and backward
        called.clear()
        layer, module, x = made(rows)
        scaled_linear(layer, x, module.gamma, module.beta).sum().backward()
        assert len(called) == times


def test_copies_know_what_the_original_saw():
    module = ScaleShift(3, 0.0)
    assert not module.by_output  # before training begins
    assert copy.deepcopy(module.train()).by_output
