"""Methods on a network of several widths."""

import pytest
import torch
import torch.nn.functional as F

from pointadapt.backbones.voxel.config import PTv3Config
from pointadapt.backbones.voxel.levels import Voxels
from pointadapt.backbones.voxel.network import PTv3
from pointadapt.backbones.voxel.stages import StagedTaps, plain_taps, stage_views
from pointadapt.core.errors import ConfigError
from pointadapt.methods import make_method
from pointadapt.methods.staged import attach_by_stage, select_trainable

INSIDE = ("linear_probe", "bitfit", "norm", "lora", "adapter", "adaptformer", "ssf", "ia3", "fact",
          "prefix", "full")  # fmt: skip


def network(**more):
    torch.manual_seed(0)
    config = PTv3Config(
        in_channels=4, depths=(1, 2), channels=(12, 24), heads=(2, 3), patch_sizes=(16, 16),
        decoder_depths=(1,), decoder_channels=(18,), decoder_heads=(2,), decoder_patch_sizes=(16,),
        **more,
    )  # fmt: skip
    return PTv3(config).eval()


@pytest.fixture(scope="module")
def voxels():
    """Two clouds; which half of its cube a voxel is in is its label."""
    draw = torch.Generator().manual_seed(1)
    at = (torch.rand(2, 6, 6, 6, generator=draw) < 0.4).nonzero()
    grid, features = at[:, 1:], torch.randn(len(at), 4, generator=draw)
    return Voxels(grid, grid * 0.1, features, at[:, 0])


def test_stages_come_in_the_order_of_the_forward():
    views = stage_views(network())
    assert [view.name for view in views] == ["stages.0", "stages.1", "decoder.0"]
    sizes = [(v.config.dim, v.config.depth, v.config.heads, v.config.hidden) for v in views]
    assert sizes == [(12, 1, 2, 48), (24, 2, 3, 96), (18, 1, 2, 72)]


def test_taps_that_do_nothing_change_nothing(voxels):
    net = network()
    assert torch.equal(net(voxels).decoded, net(voxels, plain_taps(net)).decoded)


@pytest.mark.parametrize("name", INSIDE)
def test_a_method_trains_what_it_declares_at_every_width(name, voxels):
    net, method = network(), make_method(name)
    taps = attach_by_stage(method, net)
    chosen = select_trainable(method, net)
    if method.starts_as_pretrained:
        assert torch.equal(net(voxels, taps.eval()).decoded, net(voxels).decoded)
    head = torch.nn.Linear(18, 2)
    own = [p for p in net.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.Adam([*own, *taps.parameters(), *head.parameters()], lr=0.02)
    labels, losses = (voxels.grid[:, 0] > 2).long(), []
    for _ in range(4):
        optimizer.zero_grad()
        loss = F.cross_entropy(head(net(voxels, taps).decoded), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    moved = [
        key for (key, p), old in zip(net.named_parameters(), before, strict=True)
        if not torch.equal(p, old)
    ]  # fmt: skip
    assert set(moved) <= set(chosen)
    assert all(p.grad is not None for p in taps.parameters())
    assert bool(chosen) == (name in ("full", "bitfit", "norm", "adapter"))


def test_lora_has_the_sizes_of_each_stage():
    taps = attach_by_stage(make_method("lora", {"rank": 2, "targets": ("fc1",)}), network())
    # A and B of one increment of 2 (D + 4 D), times the stage's blocks
    assert [sum(p.numel() for p in t.parameters()) for t in taps] == [120, 480, 180]


def test_what_decides_the_operations_is_that_of_all_stages():
    taps = StagedTaps(attach_by_stage(make_method("ssf"), network())).train()
    began = taps.deciding()
    assert len(began) == 3 and all(part and all(part) for part in began)
    with torch.no_grad():
        for own in taps.stages:
            own.ss_out.gamma[0] = 0.01
    now = taps.train().deciding()
    assert [part.count(False) for part in now] == [1, 1, 1]
    taps.decide(began)
    assert taps.deciding() == began


@pytest.mark.parametrize("name", ["vpt", "idpt", "gaprompt", "pointgst", "most", "ppt", "dapt"])
def test_what_has_no_place_in_a_stage_says_so(name, voxels):
    net = network()
    with pytest.raises(ConfigError, match="inside blocks"):
        net(voxels, attach_by_stage(make_method(name), net))
