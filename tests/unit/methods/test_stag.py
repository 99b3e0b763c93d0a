"""STAG against the steps of its release, and what it spares the backward."""

import pytest
import torch
import torch.nn.functional as F

from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones import BlockTaps
from pointadapt.backbones.point_vit import PointViT, PointViTConfig
from pointadapt.core.errors import ConfigError
from pointadapt.methods import make_method
from pointadapt.methods.stag import SideGraph
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

DEPTH = 4
SL = {"adapted": 0.75, "down_sets": 2, "graph_sets": 3}


def network(depth=DEPTH, dim=12, groups=6):
    config = PointViTConfig(
        dim=dim, depth=depth, heads=2, groups=groups, group_size=4, encoder_widths=(8, 8, 8)
    )
    torch.manual_seed(0)
    return PointViT(config).seal()


def model_of(net, name, **options):
    torch.manual_seed(1)
    method, task = make_method(name, options), make_task("classification", {"hidden": 0})
    return PointModel(net, Adapter(net, method, task, tuple("abcd")))


def edge_conv(graph, z, centers, k):
    """An EdgeConv of one cloud as the release has it: every pair, then the largest."""
    near = (centers[:, None] - centers[None]).norm(dim=-1).argsort(dim=1, stable=True)[:, :k]
    pairs = graph.center(z)[:, None] + graph.neighbor(z)[near]
    return graph.mix(pairs.amax(dim=1))


def released(net, adapter, cloud, sets, first, k, once=False):
    """The features of one cloud (1 + G, D) before any last LayerNorm, written out again.

    ``sets`` are which W_d each block takes, and which of the other sets.
    """
    side = adapter.taps.side
    patches = net.patches(cloud[None], net.config.groups, net.config.group_size)
    x, pos = (torch.cat([a[0], b[0]]) for a, b in (
        (net.cls_token, patches.x), (net.cls_pos, patches.pos)))  # fmt: skip
    x, z = x + pos if once else x, 0
    for i, block in enumerate(net.blocks):
        z = z + side.down[sets[0][i]](x[1:])
        h = x if once else x + pos
        h = h + block.attn(block.norm1(h)[None], BlockTaps())[0]
        x = h + block.mlp(block.norm2(h)[None], BlockTaps())[0]
        if i >= first:
            graph = side.graph[sets[1][i - first]]
            z = edge_conv(graph, z, patches.centers[0], k)
            d = F.relu(graph.up(z))
            x = x + torch.cat([d.mean(dim=0, keepdim=True), d])
    return x


@pytest.mark.parametrize(
    ("options", "sets", "first"),
    [
        ({}, ([0, 0, 0, 0], [0, 0]), 2),
        (SL, ([0, 0, 1, 1], [0, 1, 2]), 1),
        ({"position": "once"}, ([0, 0, 0, 0], [0, 0]), 2),
        ({"adapted": 0.01}, ([0, 0, 0, 0], [0]), 3),
    ],
    ids=["std", "sl", "once", "one block"],
)
def test_logits_and_gradients_are_those_of_the_released_steps(options, sets, first, toy_batch):
    model = model_of(network(), "stag", rank=5, neighbors=3, **options).eval()
    adapter, points = model.adapter, toy_batch[0][:3]
    once = options.get("position") == "once"
    features = [released(model.backbone, adapter, c, sets, first, 3, once) for c in points]
    want = adapter.head.layers(torch.stack([x[1:].mean(dim=0) for x in features]))
    logits, weights = model(points), torch.randn(3, 4)
    torch.testing.assert_close(logits, want, atol=1e-4, rtol=1e-4)
    trained = [p for p in model.parameters() if p.requires_grad]
    got, expected = (torch.autograd.grad((y * weights).sum(), trained) for y in (logits, want))
    for one, other in zip(got, expected, strict=True):
        assert other.norm() > 0
        assert (one - other).norm() <= 1e-3 * other.norm() + 1e-6


def test_cls_moves_by_the_mean_and_the_last_norm_is_an_option(toy_batch):
    points, net = toy_batch[0][:2], network()
    plain, normed = (model_of(net, "stag", rank=5, last_norm=n).eval() for n in (False, True))
    tokens = net(points, plain.adapter.taps)
    want = released(net, plain.adapter, points[0], ([0] * 4, [0] * 2), 2, 8)
    torch.testing.assert_close(tokens.x[0], want, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(net.norm(tokens.x), net(points, normed.adapter.taps).x)


def test_every_token_before_the_patches_moves_as_cls(bare_backbone, toy_batch):
    """ReCon has three of them."""
    net = load_backbone(bare_backbone("recon")).eval()
    model = model_of(net, "stag", adapted=0.01).eval()
    moved, still = net(toy_batch[0], model.adapter.taps), net(toy_batch[0])
    assert moved.prefix == 3
    model.adapter.taps.last_norm = True
    torch.testing.assert_close(net(toy_batch[0], model.adapter.taps).x, net.norm(moved.x))
    for parameter in model.adapter.taps.side.graph[0].up.parameters():
        torch.nn.init.zeros_(parameter)
    resting = net(toy_batch[0], model.adapter.taps)
    torch.testing.assert_close(resting.x, still.x)
    model.adapter.taps.last_norm = False
    moves = moved.x - net(toy_batch[0], model.adapter.taps).x
    torch.testing.assert_close(moves[:, :3], moves[:, 3:].mean(1, keepdim=True).expand(-1, 3, -1))


def test_a_patch_hears_of_its_neighbours_alone():
    torch.manual_seed(0)
    graph, z = SideGraph(6, 4), torch.randn(1, 4, 4)
    near = torch.tensor([[[0, 1], [1, 0], [2, 1], [3, 2]]])
    changed = z.clone()
    changed[0, 1] += 100  # so that it is the largest, or the smallest, in every channel
    before, after = graph(z, near)[0], graph(changed, near)[0]
    assert [not torch.equal(*pair) for pair in zip(before[0], after[0], strict=True)] == [
        True, True, True, False,
    ]  # fmt: skip


def saved(model, batch):
    """Bytes that the backward of one training step needs, parameters apart, each memory once."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    model.train()
    model.keep = "all"  # else hooks of its own keep DAPT's share
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model.adapter.task.loss(model(batch[0]), batch[1])
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


def test_keeps_less_than_half_of_what_dapt_keeps(toy_batch):
    kept = []
    for name, rank in (("stag", 24), ("dapt", 8)):  # each rank as large a share as by default
        kept.append(
            saved(model_of(network(depth=12, dim=48, groups=16), name, rank=rank), toy_batch)
        )
    assert 0 < kept[0] < 0.5 * kept[1]


@pytest.mark.parametrize(("adapted", "untouched"), [(0.5, 7), (0.01, 12)])
def test_no_gradient_enters_the_blocks_before_the_first_displacement(adapted, untouched, toy_batch):
    model = model_of(network(depth=12), "stag", rank=5, adapted=adapted).train()
    entering = []
    for block in model.backbone.blocks:
        block.register_forward_pre_hook(lambda _, a: entering.append(a[0].x.requires_grad))
    model(toy_batch[0]).sum().backward()
    assert entering == [False] * untouched + [True] * (12 - untouched)
    assert all(p.grad is None for p in model.backbone.parameters())


@pytest.mark.parametrize("adapted", [0.0, 1.5, -1.0])
def test_the_share_of_blocks_is_checked(adapted):
    with pytest.raises(ConfigError, match=r"adapted must be in \(0, 1\]"):
        make_method("stag", {"adapted": adapted})
