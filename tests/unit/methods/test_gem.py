"""GEM against its formulas, worked out voxel by voxel, and its published size."""

import pytest
import torch
from voxel_clouds import cloud, joined

from pointadapt.backbones import BlockTaps
from pointadapt.backbones.voxel.config import PTv3Config
from pointadapt.backbones.voxel.levels import first_level
from pointadapt.backbones.voxel.network import PTv3
from pointadapt.backbones.voxel.sizes import SIZES
from pointadapt.core.errors import ConfigError
from pointadapt.methods import make_method
from pointadapt.methods.gem import CELLS, patch_neighbors
from pointadapt.methods.staged import attach_by_stage

CONFIG = PTv3Config(
    in_channels=4, depths=(1, 2), channels=(12, 24), heads=(2, 3), patch_sizes=(16, 16),
    decoder_depths=(1,), decoder_channels=(18,), decoder_heads=(2,), decoder_patch_sizes=(16,),
)  # fmt: skip


def tuned(net, **options):
    """Taps whose layers that begin as zeros are random."""
    torch.manual_seed(2)
    taps = attach_by_stage(make_method("gem", {"rank": 5, "latents": 3, **options}), net)
    for stage in taps:
        for block in stage.blocks:
            for layer in (getattr(block, "up", None), getattr(block, "out", None)):
                if layer is not None:
                    torch.nn.init.normal_(layer.weight)
    return taps


def spatial(own, x, grid):
    """ReLU(Σ over neighbours of (x W_down) W_i) W_up, voxel by voxel."""
    rows = {tuple(g): i for i, g in enumerate(grid.tolist())}
    narrow = x @ own.down.weight.T
    out = torch.zeros_like(narrow)
    for (a, b, c), row in rows.items():
        for i in range(3):
            for j in range(3):
                for k in range(3):
                    other = rows.get((a + i - 1, b + j - 1, c + k - 1))
                    if other is not None:
                        out[row] += own.local[:, i, j, k] @ narrow[other]
    return out.clamp(min=0) @ own.up.weight.T


def context(own, x, latents):
    """What the points read of the latent tokens, and these after they looked at the points."""
    keys = x @ own.look.weight.T
    latents = latents + (latents @ keys.T / 5**0.5).softmax(dim=1) @ keys
    share = (x @ own.query.weight.T @ latents.T / 5**0.5).softmax(dim=1)
    return share @ latents @ own.out.weight.T, latents


def by_hand(stage, own_stage, x, level, latents):
    for j, (block, own) in enumerate(zip(stage.blocks, own_stage.blocks, strict=True)):
        x = x + block.cpe(x, level) + spatial(own, x, level.grid)
        normed = block.norm1(x)
        more, latents = context(own, normed, latents)
        x = x + block.attn(normed[None], level, j, BlockTaps())[0] + more
        x = x + block.mlp(block.norm2(x)[None], BlockTaps())[0]
    return x, latents


def test_the_formulas_and_latent_tokens_go_through_all_stages():
    torch.manual_seed(1)
    net, voxels = PTv3(CONFIG).eval(), cloud(0, 5)
    taps = tuned(net)
    found = net(voxels, taps)
    level = first_level(voxels)
    x, latents = by_hand(
        net.stages[0], taps[0], net.stem(voxels.features, level), level, taps[0].blocks[0].latents
    )
    torch.testing.assert_close(found.features[0], x, atol=2e-5, rtol=1e-4)
    coarse = net.coarser(level, lambda: torch.arange(4))
    x, _ = by_hand(net.stages[1], taps[1], net.stages[1].down(x, coarse.pool), coarse, latents)
    torch.testing.assert_close(found.features[1], x, atol=5e-5, rtol=1e-4)


def test_a_cloud_is_alone_in_its_batch():
    torch.manual_seed(1)
    net = PTv3(CONFIG).eval()
    taps, one, two = tuned(net), cloud(0, 5), cloud(1, 5)
    alone = net(one, taps).decoded
    torch.testing.assert_close(
        net(joined(one, two), taps).decoded[: len(one.grid)], alone, atol=2e-5, rtol=1e-4
    )


def test_published_size_on_sonata():
    with torch.device("meta"):
        taps = attach_by_stage(make_method("gem"), PTv3(SIZES["sonata"]))
    sizes = {name: p.numel() for name, p in taps.named_parameters()}
    ends = ("down.weight", "up.weight", "local")
    near = sum(n for name, n in sizes.items() if name.endswith(ends))
    whole = sum(sizes.values())
    assert near == 1_121_280
    assert whole == 1_808_000
    backbone = 108_461_328
    assert round(100 * near / (backbone + near), 1) == 1.0
    assert round(100 * (whole - near) / (backbone + whole - near), 1) == 0.6
    assert round(100 * whole / (backbone + whole), 1) == 1.6
    assert [name for name in sizes if name.endswith("latents")] == ["0.blocks.0.latents"]


def test_the_decoder_stays_as_it_is():
    assert not list(tuned(PTv3(CONFIG))[2].parameters())


def test_patches_are_neighbours_on_a_grid_of_their_own_cloud():
    step = 1 / CELLS
    line = torch.tensor([[0.0, 0, 0], [1.01 * step, 0, 0], [3.5 * step, 0, 0], [1, 0, 0]])
    found = patch_neighbors(torch.stack([line, line + 5]))
    pairs = {(int(a), int(b)) for p, q in found.pairs for a, b in zip(p, q, strict=True)}
    assert {frozenset(pair) for pair in pairs} == {frozenset((0, 1)), frozenset((4, 5))}


@pytest.mark.parametrize("options", [{"rank": 0}, {"latents": 0}])
def test_sizes_from_one(options):
    with pytest.raises(ConfigError, match="at least 1"):
        make_method("gem", options)
