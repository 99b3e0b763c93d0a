"""DAPT's parts against formulas worked out here; the whole is held by tests/golden."""

import pytest
import torch
import torch.nn.functional as F

from pointadapt.backbones import Tokens
from pointadapt.core.errors import ConfigError
from pointadapt.methods import make_method
from pointadapt.methods.dapt import Dapt, DaptBlockTaps, DynamicAdapter
from pointadapt.methods.modules import ScaleShift


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


def test_dynamic_scale_may_start_as_one():
    x = torch.randn(4, 9, 6)
    released, one = (DynamicAdapter(Dapt(rank=4, scale_start=s), 6) for s in ("released", "one"))
    assert 0 < (F.relu(released.scale(released.norm(x))) == 0).float().mean() < 1
    assert torch.equal(F.relu(one.scale(one.norm(x))), torch.ones(4, 9, 1))


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


def test_a_serial_adapter_sees_the_mlps_output(one):
    taps = one.taps("dapt", rank=3, placement="serial").blocks[0]
    x, out = torch.randn(2, 6, 12), torch.randn(2, 6, 12)
    branch, memo = taps.mlp(x, out, one.tokens)
    assert torch.equal(memo, taps.adapter(out))
    assert torch.equal(branch, out + memo)
    parallel = one.taps("dapt", rank=3).blocks[0]
    assert torch.equal(parallel.mlp(x, out, one.tokens)[1], parallel.adapter(x))


def test_adapters_in_the_blocks_that_are_named(one):
    """The others keep their scale-shifts, add no prompt and leave the MLP's output alone."""
    first, second = one.taps("dapt", rank=3, layers=("1",)).blocks
    assert first.adapter is None
    assert isinstance(first.ss_fc2, ScaleShift)
    out = torch.randn(2, 6, 12)
    assert first.mlp(out, out, one.tokens) == (out, None)
    assert first.block_out(one.tokens, None) is one.tokens
    assert second.adapter is not None
    assert second.block_out(one.tokens, out).prompts == 1


def test_internal_prompts_share_the_mean_and_have_their_own_scale_shift(one):
    taps = one.taps("dapt", rank=3, prompts=2).blocks[0]
    adapted = torch.randn(2, 6, 12)
    out = taps.block_out(one.tokens, adapted)
    mean = F.gelu(adapted).mean(dim=1)
    for i in range(2):
        part = slice(12 * i, 12 * i + 12)
        want = taps.ss_prompt.gamma[part] * mean + taps.ss_prompt.beta[part]
        torch.testing.assert_close(out.x[:, 1 + i], want)
    assert taps.ss_prompt.gamma.dim() == 1  # so that weight decay spares it


def test_random_prompts_know_nothing_of_the_cloud(one):
    torch.manual_seed(0)
    taps = DaptBlockTaps(Dapt(rank=3, prompts=4000, prompt_source="random"), 12, 48)
    assert taps.prompt_tokens.std().item() == pytest.approx(0.02, rel=0.05)
    taps = one.taps("dapt", rank=3, prompts=2, prompt_source="random").blocks[0]
    outs = [taps.block_out(one.tokens, torch.randn(2, 6, 12)) for _ in range(2)]
    assert torch.equal(outs[0].x, outs[1].x)
    assert torch.equal(outs[0].x[:, 1:3], taps.prompt_tokens.expand(2, -1, -1))
    assert outs[0].prompts == 2


def test_scale_shift_on_the_prompt_alone(one):
    """What folding leaves."""
    whole = one.taps("dapt", rank=3, scale_shift_sites="prompt")
    names = {n.rpartition(".")[2] for n, m in whole.named_modules() if isinstance(m, ScaleShift)}
    assert names == {"ss_prompt"}


@pytest.mark.parametrize("options", [{"prompt": False}, {"layers": ("none",)}])
def test_without_prompts_the_head_asks_for_none(options):
    assert make_method("dapt", options).default_head() == ("cls", "patch_max")
    assert make_method("dapt").default_head() == ("cls", "prompt_mean", "patch_max")


def test_layers_end_where_the_backbone_does(one):
    with pytest.raises(ConfigError, match="layers: there is no 2; the last is 1"):
        make_method("dapt", {"layers": "0-2"}).attach(one.backbone)
    with pytest.raises(ConfigError, match="layers: 'last' is no number"):
        make_method("dapt", {"layers": "last"})


@pytest.mark.parametrize(
    "options",
    [
        {"prompts": 0},
        {"rank": 0},
        {"rank": -3},
        {"dropout": 1},
        {"dropout": -0.5},
        {"scale_shift_std": -1},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        make_method("dapt", options)
