import pytest
import torch

from pointadapt.methods import make_method


@pytest.mark.parametrize("form", ["tt", "tk"])
def test_it_is_an_increment_of_the_weights(one, form):
    """ΔW_j = s U Σ_j Vᵀ, in the order x W of the paper: transposed for torch."""
    whole = one.taps("fact", rank=3, scale=0.5, form=form)
    taps, f, block = whole.blocks[0], whole.factors, one.copy()
    sigma = taps.slices
    if form == "tk":
        sigma = sum(taps.slices[:, c, None, None] * f.core[c] for c in range(3))
    delta = [0.5 * (f.u.weight.T @ s @ f.v.weight.T).T for s in sigma]
    block.attn.qkv.weight += torch.cat(delta[:3])
    block.attn.proj.weight += delta[3]
    block.mlp.fc1.weight += torch.cat(delta[4:8])
    block.mlp.fc2.weight += torch.cat(delta[8:], dim=1)
    torch.testing.assert_close(one.run(taps), one.run(block=block))
    assert not torch.allclose(one.run(taps), one.run())


def test_shared_factors_are_stored_once(one):
    keys = set(one.taps("fact").state_dict())
    assert keys == {"factors.u.weight", "factors.v.weight", "blocks.0.slices", "blocks.1.slices"}


@pytest.mark.parametrize("form", ["tt", "tk"])
def test_slices_start_as_the_released_layers(one, form):
    """fc2's four slices are one layer from 4 r; Tucker's P is one matrix over all blocks."""
    torch.manual_seed(0)
    taps = make_method("fact", {"form": form, "rank": 16}).attach(one.backbone)
    slices = torch.stack([block.slices for block in taps.blocks]).abs()
    bounds = [1 / 4, 1 / 8] if form == "tt" else [(6 / (16 + 2 * 12)) ** 0.5] * 2
    for found, bound in zip((slices[:, :8], slices[:, 8:]), bounds, strict=True):
        assert 0.9 * bound < found.max() <= bound
