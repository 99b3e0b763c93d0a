"""Networks of the Point Transformer V3 family, without golden arrays."""

import dataclasses

import pytest
import torch
from voxel_clouds import cloud, joined

from pointadapt.backbones.voxel.attention import RelativePositions, Rope
from pointadapt.backbones.voxel.config import PTv3Config
from pointadapt.backbones.voxel.levels import Voxels
from pointadapt.backbones.voxel.network import PTv3
from pointadapt.core.errors import ConfigError, PointCloudError

SMALL = PTv3Config(
    in_channels=4, depths=(1, 2), channels=(12, 24), heads=(1, 2), patch_sizes=(16, 16)
)
WITH_DECODER = {"decoder_depths": (1,), "decoder_channels": (12,), "decoder_heads": (2,),
                "decoder_patch_sizes": (16,)}  # fmt: skip
FORMS = {
    "encoder": {},
    "rotary": {"rope_base": 10.0},
    "relative": {"relative_positions": True, "layer_scale": 0.5, **WITH_DECODER},
    "ptv3": {"form": "ptv3", "classes": 5, **WITH_DECODER},
    "old": {"form": "ptv3", "arithmetic": "v1.5.1", **WITH_DECODER},
}


def made(form):
    torch.manual_seed(0)
    net = PTv3(dataclasses.replace(SMALL, **FORMS[form])).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return net


def output(net, voxels):
    pyramid = net(voxels)
    return pyramid.upcast() if pyramid.decoded is None else pyramid.decoded


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_is_its_single_clouds(form):
    net, a, b = made(form), cloud(1, 7, filled=0.3), cloud(2, 3, filled=0.3)
    alone = [output(net, a), output(net, b)]
    torch.testing.assert_close(output(net, joined(a, b)), torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_the_rows_is_of_no_account(form):
    net, voxels = made(form), cloud(3, 6, filled=0.3)
    order = torch.randperm(len(voxels.grid), generator=torch.Generator().manual_seed(0))
    parts = [getattr(voxels, f.name)[order] for f in dataclasses.fields(Voxels)]
    got, want = output(net, Voxels(*parts)), output(net, voxels)
    torch.testing.assert_close(got, want[order], atol=1e-5, rtol=0)


def test_the_same_input_gives_the_same_features_unless_shuffling_is_asked_for():
    net, voxels = made("encoder"), cloud(4, 8, filled=0.3)
    assert torch.equal(output(net, voxels), output(net, voxels))
    net.config = dataclasses.replace(net.config, shuffle=True)
    torch.manual_seed(0)
    assert not torch.equal(output(net, voxels), output(net, voxels))


def test_bfloat16_is_near():
    net, voxels = made("encoder"), cloud(5, 8, filled=0.3)
    with torch.no_grad():
        want = output(net, voxels)
        with torch.autocast("cpu", torch.bfloat16):
            got = output(net, voxels)
    assert (got.float() - want).norm() < 0.03 * want.norm()


def test_rotary_attention_depends_on_differences_of_coordinates_alone():
    torch.manual_seed(0)
    rope, q, k = Rope(12, 10.0), torch.randn(5, 2, 12), torch.randn(5, 2, 12)
    coord = torch.randn(5, 3)

    def scores(at):
        angles = rope.angles(at)
        return torch.einsum("nhc,mhc->hnm", Rope.turn(q, angles), Rope.turn(k, angles))

    torch.testing.assert_close(scores(coord), scores(coord + 3.0), atol=1e-4, rtol=0)
    assert not torch.allclose(scores(coord), scores(coord * 2))


@pytest.mark.parametrize(("size", "bound"), [(48, 11), (128, 15), (1024, 31)])
def test_how_far_relative_positions_reach(size, bound):
    assert RelativePositions(size, 2).bound == bound


def test_relative_positions_add_one_entry_an_axis():
    rpe = RelativePositions(16, 1)  # reaches 7: the cube root of 64 is just below 4
    with torch.no_grad():
        rpe.table.copy_(torch.arange(len(rpe.table)).unsqueeze(1))
    bias = rpe(torch.tensor([[[0, 0, 0], [1, 20, 0]]]))
    assert bias[0, 0, 1, 0] == (7 + 1) + (7 + 7 + 15) + (7 + 30)  # 20 along y is cut to 7
    assert bias[0, 0, 0, 1] == (7 - 1) + (7 - 7 + 15) + (7 + 30)


@pytest.mark.parametrize(
    "change",
    [{"heads": (5, 2)}, {"heads": (1,)}, {"rope_base": 10.0, "channels": (10, 24)},
     {"decoder_depths": (1,)}, {**WITH_DECODER, "depths": (1, 1, 1), "channels": (12, 12, 12),
      "heads": (1, 1, 1), "patch_sizes": (4, 4, 4)}, {"depths": (0, 1)}],
)  # fmt: skip
def test_impossible_sizes(change):
    with pytest.raises(ConfigError):
        dataclasses.replace(SMALL, **change)


def test_rows_that_do_not_belong_together():
    good = cloud(0, 3, filled=0.3)
    with pytest.raises(PointCloudError, match="equally many"):
        dataclasses.replace(good, features=good.features[1:])
    with pytest.raises(PointCloudError, match="sorted"):
        dataclasses.replace(good, batch=torch.arange(len(good.grid)).flip(0))
