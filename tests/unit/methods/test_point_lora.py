from types import SimpleNamespace

import pytest
import torch

from pointadapt.backbones import Tokens
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.methods import make_method
from pointadapt.methods.modules import AddGradient


def patches(groups, size):
    torch.manual_seed(groups)
    x = torch.randn(2, groups, 12)
    return Tokens(x=x, centers=torch.zeros(2, groups, 3), pos=x + size, prefix=0)


def test_keeps_the_best_of_each_scale(one):
    config = type(one.backbone.config)(dim=12, depth=2, heads=2, groups=16, group_size=4)
    one.backbone.config = config
    own = patches(16, 4)
    tokens = Tokens(x=own.x, centers=own.centers, pos=own.pos, prefix=0)
    taps = one.taps("point_lora")
    out = taps.tokens_in(tokens, SimpleNamespace(patches=patches))
    assert out.prompts == 4 + 1
    for found, kept in ((own, slice(0, 4)), (patches(8, 8), slice(4, 5))):
        best = taps.score(found.x)[..., 0].argsort(dim=1, descending=True)[
            :, : kept.stop - kept.start
        ]
        for b in range(2):
            assert torch.equal(out.x[b, kept], found.x[b, best[b]])
            assert torch.equal(out.pos[b, kept], found.pos[b, best[b]])


def test_increments_and_shared_mlps(one):
    taps = one.taps("point_lora", targets="qkv,proj,fc1,fc2")
    block, increments = taps.blocks[0], taps.blocks[0].increments
    source = torch.randn(2, 6, 12)
    for name, width in (("qkv", 36), ("proj", 12), ("fc1", 48)):
        x = torch.randn(2, 6, width)
        expected = x + increments[name](source) + taps.mlps[name](source)
        torch.testing.assert_close(getattr(block, name)(x, source), expected)
    assert increments["fc2"].down.in_features == 48
    plain = one.taps("point_lora").blocks[0]
    assert plain.fc1(source, source) is source
    assert taps.blocks[1].mlps[0] is taps.mlps


def test_score_loss_enters_the_gradient_alone(one):
    taps = one.taps("point_lora", score_loss=0.5).requires_grad_(True)
    tokens, weight = patches(128, 32), taps.score[0].weight
    tokens = Tokens(x=tokens.x, centers=tokens.centers, pos=tokens.pos, prefix=0)
    taps.eval()
    value = taps.tokens_in(tokens, SimpleNamespace(patches=patches)).x
    taps.train()
    out = taps.tokens_in(tokens, SimpleNamespace(patches=patches)).x
    assert torch.equal(out, value)
    out.sum().backward()

    def term(x):
        s = taps.score(x)[..., 0].sigmoid()
        return (s * (s + 1e-6).log() + (1 - s) * (1 - s + 1e-6).log()).mean()

    loss = 0.5 * (term(tokens.x) + 0.25 * term(patches(64, 64).x))
    torch.testing.assert_close(weight.grad, torch.autograd.grad(loss, weight)[0])
    once = weight.grad.clone()
    weight.grad, taps.loss_scale = None, 0.25
    taps.tokens_in(tokens, SimpleNamespace(patches=patches)).x.sum().backward()
    torch.testing.assert_close(weight.grad, 0.25 * once)


def test_add_gradient_is_a_sum_of_losses():
    x, w = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    AddGradient.apply(x, (w**2).sum()).square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * x)
    torch.testing.assert_close(w.grad, 2 * w)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"targets": "qvk"}, UnknownNameError, "target of PointLoRA"),
        ({"scales": "1"}, ConfigError, "as many numbers each"),
        ({"keep": "0,1"}, ConfigError, "more than 0 and at most 1"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        make_method("point_lora", options)
