"""Backbones in one file or in several."""

import json
import os

import pytest
import torch

from pointadapt.backbones.folder import save_backbone
from pointadapt.core.errors import CheckpointError, PointAdaptError
from pointadapt.core.shards import INDEX, SINGLE, read_weights, write_weights
from pointadapt.pretrained.load import load_backbone


@pytest.fixture
def tensors():
    return {f"blocks.{i}.w": torch.full((100,), float(i)) for i in range(5)}  # 400 bytes each


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_shards_hold_all_and_are_no_larger_than_asked(tensors, tmp_path):
    write_weights(tmp_path, tensors, 900)
    shards = [f"model-{i:05d}-of-00003.safetensors" for i in (1, 2, 3)]
    assert names(tmp_path) == [*shards, INDEX]
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == 2000
    assert set(index["weight_map"]) == set(tensors)
    back = read_weights(tmp_path)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[k], tensors[k]) for k in tensors)


@pytest.mark.parametrize("largest", [0, 2000])
def test_what_fits_into_one_file_is_one_file(tensors, tmp_path, largest):
    write_weights(tmp_path, tensors, largest)
    assert names(tmp_path) == [SINGLE]
    assert read_weights(tmp_path).keys() == tensors.keys()


def test_other_shards_and_single_files_are_replaced(tensors, tmp_path):
    for largest, count in ((900, 4), (1300, 3), (0, 1), (900, 4)):
        write_weights(tmp_path, tensors, largest)
        assert len(names(tmp_path)) == count
        assert read_weights(tmp_path).keys() == tensors.keys()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("largest", [0, 900])
def test_files_may_be_read_by_whom_the_user_lets(tensors, tmp_path, largest):
    (tmp_path / "plain").touch()
    usual = (tmp_path / "plain").stat().st_mode
    write_weights(tmp_path, tensors, largest)
    assert {p.stat().st_mode for p in tmp_path.iterdir()} == {usual}


def test_a_sharded_backbone_is_the_same_backbone(micro_backbone, tmp_path):
    net = load_backbone(micro_backbone)
    folder = save_backbone(net, tmp_path / "b", largest=20_000)
    assert (folder / INDEX).is_file() and not (folder / SINGLE).exists()
    assert all(p.stat().st_size < 25_000 for p in folder.glob("*.safetensors"))
    assert load_backbone(folder).fingerprint == net.fingerprint


def test_damage(tensors, tmp_path):
    write_weights(tmp_path, tensors, 900)
    index = json.loads((tmp_path / INDEX).read_text())
    where = index["weight_map"]
    gone = tmp_path / where["blocks.0.w"]
    content = gone.read_bytes()
    gone.unlink()
    with pytest.raises(CheckpointError, match=f"{gone.name} does not exist"):
        read_weights(tmp_path)
    gone.write_bytes(content)
    for wrong, error in (
        ({"weight_map": {**where, "blocks.9.w": gone.name}}, "does not hold what"),
        ({"weight_map": {**where, "blocks.0.w": "../" + gone.name}}, "no index of weights"),
        ({"weight_map": None}, "no index of weights"),
        ([], "no index of weights"),
    ):
        (tmp_path / INDEX).write_text(json.dumps(wrong))
        with pytest.raises(CheckpointError, match=error) as caught:
            read_weights(tmp_path)
        assert "\n" not in str(caught.value)
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(PointAdaptError, match="is not JSON"):
        read_weights(tmp_path)
