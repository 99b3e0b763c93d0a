"""DAPT's parts against formulas worked out here; the whole is held by tests/golden."""

import pytest
import torch
import torch.nn.functional as F

from pointadapt.backbones import Tokens
from pointadapt.errors import ConfigError
from pointadapt.methods import make_method
from pointadapt.methods._modules import ScaleShift
from pointadapt.methods.dapt import Dapt, DaptBlockTaps, DynamicAdapter


def random_adapter(**options):
    torch.manual_seed(0)
    adapter = DynamicAdapter(Dapt(rank=4, **options), 6).eval()
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    return adapter


def test_scale_shift_starts_near_the_identity():
    torch.manual_seed(0)
    layer = ScaleShift(20000, 0.02)
    assert layer.gamma.mean().item() == pytest.approx(1, abs=1e-3)
    assert layer.beta.mean().item() == pytest.approx(0, abs=1e-3)
    for parameter in (layer.gamma, layer.beta):
        assert parameter.std().item() == pytest.approx(0.02, rel=0.05)
    x = torch.randn(2, 3, 20000)
    torch.testing.assert_close(layer(x), layer.gamma * x + layer.beta)


def test_adapter_is_the_formula():
    a, x = random_adapter(), torch.randn(2, 5, 6)
    t = a.norm(x)
    scale = F.relu(t @ a.scale.weight.T + a.scale.bias)
    assert scale.shape == (2, 5, 1)
    assert (scale == 0).any()  # such tokens get nothing, the bias of the upper layer included
    hidden = F.gelu(t @ a.down.weight.T + a.down.bias)
    want = scale * (hidden @ a.up.weight.T + a.up.bias)
    torch.testing.assert_close(a(x), want)
    assert (a(x)[(scale == 0).squeeze(-1)] == 0).all()


def test_adapter_without_dynamic_scale_or_norm():
    a, x = random_adapter(dynamic_scale=False, scale=0.5, adapter_norm=False), torch.randn(2, 5, 6)
    want = 0.5 * a.up(F.gelu(a.down(x)))
    torch.testing.assert_close(a(x), want)


def test_adapter_starts_as_zero():
    torch.manual_seed(0)
    adapter = DynamicAdapter(Dapt(rank=4), 6)
    assert (adapter(torch.randn(2, 5, 6)) == 0).all()
    assert (adapter.scale.bias == 0).all()
    assert (adapter.down.bias == 0).all()
    assert (adapter.scale.weight != 0).all()


def test_dropout_is_on_the_hidden_layer():
    adapter = random_adapter(dropout=0.5).train()
    seen = []
    adapter.up.register_forward_pre_hook(lambda m, i: seen.append(i[0]))
    adapter(torch.randn(2, 50, 6))
    assert 0.3 < (seen[0] == 0).float().mean() < 0.7


@pytest.mark.parametrize("activation", ["gelu", "none"])
def test_prompt_is_the_mean_over_all_tokens(activation):
    torch.manual_seed(0)
    taps = DaptBlockTaps(Dapt(rank=4, prompt_activation=activation), 6, 24)
    x, adapted = torch.randn(2, 8, 6), torch.randn(2, 8, 6)
    tokens = Tokens(x=x, centers=torch.zeros(2, 5, 3), pos=x, prompts=2)
    out = taps.block_out(tokens, adapted)
    mean = (F.gelu(adapted) if activation == "gelu" else adapted).mean(dim=1)
    torch.testing.assert_close(out.x[:, 1], taps.ss_prompt(mean))
    assert out.prompts == 3
    assert torch.equal(out.x[:, [0, *range(2, 9)]], x)


def test_without_prompts_no_token_is_added():
    taps = DaptBlockTaps(Dapt(prompt=False), 6, 24)
    tokens = Tokens(x=torch.randn(2, 6, 6), centers=torch.zeros(2, 5, 3), pos=torch.zeros(2, 6, 6))
    assert taps.block_out(tokens, None) is tokens


def test_without_scale_shift_it_has_no_parameters():
    taps = DaptBlockTaps(Dapt(scale_shift=False), 6, 24)
    assert not [m for m in taps.modules() if isinstance(m, ScaleShift)]
    x = torch.randn(2, 3, 6)
    assert taps.norm1(x) is x


@pytest.mark.parametrize(
    "options",
    [{"rank": 0}, {"rank": -3}, {"dropout": 1}, {"dropout": -0.5}, {"scale_shift_std": -1}],
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        make_method("dapt", options)
