import pytest
import torch
import torch.nn.functional as F

from pointadapt.backbones.taps import BlockTaps


@pytest.mark.parametrize("source", ["residual", "norm"])
def test_it_is_the_formula(one, source):
    taps = one.taps("adaptformer", rank=3, scale=0.5, source=source).blocks[0]
    block, x, plain = one.block, one.tokens.x, BlockTaps()
    h = x + block.attn(block.norm1(x), plain)
    seen = h if source == "residual" else block.norm2(h)
    hidden = F.relu(seen @ taps.adapter.down.weight.T + taps.adapter.down.bias)
    adapted = hidden @ taps.adapter.up.weight.T + taps.adapter.up.bias
    want = h + block.mlp(block.norm2(h), plain) + 0.5 * adapted
    torch.testing.assert_close(one.run(taps), want)


def test_drop_path_leaves_the_adapter_alone(one):
    taps = one.taps("adaptformer", rank=3).blocks[0]
    one.block.train().drop_path.rate = 1 - 1e-9  # drops both branches
    x = one.tokens.x
    torch.testing.assert_close(one.run(taps), x + 0.1 * taps.adapter(x))
