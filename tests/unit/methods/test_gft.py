"""GFT against its formulas, worked out cloud by cloud and edge by edge."""

import pytest
import torch
import torch.nn.functional as F
from small_networks import small_vit

from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones import BlockTaps
from pointadapt.backbones.point_vit import PointViT, PointViTConfig
from pointadapt.core.errors import ConfigError
from pointadapt.methods import make_method
from pointadapt.methods.gft import GftBlockTaps
from pointadapt.tasks import make_task

SIZES = {"tokens": 2, "width": 5, "neighbors": 3, "rank": 4}


def model_of(net, **options):
    torch.manual_seed(1)
    method = make_method("gft", {**SIZES, **options})
    return PointModel(net, Adapter(net, method, make_task("classification"), tuple("abcd")))


def tuned(net, **options):
    """A model whose cross-attentions add something, in evaluation mode."""
    model = model_of(net, **options).eval()
    for block in model.adapter.taps.blocks:
        if isinstance(block, GftBlockTaps):
            torch.nn.init.normal_(block.out.weight)
    return model


def level(conv, x, k):
    """An EdgeConv of one cloud (G, C), edge by edge."""
    rows = []
    for own in x:
        near = (x - own).norm(dim=1).argsort()[:k]
        edges = torch.stack([torch.cat([own, x[j] - own]) for j in near])
        rows.append(F.leaky_relu(conv.norm(conv.linear(edges)), 0.2).amax(dim=0))
    return torch.stack(rows)


def look(own, x, graph):
    """softmax(Q Kᵀ / √r) V W_out of tokens (T, D)."""
    normed = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    scores = normed @ own.query.weight.T @ (graph @ own.key.weight.T).T
    weights = (scores / own.query.weight.shape[0] ** 0.5).softmax(dim=1)
    return weights @ (graph @ own.value.weight.T) @ own.out.weight.T


def by_hand(net, taps, cloud, at):
    """The features of one cloud (1 + P + G, D); block ``at[l]`` looks at level l."""
    patches = net.patches(cloud[None], net.config.groups, net.config.group_size)
    pyramid, g = [], patches.x[0]
    for conv in taps.graph:
        g = level(conv, g, taps.graph.neighbors)
        pyramid.append(g)
    x = torch.cat([net.cls_token[0], taps.prompts, patches.x[0]])
    pos = torch.cat([net.cls_pos[0], torch.zeros_like(taps.prompts), patches.pos[0]])
    for i, block in enumerate(net.blocks):
        x = x + pos
        if i in at:
            x = x + look(taps.blocks[i], x, pyramid[at.index(i)])
        x = x + block.attn(block.norm1(x)[None], BlockTaps())[0]
        x = x + block.mlp(block.norm2(x)[None], BlockTaps())[0]
    return net.norm(x)


@pytest.mark.parametrize(
    ("depth", "layers", "at"), [(4, 4, [0, 1, 2, 3]), (4, 2, [1, 3]), (5, 3, [0, 2, 4])]
)
def test_the_formulas(depth, layers, at, toy_batch):
    net = small_vit(depth)
    taps, points = tuned(net, layers=layers).adapter.taps, toy_batch[0][:2]
    with torch.no_grad():
        tokens = net.eval()(points, taps)
        want = torch.stack([by_hand(net, taps, cloud, at) for cloud in points])
    torch.testing.assert_close(tokens.x, want, atol=2e-5, rtol=1e-4)
    assert (tokens.prefix, tokens.prompts) == (1, 2)


def test_each_level_enters_once_far_apart():
    taps = make_method("gft").attach(PointViT(PointViTConfig(dim=12, heads=2)))
    found = {i: b.level for i, b in enumerate(taps.blocks) if isinstance(b, GftBlockTaps)}
    assert found == {2: 0, 5: 1, 8: 2, 11: 3}


def test_no_more_levels_than_blocks(one):
    taps = one.taps("gft", **SIZES)
    assert len(taps.graph) == 2
    assert [block.level for block in taps.blocks] == [0, 1]


@torch.no_grad()
def test_without_prompts_it_starts_as_the_frozen_network(toy_batch):
    net, points = small_vit().eval(), toy_batch[0]
    bare = model_of(net, tokens=0).eval()
    assert torch.equal(net(points, bare.adapter.taps).x, net(points).x)
    moved = tuned(net, tokens=0)
    assert not torch.equal(net(points, moved.adapter.taps).x, net(points).x)


@torch.no_grad()
def test_at_the_start_prompts_alone_make_a_difference(toy_batch):
    net, points = small_vit().eval(), toy_batch[0]
    taps = model_of(net).eval().adapter.taps
    vpt = make_method("vpt", {"deep": False, "tokens": 2}).attach(net)
    vpt.blocks[0].prompts.copy_(taps.prompts)
    assert torch.equal(net(points, taps).x, net(points, vpt).x)


def test_gradients_reach_all_parameters_once_the_last_projection_moved(toy_batch):
    model = tuned(small_vit()).train()
    model.adapter.task.loss(model(toy_batch[0]), toy_batch[1]).backward()
    still = [
        n for n, p in model.adapter.taps.named_parameters() if p.grad is None or not p.grad.any()
    ]
    assert not still
    assert all(p.grad is None for n, p in model.backbone.named_parameters() if "cls_" not in n)


def test_a_step_moves_the_last_projection_from_zero(toy_batch):
    model = model_of(small_vit()).train()
    model.adapter.task.loss(model(toy_batch[0]), toy_batch[1]).backward()
    for block in model.adapter.taps.blocks:
        assert not block.out.weight.any()
        assert block.out.weight.grad.any()


def test_parts_of_the_published_size():
    """EdgeConvs 2 C w + 2 w, cross-attentions 2 D r + 2 w r, 10 prompts."""
    with torch.device("meta"):
        taps = make_method("gft").attach(PointViT(PointViT.sizes["small"]))
    sizes = [sum(p.numel() for p in conv.parameters()) for conv in taps.graph]
    assert sizes == [2 * 384 * 128 + 256, *3 * [2 * 128 * 128 + 256]]
    looks = [sum(p.numel() for p in block.parameters()) for block in taps.blocks]
    assert sum(looks) == 4 * (2 * 384 * 64 + 2 * 128 * 64)
    assert taps.prompts.numel() == 3_840


@pytest.mark.parametrize(
    "options", [{"tokens": -1}, {"layers": 0}, {"width": 0}, {"neighbors": 0}, {"rank": 0}]
)
def test_sizes_are_checked(options):
    with pytest.raises(ConfigError, match="at least"):
        make_method("gft", options)
