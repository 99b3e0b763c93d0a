import pytest
import torch

from pointadapt.backbones import Tokens
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.methods import make_method
from pointadapt.methods.most import Monarch, rectifier


def tokens(groups=5, dim=12):
    torch.manual_seed(0)
    x, centers = torch.randn(2, 1 + groups, dim), torch.randn(2, groups, 3)
    return Tokens(x=x, centers=centers, pos=torch.zeros_like(x))


def shuffle(size, rows):
    """The permutation matrix that reads ``size`` entries as a (rows, -1) table by columns."""
    return torch.eye(size)[torch.arange(size).view(rows, -1).T.flatten()]


@pytest.mark.parametrize(("dim_in", "dim_out", "blocks"), [(12, 12, 3), (12, 36, 2), (16, 4, 4)])
def test_monarch_is_p_l_p_r(dim_in, dim_out, blocks):
    """Against block-diagonal and permutation matrices written out."""
    torch.manual_seed(0)
    m = Monarch(dim_in, dim_out, blocks)
    torch.nn.init.normal_(m.left)
    inner = min(dim_in, dim_out)
    right, left = torch.block_diag(*m.right), torch.block_diag(*m.left)
    want = shuffle(dim_out, blocks) @ left @ shuffle(inner, inner // blocks) @ right
    torch.testing.assert_close(m.dense().float(), want)
    x = torch.randn(2, 5, dim_in)
    torch.testing.assert_close(m(x), x @ want.T)


def test_every_input_reaches_every_output():
    """What block-diagonal R alone does not do, the shuffle and L do."""
    m = Monarch(16, 16, 4)
    torch.nn.init.ones_(m.left)
    torch.nn.init.ones_(m.right)
    assert (m.dense() != 0).all()


def test_widths_that_blocks_do_not_divide_are_padded():
    torch.manual_seed(0)
    m = Monarch(12, 36, 5)
    torch.nn.init.normal_(m.left)
    x = torch.randn(3, 12)
    torch.testing.assert_close(m(x), (x.double() @ m.dense().T).float())
    assert m.dense().shape == (36, 12)


def test_rectifier_adds_the_mean_of_neighbours_by_inverse_distance():
    t, lam, eps = tokens(), 0.5, 0.05
    k = rectifier(t, 2, lam, eps)
    distance = torch.cdist(t.centers, t.centers)
    for b in range(2):
        for i in range(5):
            near = distance[b, i].argsort()[1:3]
            w = 1 / (distance[b, i, near] + eps)
            want = t.x[b, 1 + i] + lam * (w / w.sum()) @ t.x[b, 1 + near]
            torch.testing.assert_close(k[b, 1 + i] @ t.x[b], want)
    assert torch.equal(k[:, 0], torch.eye(6)[:1].expand(2, -1))  # CLS
    assert (k[:, 1:, 0] == 0).all()


@pytest.mark.parametrize("neighbors", [2, 50])
def test_a_patch_is_not_its_own_neighbour(neighbors):
    """Also where all centres are one, as in a cloud of equal points."""
    t = tokens()
    t.centers[0] = 0
    k = rectifier(t, neighbors, 1.0, 0.05)
    assert (k.diagonal(dim1=1, dim2=2) == 1).all()
    torch.testing.assert_close(k[:, 1:].sum(dim=-1), torch.full((2, 5), 2.0))
    count = min(neighbors, 4)
    assert ((k[:, 1:, 1:] != 0).sum(dim=-1) == 1 + count).all()


def test_block_is_the_formula(one):
    """Y = W X + K M K X at both targets, token mixing before and after M."""
    taps = one.taps("most", blocks=2, neighbors=2, smoothing=0.7)
    torch.manual_seed(1)
    start = Tokens(x=one.tokens.x, centers=torch.randn(2, 5, 3), pos=one.tokens.pos)
    whole = taps.tokens_in(start, None)
    k = rectifier(start, 2, 0.7, 0.05)
    torch.testing.assert_close(whole.rectify, k @ k)
    bound, source = taps.blocks[0].bound(whole), torch.randn(2, 6, 12)
    for name, width in (("qkv", 36), ("fc1", 48)):
        y = torch.randn(2, 6, width)
        m = taps.blocks[0].increments[name]
        torch.testing.assert_close(getattr(bound, name)(y, source), y + k @ m(k @ source))
    assert bound.proj(source, source) is source


def test_without_neighbours_it_is_an_increment_of_the_weights(one):
    targets = ("qkv", "proj", "fc1", "fc2")
    taps = one.taps("most", blocks=2, neighbors=0, targets=targets)
    assert taps.tokens_in(one.tokens, None) is one.tokens
    block = one.copy()
    layers = (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2)
    for name, layer in zip(targets, layers, strict=True):
        layer.weight += taps.blocks[0].increments[name].dense().float()
    torch.testing.assert_close(one.run(taps.blocks[0]), one.run(block=block))
    assert not torch.allclose(one.run(taps.blocks[0]), one.run())


def test_options_are_checked():
    with pytest.raises(UnknownNameError, match="fc1"):
        make_method("most", {"targets": "fc"})
    for options in ({"targets": ""}, {"blocks": 0}, {"neighbors": -1}, {"epsilon": 0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            make_method("most", options)
