from types import SimpleNamespace

import torch

from pointadapt.backbones import BlockTaps, Tokens
from pointadapt.methods import make_method


def other_patches(groups, size):
    x = torch.full((2, groups, 12), float(size))
    return Tokens(x=x, centers=torch.zeros(2, groups, 3), pos=x + 1, prefix=0)


def test_prompts_are_the_patches_again(one):
    one.backbone.config = type(one.backbone.config)(
        dim=12, depth=2, heads=2, groups=5, group_size=4
    )
    tokens = one.taps("ppt", rank=2).tokens_in(one.tokens, SimpleNamespace(patches=other_patches))
    assert torch.equal(tokens.x[:, 1:6], one.tokens.patches)
    assert torch.equal(tokens.pos[:, 1:6], one.tokens.pos[:, 1:])


def test_prompts_of_another_scale(one):
    tokens = one.taps("ppt", rank=2, groups=3, group_size=7).tokens_in(
        one.tokens, SimpleNamespace(patches=other_patches)
    )
    assert tokens.prompts == 3
    assert tokens.x[:, 1:4].eq(7).all()
    assert tokens.pos[:, 1:4].eq(8).all()
    assert torch.equal(tokens.patches, one.tokens.patches)


def test_block_is_the_formula(one):
    taps = one.taps("ppt", rank=2)
    prompts = torch.randn(2, 3, 12)
    one.tokens = one.tokens.insert_prompts(prompts)
    m, block = taps.mlps, one.block
    cls, patches = one.tokens.x[:, :1], one.tokens.patches
    x = torch.cat([cls, prompts + m["prompts"](prompts), patches + m["patches"](patches)], dim=1)
    plain = BlockTaps()
    h = x + block.attn(block.norm1(x), plain)
    expected = h + block.mlp(block.norm2(h), plain) + m["all"](h)
    torch.testing.assert_close(one.run(taps.blocks[0]), expected)
    assert taps.blocks[1].mlps[0] is m


def test_what_is_trained_of_the_backbone():
    ppt = make_method("ppt")
    names = (
        "cls_token", "cls_pos", "pos_embed.0.weight", "encoder.norm1.bias", "encoder.linear2.weight"
    )  # fmt: skip
    assert all(map(ppt.trainable, names))
    assert not any(
        map(ppt.trainable, ("encoder.linear3.weight", "encoder.norm2.bias", "norm.bias"))
    )
    frozen = make_method("ppt", {"train_encoder": False, "train_position": False})
    assert [n for n in names if frozen.trainable(n)] == ["cls_token", "cls_pos"]
