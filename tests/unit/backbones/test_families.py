"""What only one family has: global tokens, an order, a mask."""

import dataclasses
import json

import pytest
import torch

from pointadapt.backbones import BACKBONES, BackboneConfig, Taps, Tokens
from pointadapt.backbones.layers import attend
from pointadapt.backbones.pointgpt import nearest_chain, sine_position
from pointadapt.backbones.published.tags import Tag, add_tags, all_tags, find_tag
from pointadapt.backbones.recon import ReConBlock
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task
from pointadapt.tasks.base import Names


@pytest.fixture
def gpt(bare_backbone):
    return load_backbone(bare_backbone("pointgpt")).eval()


def test_global_tokens_are_head_inputs(bare_backbone, toy_batch):
    tokens = load_backbone(bare_backbone("recon")).eval()(toy_batch[0])
    for i, name in enumerate(("cls", "img", "text")):
        assert torch.equal(tokens.pool(name), tokens.x[:, i])
    head = make_task("classification").make_head(
        BackboneConfig(dim=24), ("cls", "img", "text", "patch_max"), Names(tuple("abcd"))
    )
    assert head.eval()(tokens).shape == (32, 4)
    plain = Tokens(x=tokens.x, centers=tokens.centers, pos=tokens.pos)
    with pytest.raises(ConfigError, match="'img' is a token that this backbone does not have"):
        plain.pool("img")


def test_global_tokens_of_recon_do_not_see_each_other(bare_backbone, toy_batch):
    net = load_backbone(bare_backbone("recon")).eval()
    before = net(toy_batch[0]).x
    with torch.no_grad():
        net.img_token.add_(1)
    after = net(toy_batch[0]).x
    same = [torch.equal(before[:, i], after[:, i]) for i in range(before.shape[1])]
    assert same == [True, False, *[True] * (len(same) - 2)]


def test_recon_block_starts_its_residual_from_the_normalised_input():
    torch.manual_seed(0)
    block = ReConBlock(12, 2, 48).eval()
    x = torch.randn(2, 5, 12)
    taps = Taps(1).blocks[0]
    scaled, plain = (block(Tokens(x=v, centers=x, pos=x, prefix=3), taps).x for v in (7 * x + 1, x))
    torch.testing.assert_close(scaled, plain, atol=1e-4, rtol=0)


def test_a_token_of_pointgpt_sees_those_before_it_only(gpt, toy_batch):
    points = toy_batch[0][:4]
    at = 6

    class Change(Taps):
        def tokens_in(self, tokens, scene):
            x = tokens.x.clone()
            x[:, at, 0] += 1  # of one channel: LN1 takes a shift of all away
            return tokens.with_x(x)

    before, after = gpt(points).x, gpt(points, Change(2)).x
    torch.testing.assert_close(before[:, :at], after[:, :at])
    assert not torch.isclose(before[:, at:], after[:, at:]).all(dim=-1).any()
    assert gpt(points).names == ("sos", "cls")


def test_cls_of_pointgpt_is_the_same_for_every_cloud(gpt, toy_batch):
    cls = gpt(toy_batch[0]).pool("cls")
    torch.testing.assert_close(cls, cls[:1].expand_as(cls))


def test_causal_attention_with_keys_before_all():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
    got = attend(q, k, v, causal=True)
    for i in range(4):
        want = attend(q[:, :, i : i + 1], k[:, :, : i + 3], v[:, :, : i + 3])
        torch.testing.assert_close(got[:, :, i : i + 1], want)
    half = [t.bfloat16().requires_grad_() for t in (q, k, v)]
    torch.testing.assert_close(attend(*half, causal=True).float(), got, atol=0.05, rtol=0)


def test_nearest_chain():
    line = torch.tensor([[0.0], [3.0], [1.0], [-1.5], [2.5]])
    centers = torch.cat([line, torch.zeros(5, 2)], dim=1).expand(2, 5, 3)
    assert nearest_chain(centers).tolist() == [[0, 2, 4, 1, 3]] * 2
    torch.manual_seed(0)
    assert nearest_chain(torch.rand(4, 30, 3)).sort(dim=1).values.tolist() == [list(range(30))] * 4


def test_sine_position():
    got = sine_position(torch.tensor([[[0.25, 0.0, 0.5]]]), 14)
    want = [1, 0, 1, 0, 0, 1, 0, 1, 0, -1, 0, -1, 0, 0]
    torch.testing.assert_close(got[0, 0], torch.tensor(want, dtype=torch.float32))


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("point_vit", {"encoder_dim": -1}, "encoder_dim must be at least 0"),
        ("point_vit", {"position": "sine", "dim": 32}, "a width that 6 divides"),
        ("pointgpt", {"encoder_widths": (8, 16)}, "three or four"),
    ],
)
def test_impossible_configurations(family, change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(BACKBONES[family].config_class(dim=24, heads=2), **change)


def test_tags_name_what_there_is():
    for name, tag in all_tags().items():
        assert tag.name == name
        assert tag.size in BACKBONES[tag.family].sizes
        assert tag.page.startswith("https://")
        assert tag.url == "" or tag.url.startswith(("https://", "hf://"))
        assert tag.source
        assert tag.licence
        assert len(tag.sha256) in (0, 64)
        json.dumps(dataclasses.asdict(tag))
    with pytest.raises(UnknownNameError, match="did you mean 'point_mae-small'"):
        find_tag("point-mae-small")


def test_two_tags_of_one_name_are_refused():
    tag = find_tag("act-small")
    add_tags(tag)
    with pytest.raises(ValueError, match="two tags are called"):
        add_tags(dataclasses.replace(tag, licence="other"))
    assert isinstance(find_tag("act-small"), Tag)
