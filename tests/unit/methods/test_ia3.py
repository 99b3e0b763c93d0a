import torch
import torch.nn.functional as F

from pointadapt.methods import make_method


def test_keys_values_and_hidden_channels_are_multiplied(one):
    taps, block = one.taps("ia3").blocks[0], one.block
    x = torch.randn(2, 6, 12)
    q, k, v = block.attn.qkv(x).chunk(3, dim=-1)
    k, v, heads = k * taps.key, v * taps.value, []
    for h in (slice(0, 6), slice(6, 12)):
        weights = (q[..., h] @ k[..., h].transpose(1, 2) / 6**0.5).softmax(-1)
        heads.append(weights @ v[..., h])
    torch.testing.assert_close(block.attn(x, taps), block.attn.proj(torch.cat(heads, dim=-1)))
    hidden = F.gelu(block.mlp.fc1(x)) * taps.hidden
    torch.testing.assert_close(block.mlp(x, taps), block.mlp.fc2(hidden))


def test_it_starts_as_the_pretrained_network_and_frozen_layers_can_absorb_it(one):
    fresh = make_method("ia3").attach(one.backbone)
    assert torch.equal(one.run(fresh.blocks[0]), one.run())
    taps, block = one.taps("ia3").blocks[0], one.copy()
    block.attn.qkv.weight[12:24] *= taps.key[:, None]
    block.attn.qkv.weight[24:] *= taps.value[:, None]
    block.mlp.fc2.weight *= taps.hidden
    torch.testing.assert_close(one.run(taps), one.run(block=block))
    assert not torch.allclose(one.run(taps), one.run())
