import torch
import torch.nn.functional as F

from pointadapt.backbones.taps import BlockTaps
from pointadapt.methods import make_method


def serial(layer, y):
    hidden = F.gelu(y @ layer.down.weight.T + layer.down.bias)
    return y + hidden @ layer.up.weight.T + layer.up.bias


def test_it_is_the_formula(one):
    taps, block, x = one.taps("adapter", rank=3).blocks[0], one.block, one.tokens.x
    plain = BlockTaps()
    h = x + serial(taps.after_attention, block.attn(block.norm1(x), plain))
    want = h + serial(taps.after_mlp, block.mlp(block.norm2(h), plain))
    torch.testing.assert_close(one.run(taps), want)


def test_it_starts_near_the_pretrained_network(one):
    taps = make_method("adapter").attach(one.backbone).blocks[0]
    for layer in (taps.after_attention, taps.after_mlp):
        assert 0 < layer.up.weight.abs().max() <= 2e-3
        assert 0 < layer.down.weight.abs().max() <= 2e-3
        assert not layer.up.bias.any()
    torch.testing.assert_close(one.run(taps), one.run(), atol=1e-3, rtol=0)


def test_it_trains_the_blocks_norms_alone():
    method = make_method("adapter", {"train_cls": False})
    assert method.trainable("blocks.11.norm2.bias")
    for name in ("norm.weight", "encoder.norm1.weight", "cls_token", "blocks.1.mlp.fc1.bias"):
        assert not method.trainable(name)
