import torch

from pointadapt.methods import make_method


def test_frozen_layers_can_absorb_it(one):
    """γ ⊙ (W x + b) + β = (γ W) x + (γ b + β), at all six sites."""
    taps, block = one.taps("ssf").blocks[0], one.copy()
    layers = {
        "norm1": block.norm1, "qkv": block.attn.qkv, "proj": block.attn.proj,
        "norm2": block.norm2, "fc1": block.mlp.fc1, "fc2": block.mlp.fc2,
    }  # fmt: skip
    for name, layer in layers.items():
        ss = getattr(taps, f"ss_{name}")
        gamma = ss.gamma if layer.weight.dim() == 1 else ss.gamma[:, None]
        layer.weight *= gamma
        layer.bias.mul_(ss.gamma).add_(ss.beta)
    torch.testing.assert_close(one.run(taps), one.run(block=block))
    assert not torch.allclose(one.run(taps), one.run())


def test_with_std_0_it_starts_as_the_pretrained_network(one):
    taps = make_method("ssf", {"std": 0}).attach(one.backbone)
    assert torch.equal(one.run(taps.blocks[0]), one.run())
