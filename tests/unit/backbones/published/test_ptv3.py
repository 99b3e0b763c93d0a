"""Files of the Point Transformer V3 family as backbones."""

from dataclasses import replace

import pytest
import torch

from modern import official_name
from pointadapt.adapters.convert import convert
from pointadapt.backbones.ptv3 import PointTransformerV3, sized
from pointadapt.backbones.published.tags import all_tags
from pointadapt.backbones.voxel.config import PTv3Config
from pointadapt.backbones.voxel.network import PTv3
from pointadapt.core.errors import CheckpointError
from pointadapt.pretrained.load import load_backbone

CONCERTO = PTv3Config(
    in_channels=9, depths=(1, 2), channels=(16, 32), heads=(1, 2), patch_sizes=(1024, 1024),
    mask_token=True,
)  # fmt: skip
UTONIA = replace(CONCERTO, channels=(18, 36), rope_base=10.0)


def released(config, path, leave=""):
    """A file of such a network, and the network."""
    torch.manual_seed(0)
    net = PTv3(config).eval()
    state = {
        official_name(k): v for k, v in net.state_dict().items() if not leave or leave not in k
    }
    torch.save({"config": {}, "state_dict": state}, path)
    return net


@pytest.mark.parametrize(
    ("config", "leave", "recipe"),
    [(CONCERTO, "", "concerto"), (UTONIA, "", "utonia_room"), (UTONIA, "frequ", "utonia_room")],
)
def test_a_file_becomes_a_backbone_that_gives_its_features(config, leave, recipe, tmp_path):
    net = released(config, tmp_path / "net.pth", leave)
    report = convert(tmp_path / "net.pth", tmp_path / "out")
    assert report["layout"] == "ptv3"
    assert report["left_over"] == ["embedding.mask_token"]
    assert report["missing"] == []
    made = load_backbone(tmp_path / "out/backbone").eval()
    assert made.config.network == replace(config, mask_token=False)
    assert made.config.recipe == recipe
    points = torch.rand(1, 50, 3)
    voxels, voxel_of = made.voxels(points, None)
    assert torch.equal(made(points).patches[0], net(voxels).upcast()[voxel_of])


def test_a_file_without_blocks(tmp_path):
    torch.save({"state_dict": {"embedding.stem.linear.weight": torch.ones(4, 9)}}, tmp_path / "a")
    with pytest.raises(CheckpointError, match="no transformer block"):
        convert(tmp_path / "a", tmp_path / "out")


TAGS = {tag.size: tag for tag in all_tags().values() if tag.family == "ptv3"}


@pytest.mark.parametrize("size", TAGS)
def test_a_tag_has_the_parameters_that_we_build(size):
    tag = TAGS[size]
    with torch.device("meta"):
        net = PointTransformerV3(sized(size))
    assert sum(p.numel() for p in net.parameters()) == tag.parameters
    assert "NC" in tag.licence or "MIT" in tag.licence
