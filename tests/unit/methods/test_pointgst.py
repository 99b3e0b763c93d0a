import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones import BlockTaps
from pointadapt.core.errors import ConfigError
from pointadapt.methods import make_method
from pointadapt.methods.pointgst import graph_basis, z_order
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task


@pytest.fixture
def taps(one):
    """Taps for 6 patches in parts of 3, every parameter random."""

    def make(**options):
        one.backbone.config = type(one.backbone.config)(dim=12, depth=2, heads=2, groups=6)
        return one.taps("pointgst", rank=4, local=3, **options)

    return make


def released_basis(nodes, unit, laplacian="normalised"):
    """Of one graph, in float64; ``unit`` is the smallest distance. The sign is this library's."""
    n = len(nodes)
    distance = np.linalg.norm(nodes[:, None] - nodes[None], axis=-1)
    weight = 1 / (distance / unit + np.eye(n))
    degree = weight.sum(axis=1)
    matrix = np.diag(degree) - weight
    if laplacian == "normalised":
        root = np.diag(1 / np.sqrt(degree + 1e-6))
        matrix = np.eye(n) - root @ weight @ root
    _, u = np.linalg.eigh(matrix)
    return u * np.sign(u[np.abs(u).argmax(axis=0), np.arange(n)])


def smallest(*graphs):
    """The smallest distance of two nodes of one graph."""
    each = (np.linalg.norm(g[:, None] - g[None], axis=-1) for g in graphs)
    return min(d[d > 0].min() for d in each)


def of_cloud(nodes, laplacian="normalised"):
    found = released_basis(nodes.double().numpy(), smallest(nodes.double().numpy()), laplacian)
    return torch.from_numpy(found).float()


@pytest.mark.parametrize("laplacian", ["normalised", "unnormalised"])
def test_basis_is_the_released_one(laplacian):
    torch.manual_seed(0)
    centers = torch.randn(3, 7, 3)
    u = graph_basis(centers, laplacian)
    for i in range(3):
        torch.testing.assert_close(u[i], of_cloud(centers[i], laplacian), atol=1e-4, rtol=0)
        torch.testing.assert_close(u[i].T @ u[i], torch.eye(7), atol=1e-5, rtol=0)
    constant = torch.full((7,), 7**-0.5)
    same = torch.allclose(u[0, :, 0], constant, atol=1e-5)  # D - A has it in its kernel
    assert same == (laplacian == "unnormalised")


def test_small_graphs_of_a_cloud_share_its_unit():
    torch.manual_seed(0)
    parts = torch.randn(2, 3, 5, 3)
    u = graph_basis(parts)
    for b in range(2):
        graphs = parts[b].double().numpy()
        unit = smallest(*graphs)
        for part, nodes in zip(u[b], graphs, strict=True):
            want = torch.from_numpy(released_basis(nodes, unit)).float()
            torch.testing.assert_close(part, want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("laplacian", ["normalised", "unnormalised"])
def test_basis_does_not_depend_on_size_or_on_other_clouds(laplacian):
    torch.manual_seed(0)
    centers = torch.randn(3, 7, 3)
    centers[0] *= 1e-3
    alone = graph_basis(centers[1:2], laplacian)
    together = graph_basis(centers, laplacian)[1:2]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    larger = graph_basis(4 * centers[1:2], laplacian)
    torch.testing.assert_close(larger, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("laplacian", ["normalised", "unnormalised"])
def test_nodes_at_one_place_give_a_basis(laplacian):
    centers = torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 0, 0], [3, 0, 0]])
    for points in (centers, torch.zeros(4, 3)):
        (u,) = graph_basis(points[None], laplacian)
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

        def changed(v, nodes, norm, unit):
            u = torch.from_numpy(released_basis(nodes.double().numpy(), unit)).float()
            u = u.T if transform == "fourier" else u
            spectrum = u @ v
            return u.T @ (spectrum + F.silu(adapter.adapt(norm(spectrum))))

        h = F.silu(z)
        h[1:] += changed(z[1:], centers[b], adapter.norm_whole, smallest(centers[b].numpy()))
        parts = z_order(centers[b : b + 1], 100.0)[0].split(3)
        unit = smallest(*(centers[b][part].numpy() for part in parts))
        for part in parts:
            h[1 + part] += changed(z[1:][part], centers[b][part], adapter.norm_parts, unit)
        torch.testing.assert_close(out[b], adapter.up(h) * 0.5, atol=1e-4, rtol=1e-4)


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


