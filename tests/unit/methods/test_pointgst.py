import pytest
import torch
import torch.nn.functional as F

from pointadapt.backbones import BlockTaps
from pointadapt.core.errors import ConfigError
from pointadapt.methods.pointgst import graph_basis, z_order


@pytest.fixture
def taps(one):
    """Taps for 6 patches in parts of 3, every parameter random."""

    def make(**options):
        one.backbone.config = type(one.backbone.config)(dim=12, depth=2, heads=2, groups=6)
        return one.taps("pointgst", rank=4, local=3, **options)

    return make


def test_basis_diagonalises_the_laplacian():
    torch.manual_seed(0)
    centers = torch.randn(7, 3, dtype=torch.float64)
    u = graph_basis(centers).double()
    weight = 1 / torch.cdist(centers, centers).fill_diagonal_(torch.inf)
    laplacian = torch.diag(weight.sum(dim=1)) - weight
    found = u.T @ laplacian @ u
    values = found.diagonal()
    torch.testing.assert_close(found, torch.diag(values), atol=1e-4, rtol=0)
    assert values.diff().gt(0).all()
    torch.testing.assert_close(u.T @ u, torch.eye(7, dtype=u.dtype), atol=1e-5, rtol=0)
    torch.testing.assert_close(u[:, 0], torch.full_like(u[:, 0], 7**-0.5), atol=1e-5, rtol=0)
    assert u.gather(0, u.abs().argmax(dim=0, keepdim=True)).gt(0).all()


def test_basis_does_not_depend_on_size_or_on_other_clouds():
    torch.manual_seed(0)
    centers = torch.randn(3, 7, 3)
    alone = graph_basis(centers[1:2])
    torch.testing.assert_close(graph_basis(centers)[1:2], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(graph_basis(4 * centers[1:2]), alone, atol=1e-4, rtol=0)


def test_nodes_at_one_place_give_a_basis():
    centers = torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 0, 0], [3, 0, 0]])
    for points in (centers, torch.zeros(4, 3)):
        u = graph_basis(points)
        torch.testing.assert_close(u.T @ u, torch.eye(4), atol=1e-5, rtol=0)


def test_z_order_interleaves_bits():
    cells = [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0], [-1, 0, 0], [1, 1, 1], [0, 0, 2]]
    cells = torch.tensor(cells)
    centers = (cells / 100 + 0.001 * cells.sign()).unsqueeze(0)
    # keys: z 1, y 4, x 2, 0, all of x's bits, 7, z's second bit 8
    assert z_order(centers, 100.0)[0].tolist() == [3, 0, 2, 1, 5, 6, 4]


@pytest.mark.parametrize("transform", ["released", "fourier"])
def test_block_is_the_formula(one, taps, transform):
    torch.manual_seed(2)
    taps = taps(transform=transform, scale=0.5)
    centers = torch.randn(2, 6, 3)
    x = torch.randn(2, 7, 12)
    adapter = taps.blocks[0].adapter
    out = adapter(x, taps.bases(centers))
    for b in range(2):
        z = adapter.down(x[b])

        def changed(v, nodes, norm):
            u = graph_basis(nodes)
            u = u.T if transform == "fourier" else u
            spectrum = u @ v
            return u.T @ (spectrum + F.silu(adapter.adapt(norm(spectrum))))

        h = F.silu(z)
        h[1:] += changed(z[1:], centers[b], adapter.norm_whole)
        order = z_order(centers[b : b + 1], 100.0)[0]
        for part in order.split(3):
            h[1 + part] += changed(z[1:][part], centers[b][part], adapter.norm_parts)
        torch.testing.assert_close(out[b], adapter.up(h) * 0.5, atol=1e-5, rtol=1e-5)


def test_adapter_is_added_after_the_mlp(one, taps):
    taps = taps()
    one.tokens = type(one.tokens)(x=torch.randn(2, 7, 12), centers=torch.randn(2, 6, 3), pos=0)
    one.tokens = taps.tokens_in(one.tokens, None)
    plain = one.run()
    h = one.tokens.x + one.block.attn(one.block.norm1(one.tokens.x), BlockTaps())
    expected = plain + taps.blocks[0].adapter(h, one.tokens.context)
    torch.testing.assert_close(one.run(taps.blocks[0]), expected)


def test_parts_must_divide_the_patches(one):
    one.backbone.config = type(one.backbone.config)(dim=12, depth=2, heads=2, groups=10)
    with pytest.raises(ConfigError, match="local=4 does not divide the backbone's 10 patches"):
        one.taps("pointgst", local=4)
