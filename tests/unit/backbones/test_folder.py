"""Backbone folders, and configurations that promise what their weights do not hold."""

import json

import pytest
import torch

from pointadapt.backbones.folder import build_to_fill, read_config, save_backbone
from pointadapt.backbones.point_vit import PointViT, PointViTConfig
from pointadapt.core.errors import CheckpointError, PointAdaptError
from pointadapt.core.tensors import read_safetensors, write_safetensors
from pointadapt.pretrained.load import load_backbone


@pytest.fixture
def folder(micro_backbone, tmp_path):
    return save_backbone(load_backbone(micro_backbone), tmp_path / "backbone")


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("largest", [0, 20_000])
@pytest.mark.parametrize(
    "promise",
    [{"depth": 10**6}, {"dim": 10**9}, {"dim": 10**6, "heads": 1},
     {"encoder_widths": [8, 16, 10**8]}, {"encoder_widths": [10**7, 10**7, 10**7]}],
)  # fmt: skip
def test_a_configuration_larger_than_its_weights(folder, micro_backbone, largest, promise):
    save_backbone(load_backbone(micro_backbone), folder, largest=largest)
    change(folder, **promise)
    with pytest.raises(
        CheckpointError, match=r"hold \d+,\d+ numbers.*far larger network"
    ) as caught:
        load_backbone(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_little_larger_is_told_by_its_tensor(folder):
    change(folder, dim=48)
    with pytest.raises(CheckpointError, match=r"has shape \(.*\), but this configuration needs"):
        load_backbone(folder)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"depth": "2x"}, "whole number, not '2x'"),
        ({"depth": None}, "whole number, not None"),
        ({"depth": [2]}, "whole number"),
        ({"depth": {"a": [2]}}, "whole number"),
        ({"depth": 2.5}, "whole number"),
        ({"depth": True}, "whole number"),
        ({"dim": 2**64}, "too large"),
        ({"dim": -24}, "dim"),
        ({"heads": 0}, "heads"),
        ({"encoder_widths": 8}, "must be a list"),
        ({"encoder_widths": [8, -1, 16]}, "encoder_widths must be at least 1"),
        ({"encoder_widths": [8, "a", 16]}, "whole number"),
        ({"sampling_rule": ["plain"]}, "sampling_rule"),
        ({"sampling_rule": "x" * 10**5}, "sampling_rule"),
        ({"family": ["point_vit"]}, "names no family"),
        ({"family": None}, "names no family"),
        ({"family": "x" * 10**5}, "unknown"),
        ({"d" * 10**5: 1}, "unknown option"),
    ],
    ids=range(18),
)
def test_other_types_in_a_configuration(folder, value, message):
    change(folder, **value)
    with pytest.raises(PointAdaptError, match=message) as caught:
        load_backbone(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize("text", ["[]", "null", '"family"', "3", "{}"])
def test_no_configuration(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="names no family"):
        read_config(folder / "config.json")


def weights_with(folder, key, value):
    tensors = read_safetensors(folder / "model.safetensors")
    tensors[key] = value(tensors[key])
    write_safetensors(folder / "model.safetensors", tensors)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda t: torch.full_like(t, float("nan")), "holds NaN or infinity"),
        (lambda t: t.index_fill(0, torch.tensor([3]), float("inf")), "holds NaN or infinity"),
        (lambda t: t.to(torch.int8), r"of type torch\.int8, not torch\.float32"),
        (lambda t: t[:3], "has shape"),
    ],
)
def test_weights_that_are_none(folder, value, message):
    weights_with(folder, "blocks.1.norm1.weight", value)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_backbone(folder)
    assert "blocks.1.norm1.weight" in str(caught.value)


def test_room_is_for_what_training_adds():
    """Point-BERT's class token and the like are no part of a pre-trained file."""
    config = PointViTConfig(dim=24, depth=2, heads=2, groups=8, group_size=8,
                            encoder_widths=(8, 16, 16))  # fmt: skip
    assert isinstance(build_to_fill(PointViT, config, 0, "b"), PointViT)
