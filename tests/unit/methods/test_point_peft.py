import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pointadapt.adapters import folder as adapter_folder
from pointadapt.backbones import Taps
from pointadapt.core.config import TrainConfig
from pointadapt.core.errors import ConfigError
from pointadapt.core.tensors import read_safetensors
from pointadapt.methods import make_method
from pointadapt.methods.training_clouds import TrainingClouds
from pointadapt.pretrained.load import load_backbone
from pointadapt.training.setup import build_model, load_clouds, show_clouds
from pointadapt.training.trainer import train

SMALL = {"prompts": 3, "bank": 6, "rank": 4, "neighbors": 2}


@pytest.fixture
def clouds():
    """Ten clouds of 80 points, neither at the origin nor of unit size."""
    points = np.random.default_rng(0).normal(2, 3, (10, 80, 3)).astype(np.float32)
    return TrainingClouds(points, 64, seed=1)


@pytest.fixture
def net(bare_backbone):
    return load_backbone(bare_backbone("point_vit")).eval().requires_grad_(False)


def prepared(net, clouds, **options):
    method = make_method("point_peft", {**SMALL, **options})
    torch.manual_seed(0)
    taps = method.attach(net).requires_grad_(False).eval()
    method.prepare(taps, net, clouds)
    return taps


# ---- prompts


def test_prompts_move_towards_rows_that_are_like_them(one):
    taps = one.taps("point_peft", **SMALL, temperature=0.2, strength=0.7)
    taps.bank.normal_()
    taps.rows.fill_(4)  # the other two do not count
    out = taps.enhanced()
    for block, prompts in enumerate(taps.prompts):
        for i, prompt in enumerate(prompts):
            like = torch.stack([F.cosine_similarity(prompt, row, dim=0) for row in taps.bank[:4]])
            expected = prompt + 0.7 * (like / 0.2).softmax(dim=0) @ taps.bank[:4]
            torch.testing.assert_close(out[block, i], expected)


@pytest.mark.parametrize("bank", [0, 6])
def test_without_clouds_prompts_are_as_learned(one, bank):
    taps = one.taps("point_peft", **{**SMALL, "bank": bank})
    assert torch.equal(taps.enhanced(), taps.prompts)


def test_an_empty_bank_lets_gradients_through(one):
    taps = one.taps("point_peft", **SMALL).requires_grad_(True)
    taps.enhanced().sum().backward()
    assert torch.equal(taps.prompts.grad, torch.ones_like(taps.prompts))


@pytest.mark.parametrize(("depth", "counts"), [(1, [3, 0]), (2, [3, 3]), (12, [3, 3])])
def test_the_first_blocks_alone_have_prompts(one, depth, counts):
    taps = one.taps("point_peft", **SMALL, depth=depth)
    tokens = taps.tokens_in(one.tokens, None)
    assert tokens.prompts == 0
    for block, count in zip(taps.blocks, counts, strict=True):
        tokens = block.block_in(tokens)
        assert tokens.prompts == count
        if count:
            expected = tokens.context.prompts[block.number]
            assert torch.equal(tokens.x[1, 1 : 1 + count], expected)
        tokens = block.block_out(tokens, None)
        assert tokens.patches.shape == one.tokens.patches.shape


# ---- the adapter


@pytest.mark.parametrize("norm", [True, False])
def test_adapter_is_the_formula(one, norm):
    torch.manual_seed(2)
    taps = one.taps("point_peft", **SMALL, centers=0.6, scale=1.5, norm=norm)
    one.tokens.centers = torch.randn(2, 5, 3)
    adapter, tokens = taps.blocks[0].adapter, taps.tokens_in(one.tokens, None)
    out = adapter(one.tokens.x, tokens.context)
    for b in range(2):
        at, x = one.tokens.centers[b], one.tokens.x[b]
        if norm:
            x = F.layer_norm(x, (12,)) * adapter.norm.weight + adapter.norm.bias
        z = adapter.down(x)
        seeds = [0]  # farthest point sampling by hand: round(.6 · 5) = 3 centres
        while len(seeds) < 3:
            seeds.append(int(torch.cdist(at, at[seeds]).amin(dim=1).argmax()))
        pooled = []
        for seed in seeds:
            near = (at - at[seed]).norm(dim=1).argsort()[:2]
            q, k, v = adapter.qkv(z[1:][near]).chunk(3, dim=1)
            pooled.append(((q @ k.T / 2).softmax(dim=1) @ v).amax(dim=0))  # 2 = √r
        assert torch.equal(tokens.context.near[b, :, 0], torch.tensor(seeds))
        weights = 1 / ((at[:, None] - at[seeds]).square().sum(dim=2) + 1e-8)
        weights = weights / weights.sum(dim=1, keepdim=True)
        z = torch.cat([z[:1], z[1:] + weights @ torch.stack(pooled)])
        torch.testing.assert_close(out[b], 1.5 * adapter.up(F.gelu(z)))