@pytest.mark.parametrize("laplacian", ["normalised", "unnormalised"])
def test_logits_and_gradients_of_a_model_are_those_of_the_released_steps(
    laplacian, micro_backbone, toy_batch
):
    """Each cloud alone, as the released code has it for a batch of one; written out again here."""
    net = load_backbone(micro_backbone)
    torch.manual_seed(0)
    method = make_method("pointgst", {"rank": 5, "local": 4, "laplacian": laplacian})
    adapter = Adapter(net, method, make_task("classification", {"hidden": 0}), tuple("abcd"))
    model = PointModel(net, randomized(adapter)).eval()
    points = toy_batch[0][:3]
    weights = torch.randn(3, 4)
    trained = [p for p in model.parameters() if p.requires_grad]
    logits = model(points)
    want = torch.stack([released_logits(net, adapter, cloud, laplacian) for cloud in points])
    torch.testing.assert_close(logits, want, atol=1e-4, rtol=1e-4)
    got, expected = (torch.autograd.grad((x * weights).sum(), trained) for x in (logits, want))
    for one, other in zip(got, expected, strict=True):
        assert (one - other).norm() <= 1e-3 * other.norm() + 1e-6


def randomized(adapter):
    for parameter in adapter.taps.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return adapter


def released_logits(net, adapter, cloud, laplacian):
    patches = net.patches(cloud[None], net.config.groups, net.config.group_size)
    centers = patches.centers[0].double().numpy()
    order = z_order(patches.centers, 100.0)[0]
    parts = order.split(4)
    unit = smallest(*(centers[part] for part in parts))
    whole = of_cloud(patches.centers[0], laplacian)
    small = [
        torch.from_numpy(released_basis(centers[part], unit, laplacian)).float() for part in parts
    ]
    x, pos = (torch.cat([a[0], b[0]]) for a, b in (
        (net.cls_token, patches.x), (net.cls_pos, patches.pos)))  # fmt: skip
    for block, taps in zip(net.blocks, adapter.taps.blocks, strict=True):
        x = x + pos
        x = x + block.attn(block.norm1(x)[None], BlockTaps())[0]
        t = released_adapter(taps.adapter, x, whole, small, parts)
        hidden = F.gelu(F.linear(block.norm2(x), block.mlp.fc1.weight, block.mlp.fc1.bias))
        x = x + F.linear(hidden, block.mlp.fc2.weight, block.mlp.fc2.bias) + t
    x = net.norm(x)
    return adapter.head.layers(torch.cat([x[0], x[1:].amax(dim=0)])[None])[0]


def released_adapter(a, x, whole, small, parts):
    z = F.linear(x, a.down.weight, a.down.bias)
    h, v = F.silu(z), z[1:]
    spectrum = whole @ v
    changed = whole.T @ (spectrum + F.silu(a.adapt(a.norm_whole(spectrum))))
    local = torch.zeros_like(changed)
    for u, part in zip(small, parts, strict=True):
        spectrum = u @ v[part]
        local[part] = u.T @ (spectrum + F.silu(a.adapt(a.norm_parts(spectrum))))
    h = torch.cat([h[:1], h[1:] + changed + local])
    return F.linear(h, a.up.weight, a.up.bias)


def test_an_adapter_from_before_the_option_keeps_its_laplacian(micro_backbone, tmp_path):
    net = load_backbone(micro_backbone)
    adapter = Adapter(net, make_method("pointgst", {"local": 4}), make_task("classification"), "ab")
    adapter_folder.save_adapter(
        PointModel(net, adapter), tmp_path, backbone=str(micro_backbone), points=64
    )
    assert adapter_folder.load(tmp_path).adapter.method.laplacian == "normalised"
    config = json.loads((tmp_path / adapter_folder.CONFIG).read_text())
    del config["method_options"]["laplacian"]
    (tmp_path / adapter_folder.CONFIG).write_text(json.dumps(config))
    loaded = adapter_folder.load(tmp_path).adapter
    assert (loaded.method.laplacian, loaded.taps.laplacian) == ("unnormalised", "unnormalised")
