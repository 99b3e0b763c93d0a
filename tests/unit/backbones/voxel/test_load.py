"""Published files as networks."""

import pytest
import torch

from modern import official_name
from pointadapt.backbones.voxel.load import load_released
from pointadapt.backbones.voxel.network import PTv3
from pointadapt.backbones.voxel.released import our_config, our_name
from pointadapt.backbones.voxel.sizes import LICENCES, SIZES
from pointadapt.core.errors import CheckpointError, UnknownNameError
from pointadapt.core.tensors import write_safetensors

CONSTRUCTOR = {
    "in_channels": 9, "enc_depths": [1, 1], "enc_channels": [12, 12], "enc_num_head": [1, 2],
    "enc_patch_size": [16, 16], "enc_mode": True, "mask_token": True, "rope_base": 10,
    "enable_flash": True, "shuffle_orders": True,
}  # fmt: skip
OFFICIAL = {
    "stem.mask_token": "embedding.mask_token",
    "stem.linear.weight": "embedding.stem.linear.weight",
    "stages.1.down.norm.bias": "enc.enc1.down.norm.0.bias",
    "stages.0.blocks.0.cpe.conv.weight": "enc.enc0.block0.cpe.0.weight",
    "stages.1.blocks.0.attn.rope.frequencies": "enc.enc1.block0.attn.rope.inv_freq",
    "stages.1.blocks.0.mlp.fc1.bias": "enc.enc1.block0.mlp.0.fc1.bias",
}


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    net = PTv3(our_config({"traceable": True, **CONSTRUCTOR}))
    return {official_name(key): value for key, value in net.state_dict().items()}


def test_names_both_ways(tensors):
    for ours, theirs in OFFICIAL.items():
        assert our_name(theirs) == ours
        assert official_name(ours) == theirs
    assert our_name("backbone.enc.enc0.block3.attn.qkv.bias") == "stages.0.blocks.3.attn.qkv.bias"
    assert our_name("module.seg_head.weight") == "head.weight"
    assert our_name("blocks.0.norm1.weight") is None


def test_a_file_tells_its_own_configuration(tensors, tmp_path):
    torch.save({"config": CONSTRUCTOR, "state_dict": tensors}, tmp_path / "net.pth")
    net = load_released(tmp_path / "net.pth")
    assert not net.training
    assert net.config.rope_base == 10
    assert not net.config.shuffle
    assert all(
        torch.equal(value, tensors[official_name(k)]) for k, value in net.state_dict().items()
    )


def test_what_a_file_may_lack(tensors, tmp_path):
    want = tensors["enc.enc0.block0.attn.rope.inv_freq"]
    some = {k: v for k, v in tensors.items() if "mask_token" not in k and "inv_freq" not in k}
    torch.save({"config": CONSTRUCTOR, "state_dict": some}, tmp_path / "net.pth")
    net = load_released(tmp_path / "net.pth")
    assert not net.config.mask_token
    assert torch.equal(net.state_dict()["stages.0.blocks.0.attn.rope.frequencies"], want)


def test_files_that_do_not_fit(tensors, tmp_path):
    write_safetensors(tmp_path / "net.safetensors", tensors)
    with pytest.raises(CheckpointError, match="pass size"):
        load_released(tmp_path / "net.safetensors")
    with pytest.raises(UnknownNameError, match="did you mean 'utonia'"):
        load_released(tmp_path / "net.safetensors", "utoni")
    for name, state in (
        ("none of the Point", tensors | {"blocks.0.norm1.weight": torch.ones(1)}),
        ("1 are missing", {k: v for k, v in tensors.items() if "stem.norm.bias" not in k}),
        ("1 tensors have no place", tensors | {"enc.enc0.block7.attn.qkv.bias": torch.ones(1)}),
        ("NaN", tensors | {"embedding.stem.norm.bias": torch.full((12,), torch.nan)}),
    ):
        torch.save({"config": CONSTRUCTOR, "state_dict": state}, tmp_path / "net.pth")
        with pytest.raises(CheckpointError, match=name):
            load_released(tmp_path / "net.pth")


def test_every_size_has_a_licence_and_can_be_built():
    assert LICENCES.keys() == SIZES.keys()
    counts = {"concerto_tiny": 4_860_512, "sonata": 108_461_376, "utonia_tiny": 9_326_106}
    for name, count in counts.items():
        with torch.device("meta"):
            net = PTv3(SIZES[name])
        assert sum(p.numel() for p in net.parameters()) == count
