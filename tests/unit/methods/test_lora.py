import pytest
import torch

from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.methods import make_method


def test_it_is_an_increment_of_the_weights(one):
    """y = (W + s B A) x, for every target at once."""
    taps = one.taps("lora", rank=3, scale=0.5, targets=("q", "k", "v", "proj", "fc1", "fc2"))
    taps, block = taps.blocks[0], one.copy()

    def delta(name):
        low = taps.increments[name]
        return 0.5 * low.up.weight @ low.down.weight

    block.attn.qkv.weight += torch.cat([delta(name) for name in "qkv"])
    block.attn.proj.weight += delta("proj")
    block.mlp.fc1.weight += delta("fc1")
    block.mlp.fc2.weight += delta("fc2")
    torch.testing.assert_close(one.run(taps), one.run(block=block))
    assert not torch.allclose(one.run(taps), one.run())


def test_keys_are_left_alone_by_default(one):
    taps = one.taps("lora", rank=3).blocks[0]
    x, source = torch.randn(2, 4, 36), torch.randn(2, 4, 12)
    same = (taps.qkv(x, source) == x).all(dim=1).all(dim=0)
    assert same.tolist() == [False] * 12 + [True] * 12 + [False] * 12
    assert taps.fc1(x, source) is x


def test_targets_are_checked():
    with pytest.raises(UnknownNameError, match="fc1"):
        make_method("lora", {"targets": "fc"})
    with pytest.raises(ConfigError, match="targets"):
        make_method("lora", {"targets": ""})
    assert make_method("lora", {"targets": "q, fc2"}).targets == ("q", "fc2")
