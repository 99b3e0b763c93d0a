"""The Point Transformer V3 family as a backbone."""

from dataclasses import replace

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones.folder import save_backbone
from pointadapt.backbones.ptv3 import PointTransformerV3, VoxelConfig, recipe_of, sized
from pointadapt.backbones.voxel.sizes import SIZES
from pointadapt.core.errors import AdapterError, ConfigError, PointCloudError
from pointadapt.methods import make_method
from pointadapt.ops import normalize
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

TAKES = VoxelConfig().input.takes


@pytest.fixture
def net(bare_backbone):
    return load_backbone(bare_backbone("ptv3")).eval()


def metric():
    """A small network that takes metres and colours, as the published ones do."""
    torch.manual_seed(0)
    stages = replace(SIZES["concerto_tiny"], depths=(1, 1), channels=(12, 24), heads=(1, 2),
                     patch_sizes=(16, 16), mask_token=False)  # fmt: skip
    return PointTransformerV3(VoxelConfig(network=stages, recipe="concerto", grid=0.5)).eval()


def with_adapter(net, features=(), method="lora"):
    task = make_task("scene_segmentation", {"width": 16, "hidden": (8, 8)})
    names = ("scene",), (), ("low", "high"), features
    return PointModel(net, Adapter(net, make_method(method), task, *names)).eval()


def test_each_point_has_what_its_voxel_has_and_cls_is_the_mean_of_the_voxels(net):
    points = torch.tensor([[[0.1, 0.1, 0.1], [0.9, 0.9, 0.9], [0.12, 0.11, 0.1]]])  # two voxels
    tokens = net(points)
    first, other, near = tokens.patches[0]
    assert torch.equal(first, near)
    assert not torch.allclose(first, other)
    torch.testing.assert_close(tokens.pool("cls")[0], (first + other) / 2)
    assert tokens.centers is points


def test_in_fine_voxels_the_order_of_the_points_is_of_no_account(net, toy_batch):
    fine = PointTransformerV3(replace(net.config, grid=0.001)).eval()
    fine.load_state_dict(net.state_dict())
    points, order = toy_batch[0][:4], torch.randperm(64, generator=torch.Generator().manual_seed(0))
    got, want = fine(points[:, order]), fine(points)
    torch.testing.assert_close(got.patches, want.patches[:, order], atol=1e-5, rtol=0)


def test_the_own_size_has_a_million_parameters():
    with torch.device("meta"):
        assert sum(p.numel() for p in PointTransformerV3(VoxelConfig()).parameters()) == 1_053_952


def test_features_go_to_the_columns_of_their_names(net):
    model = with_adapter(net, ("intensity", "width", "red"))
    features = torch.tensor([[[0.5, 9.0, 0.25]]])
    given = model.adapter.for_backbone(features)[0, 0]
    assert {TAKES[k]: float(given[k]) for k in given.nonzero().flatten()} == {
        "intensity": 0.5, "red": 0.25,
    }  # fmt: skip
    assert with_adapter(net, ("width",)).adapter.for_backbone(features[..., 1:2]) is None


def test_the_backbone_sees_them(net, toy_batch):
    model, points = with_adapter(net, ("intensity",)), toy_batch[0][:2]
    some = torch.rand(2, 64, 1)
    assert not torch.allclose(model.tokens(points, some).x, model.tokens(points, some * 0).x)
    assert torch.equal(model.tokens(points, some * 0).x, model.tokens(points).x)


def test_what_scales_the_features_is_kept_with_the_adapter(bare_backbone, tmp_path):
    """Intensities of 1,000s and of ones come to the same: training saw their mean and spread."""
    folder = bare_backbone("ptv3")
    model = with_adapter(load_backbone(folder), ("intensity",)).train()
    points, some = torch.rand(4, 64, 3), 1000 + 200 * torch.rand(4, 64, 1)
    for _ in range(3):
        model(points, features=some)
    model.eval()
    adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(folder), points=64)
    loaded = adapter_folder.load(tmp_path / "a")
    assert loaded.backbone.scale.running_mean[TAKES.index("intensity")] > 250
    assert torch.equal(loaded(points, features=some), model(points, features=some))


def test_a_network_of_metres_gets_them_and_its_head_the_unit_ball():
    model = with_adapter(metric())
    points = torch.rand(2, 40, 3) * torch.tensor([4.0, 3.0, 2.0]) + 100
    assert not model.adapter.normalise
    assert torch.equal(model.adapter.prepared(points), points)
    tokens = model.tokens(points)
    assert torch.equal(tokens.centers, normalize(points))
    assert model(points).shape == (2, 40, 2)
    shrunk = model.tokens(points * 0.001)  # the four voxels around the middle
    assert len(shrunk.patches[0].unique(dim=0)) <= 4 < len(tokens.patches[0].unique(dim=0))


@pytest.mark.parametrize("method", ["linear_probe", "lora", "full"])
def test_a_batch_is_its_single_clouds(net, method, toy_batch):
    model, points = with_adapter(net, method=method), toy_batch[0][:3]
    singles = torch.cat([model(points[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(model(points), singles, atol=1e-5, rtol=0)


def test_an_adapter_does_not_fit_voxels_of_another_size(net, tmp_path):
    save_backbone(net, tmp_path / "fine")
    adapter_folder.save_adapter(
        with_adapter(load_backbone(tmp_path / "fine")), tmp_path / "a",
        backbone=str(tmp_path / "fine"), points=64,
    )  # fmt: skip
    coarse = PointTransformerV3(replace(net.config, grid=0.5))
    coarse.load_state_dict(net.state_dict())
    save_backbone(coarse.seal(), tmp_path / "coarse")
    with pytest.raises(AdapterError, match=r"needs grid=0\.25"):
        adapter_folder.load(tmp_path / "a", backbone=tmp_path / "coarse")


def test_published_sizes_know_what_they_want():
    assert recipe_of(SIZES["concerto_base"]) == "concerto"
    assert recipe_of(SIZES["utonia"]) == "utonia_room"
    assert recipe_of(SIZES["ptv3_nuscenes"]) == "ptv3_driving"
    assert sized("ptv3_scannet").input.takes == ("red", "green", "blue", "nx", "ny", "nz")
    assert (sized("concerto_base").dim, sized("ptv3_scannet").dim) == (1232, 64)


def test_what_does_not_go_together(net):
    with pytest.raises(ConfigError, match="gives 4 features of a voxel, but the network takes 9"):
        VoxelConfig(network=SIZES["sonata"], recipe="ptv3_driving")
    with pytest.raises(ConfigError, match="grid must be at least 0"):
        VoxelConfig(grid=-1.0)
    with pytest.raises(PointCloudError, match=r"\(B, N, 3\)"):
        net(torch.rand(2, 8, 6))


def test_patches_that_are_asked_for_are_of_no_account(bare_backbone, net):
    asked = load_backbone(bare_backbone("ptv3"), groups=16, group_size=4)
    assert asked.config == net.config
