"""Look-alikes of the published files, full size: every key and shape of ``keys_*.json``."""

import json
from pathlib import Path

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.convert import convert
from pointadapt.core.tensors import read_safetensors
from pointadapt.tasks.metrics import parameter_counts

HERE = Path(__file__).parent
OURS = (
    ("encoder.first_conv.0.", "encoder.linear1."),
    ("encoder.first_conv.1.", "encoder.norm1."),
    ("encoder.first_conv.3.", "encoder.linear2."),
    ("encoder.second_conv.0.", "encoder.linear3."),
    ("encoder.second_conv.1.", "encoder.norm2."),
    ("encoder.second_conv.3.", "encoder.linear4."),
    ("blocks.blocks.", "blocks."),
)


def look_alike(name):
    """Random tensors of the published names, shapes and types."""
    torch.manual_seed(0)
    tensors = {}
    for key, (shape, dtype) in json.loads((HERE / f"keys_{name}.json").read_text()).items():
        if dtype == "int64":
            tensors[key] = torch.tensor(len(tensors))
        else:
            tensors[key] = torch.randn(shape).mul_(0.02)
            if key.endswith("running_var"):
                tensors[key].add_(1)
    return tensors


def our_name(key):
    for theirs, ours in OURS:
        if key.startswith(theirs):
            return ours + key[len(theirs) :]
    return key


def equal(ours, theirs):
    return torch.equal(
        ours, theirs.squeeze(-1) if theirs.dim() == 3 and ours.dim() == 2 else theirs
    )


@pytest.mark.parametrize("prefix", ["", "module."])
def test_pretraining_of_point_mae(prefix, tmp_path):
    tensors = look_alike("pointmae_pretrain")
    state = {f"{prefix}{k}": v for k, v in tensors.items()}
    torch.save({"base_model": state, "epoch": 300, "metrics": {"acc": 0.0}}, tmp_path / "p.pth")
    report = convert(tmp_path / "p.pth", tmp_path / "out")
    stored = read_safetensors(tmp_path / "out/backbone/model.safetensors")
    used = {k for k in tensors if k.startswith("MAE_encoder.")}
    for key in used:
        assert equal(stored.pop(our_name(key.removeprefix("MAE_encoder."))), tensors[key]), key
    assert not stored
    assert report["missing"] == ["cls_token", "cls_pos"]
    assert set(report["left_over"]) == set(tensors) - used
    listed = json.loads((HERE / "load_pretrain_into_ft.json").read_text())["unexpected"]
    assert len(listed) == 53
    assert set(report["left_over"]) == set(listed)
    assert report["consumed"] == len(used) == 156
    assert not (tmp_path / "out/adapter").exists()
    assert json.loads((tmp_path / "out/convert.json").read_text()) == report
    config = json.loads((tmp_path / "out/backbone/config.json").read_text())
    assert config == {
        "family": "point_vit", "dim": 384, "depth": 12, "heads": 6, "groups": 64,
        "group_size": 32, "sampling_rule": "pointnet2", "encoder_widths": [128, 256, 512],
        "encoder_dim": 0, "position": "mlp", "qkv_bias": False, "patch_sign": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "method", "head", "classes", "groups", "points", "trained"),
    [
        ("dapt_scan_hardest", "dapt", ["cls", "prompt_mean", "patch_max"], 15, 128, 2048, 1087771),
        ("dapt_scan_objonly", "dapt", ["cls", "prompt_mean"], 15, 128, 2048, 989467),
        ("dapt_modelnet", "dapt", ["cls", "patch_max"], 40, 64, 1024, 1069716),
        ("ft_scan_hardest", "full", ["cls", "patch_max"], 15, 128, 2048, 22093327),
    ],
)
def test_fine_tuned(name, method, head, classes, groups, points, trained, tmp_path):
    tensors = look_alike(name)
    torch.save({"base_model": tensors}, tmp_path / "f.pth")
    report = convert(tmp_path / "f.pth", tmp_path / "out")
    assert (report["kind"], report["left_over"]) == (method, [])
    assert report["consumed"] == report["tensors"] == len(tensors)
    config = adapter_folder.read_adapter_config(tmp_path / "out/adapter")
    assert config["head_inputs"] == head
    assert len(config["classes"]) == classes
    assert config["classes"][0] in ("bag", "airplane")
    assert (config["backbone"]["groups"], config["points"]) == (groups, points)
    assert config["normalise"] == (classes == 40)  # released code takes ScanObjectNN as stored
    model = adapter_folder.load(tmp_path / "out/adapter")
    assert parameter_counts(model)[0] == trained
    got = [*model.backbone.state_dict().values(), *model.adapter.state_dict().values()]
    assert sum(v.numel() for v in got) == sum(v.numel() for v in tensors.values())
    with torch.no_grad():
        logits = model(torch.rand(2, points, 3) * 2 - 1)
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()