def test_only_the_three_nearest_centres_reach_a_patch(one):
    taps = one.taps("point_peft", **SMALL, centers=1.0)
    _, weights = taps.neighbors(torch.randn(2, 5, 3))
    assert weights.shape == (2, 5, 5)
    assert ((weights > 0).sum(dim=2) == 3).all()
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 5))


def test_neighbours_are_all_patches_where_there_are_fewer(one):
    near, _ = one.taps("point_peft", **{**SMALL, "neighbors": 99}).neighbors(torch.randn(2, 5, 3))
    assert near.shape == (2, 2, 5)


@pytest.mark.parametrize("placement", ["serial", "parallel"])
def test_place_in_the_block(one, placement):
    taps = one.taps("point_peft", **SMALL, placement=placement)
    tokens = taps.tokens_in(one.tokens, None)
    block, empty = taps.blocks[0], copy.deepcopy(taps.blocks[0])
    torch.nn.init.zeros_(empty.adapter.up.weight)
    torch.nn.init.zeros_(empty.adapter.up.bias)
    plain = one.block(tokens, empty).x
    if placement == "serial":
        expected = plain + block.adapter(plain, tokens.context)
    else:
        x = block.block_in(tokens).x
        x = x + one.block.attn(one.block.norm1(x), empty)
        expected = plain + block.adapter(x, tokens.context)
    torch.testing.assert_close(one.block(tokens, block).x, expected)


# ---- the bank


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_rows_are_pooled_patches_of_the_backbone_alone(net, clouds, pool):
    taps = prepared(net, clouds, bank=12, pool=pool)
    points = clouds.batch(torch.arange(10))
    assert points.shape == (10, 64, 3)
    torch.testing.assert_close(points.norm(dim=2).amax(dim=1), torch.ones(10), rtol=0, atol=0.2)
    patches = net(points, Taps(net.config.depth)).patches
    expected = patches.mean(dim=1) if pool == "mean" else patches.amax(dim=1)
    assert int(taps.rows) == 10
    torch.testing.assert_close(taps.bank[:10], expected)
    assert not taps.bank[10:].any()


def test_of_more_clouds_some_are_drawn_by_the_seed(net, clouds):
    every = prepared(net, clouds, bank=10).bank
    first, again = prepared(net, clouds), prepared(net, clouds)
    other = prepared(net, replace(clouds, seed=2))
    assert int(first.rows) == len(first.bank) == 6
    assert torch.equal(first.bank, again.bank)
    assert not torch.equal(first.bank, other.bank)
    distance = torch.cdist(first.bank, every)
    assert distance.amin(dim=1).max() < 1e-4
    assert distance.argmin(dim=1).unique().numel() == 6  # no cloud twice


def test_preparing_leaves_all_else_as_it_was(config):
    model = build_model(config, ("a", "b", "c", "d")).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    show_clouds(model, load_clouds(config)[0], config)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"adapters.default.taps.bank", "adapters.default.taps.rows"}
    assert model.training


@pytest.fixture
def config(tmp_path, toy_root, bare_backbone):
    return TrainConfig(
        out=tmp_path / "run", data="folder", root=toy_root, points=64, epochs=1, batch_size=8,
        backbone=str(bare_backbone("point_vit")), method="point_peft", options=("rank=4", "bank=8"),
        task_options=("hidden=16",), tensorboard=False, threads=1,
    )  # fmt: skip


def test_training_fills_the_bank_and_the_adapter_keeps_it(config):
    train(config)
    saved = read_safetensors(config.out / "adapter" / adapter_folder.WEIGHTS)
    model = build_model(config, ("a", "b", "c", "d"))
    show_clouds(model, load_clouds(config)[0], config)
    assert int(saved["taps.rows"]) == 8
    assert saved["taps.bank"].any()
    assert torch.equal(saved["taps.bank"], model.adapter.taps.bank)
    assert torch.equal(
        adapter_folder.load(config.out / "adapter").adapter.taps.bank, saved["taps.bank"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"centers": 0.0}, r"centers must be in \(0, 1\], not 0.0"),
        ({"centers": 1.5}, "centers must be in"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"bank": -1}, "bank must be at least 0"),
        ({"prompts": 0}, "prompts must be at least 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=message):
        make_method("point_peft", options)


def test_a_bank_without_rows_or_clouds_stays_empty(net, clouds):
    nothing = TrainingClouds(np.zeros((0, 64, 3), np.float32), 64)
    for taps in (prepared(net, clouds, bank=0), prepared(net, nothing)):
        assert int(taps.rows) == 0
        assert torch.equal(taps.enhanced(), taps.prompts)
