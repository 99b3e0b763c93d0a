"""PointTPA against the steps of its release, and its published size."""

import pytest
import torch
import torch.nn.functional as F
from voxel_clouds import cloud, joined

from pointadapt.backbones import BlockTaps
from pointadapt.backbones.voxel.config import PTv3Config
from pointadapt.backbones.voxel.levels import first_level
from pointadapt.backbones.voxel.network import PTv3
from pointadapt.backbones.voxel.sizes import SIZES
from pointadapt.core.errors import ConfigError
from pointadapt.methods import make_method
from pointadapt.methods.point_tpa import DynamicDown, patch_runs
from pointadapt.methods.staged import attach_by_stage
from pointadapt.ops.curves import cut_runs
from pointadapt.pretrained.load import load_backbone

CONFIG = PTv3Config(
    in_channels=4, depths=(2, 1), channels=(12, 24), heads=(2, 3), patch_sizes=(16, 16),
    decoder_depths=(1,), decoder_channels=(18,), decoder_heads=(2,), decoder_patch_sizes=(16,),
)  # fmt: skip


def released(layer, x, order, count):
    """Of one cloud: filled up with zeros, cut, a mean and a matrix for each piece, put back."""
    along = x[order]
    size = -(-len(x) // count)
    filled = F.pad(along, (0, 0, 0, size * count - len(x))).view(count, size, -1)
    hidden = F.relu(filled.mean(dim=1) @ layer.squeeze.weight.T)
    share = F.softmax((hidden @ layer.choose.weight.T + layer.choose.bias) / 4, dim=1)
    out = []
    for piece, part in zip(filled, share, strict=True):
        weight = sum(a * w for a, w in zip(part, layer.weight, strict=True))
        out.append(piece @ weight.T + part @ layer.bias)
    back = torch.empty(len(x), layer.weight.shape[1])
    back[order] = torch.cat(out)[: len(x)]
    return back


@pytest.mark.parametrize("count", [1, 4, 7, 500])
def test_each_run_has_its_own_weights(count):
    torch.manual_seed(0)
    layer, x, order = DynamicDown(12, 5, 3), torch.randn(50, 12), torch.randperm(50)
    torch.nn.init.normal_(layer.bias)
    runs = cut_runs(order, torch.zeros(50, dtype=torch.long), torch.tensor([50]), count)
    torch.testing.assert_close(layer(x, runs), released(layer, x, order, count))


def test_it_stands_beside_the_mlp_along_the_curve_of_the_attention():
    torch.manual_seed(1)
    net, voxels = PTv3(CONFIG).eval(), cloud(0, 6)
    method = make_method("point_tpa", {"rank": 5, "runs": (6, 3)})
    taps = attach_by_stage(method, net)
    level = first_level(voxels)
    x = want = torch.randn(len(voxels.grid), 12)
    for j, (block, own) in enumerate(zip(net.stages[0].blocks, taps[0].blocks, strict=True)):
        h = want + block.cpe(want, level)
        h = h + block.attn(block.norm1(h)[None], level, j, BlockTaps())[0]
        normed = own.norm(h)
        last = j == 1
        down = released(own.down, normed, level.order(1), 6) if last else own.down(normed)
        want = h + block.mlp(block.norm2(h)[None], BlockTaps())[0] + own.up(F.relu(down))
    torch.testing.assert_close(net.stages[0](x, level, taps[0]), want, atol=1e-5, rtol=1e-4)
    assert [type(block.down).__name__ for block in taps[0].blocks] == ["Linear", "DynamicDown"]
    assert not list(taps[2].parameters())  # the decoder has none


def test_a_batch_equals_its_single_clouds():
    torch.manual_seed(1)
    net, clouds = PTv3(CONFIG).eval(), [cloud(0, 6), cloud(1, 8)]
    taps = attach_by_stage(make_method("point_tpa", {"runs": (6, 3)}), net)
    alone = torch.cat([net(c, taps).decoded for c in clouds])
    torch.testing.assert_close(net(joined(*clouds), taps).decoded, alone, atol=1e-5, rtol=1e-4)


def test_published_share_of_the_backbone():
    """Less than 2 % of it; the sum is worked out from the released module's layers."""
    with torch.device("meta"):
        net = PTv3(SIZES["sonata"])
        taps = attach_by_stage(make_method("point_tpa"), net)
    added = sum(p.numel() for p in taps.parameters())
    want = 0
    for c, depth, k in zip(
        SIZES["sonata"].channels, (3, 3, 3, 12, 3), (4, 4, 2, 2, 2), strict=True
    ):
        hidden = max(int(c * 0.25) + 1, 16)
        want += depth * (2 * c + c * 64 + 64 + 64 * c + c)
        want += hidden * c + hidden * k + k + (k - 1) * (64 * c + 64)
    assert added == want
    assert added < 0.02 * sum(p.numel() for p in net.parameters())


def test_patches_of_one_width_lie_along_a_curve(bare_backbone, toy_batch):
    """Runs of patches that are next to one another, and CLS in a run of its own."""
    net = load_backbone(bare_backbone("point_vit")).eval()
    tokens = net(toy_batch[0][:2])
    runs = patch_runs(tokens, "z", 3)
    of = runs.of.view(2, -1)
    assert of[:, 0].tolist() == [6, 7]
    assert runs.length.tolist() == [-(-tokens.centers.shape[1] // 3)] * 6 + [1, 1]
    for i in range(2):
        assert set(of[i, 1:].tolist()) == {3 * i, 3 * i + 1, 3 * i + 2}
    apart = torch.cdist(tokens.centers, tokens.centers)
    same = of[:, 1:, None] == of[:, None, 1:]
    assert apart[same].mean() < 0.8 * apart[~same].mean()


def test_without_start_values_it_starts_as_pretrained(bare_backbone, toy_batch):
    net = load_backbone(bare_backbone("point_vit")).eval()
    taps = make_method("point_tpa", {"init_std": 0}).attach(net).eval()
    assert torch.equal(net(toy_batch[0], taps).x, net(toy_batch[0]).x)


def test_options_are_checked():
    for options in ({"runs": ()}, {"kernels": (2, 0)}):
        with pytest.raises(ConfigError, match="must be numbers from 1"):
            make_method("point_tpa", options)
