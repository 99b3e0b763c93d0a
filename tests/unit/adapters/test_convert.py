"""Published files: what is refused, and what nothing is left of; equality is tests/golden's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.convert import convert
from pointadapt.core.config import Published
from pointadapt.core.errors import AdapterError, CheckpointError, ConfigError, PointAdaptError
from pointadapt.pretrained.load import load_backbone

GOLDEN = Path(__file__).parents[2] / "golden"
FACTS = Published(heads=3, groups=16, group_size=8, points=256)


def arrays(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {k: torch.from_numpy(file[k]) for k in file.files}


def write(tensors, path):
    torch.save({"base_model": tensors}, path)
    return path


def pretrained(tensors):
    """The pre-training file that a fine-tuned one may have started from, BatchNorm yet unmoved."""
    out = {"mask_token": torch.zeros(1, 1, 48), "MAE_decoder.norm.weight": torch.ones(48)}
    for key, value in tensors.items():
        if "tfts" in key or "Adapter" in key or key.startswith("cls"):
            continue
        moved = value + (0.5 if key.endswith(("running_mean", "running_var")) else 0)
        out[f"MAE_encoder.{key}"] = moved
    return out


def logits(folder, points, **options):
    with torch.no_grad():
        return adapter_folder.load(folder, **options)(points)


def test_an_adapter_shares_the_backbone_it_was_trained_from(tmp_path):
    state, out = arrays("dapt_small_state"), arrays("dapt_small_out")
    base = convert(write(pretrained(state), tmp_path / "p.pth"), tmp_path / "p", FACTS)
    assert base["left_over"] == ["MAE_decoder.norm.weight", "mask_token"]
    path = write(state, tmp_path / "d.pth")
    report = convert(path, tmp_path / "d", FACTS, backbone=tmp_path / "p/backbone")
    assert report["sha256"] == base["sha256"]
    assert report["backbone"] == str(tmp_path / "p/backbone")
    assert not (tmp_path / "d/backbone").exists()
    got = logits(tmp_path / "d/adapter", out["points"])
    torch.testing.assert_close(got, out["logits"], atol=1e-5, rtol=0)
    # the file's own backbone has the moved buffers, so it is another one
    own = convert(path, tmp_path / "own", FACTS)
    assert own["sha256"] != base["sha256"]
    with pytest.raises(AdapterError, match="made for the backbone"):
        adapter_folder.load(tmp_path / "own/adapter", backbone=tmp_path / "p/backbone")


def test_another_backbone_is_refused(tmp_path):
    state = arrays("dapt_small_state")
    other = pretrained(state)
    other["MAE_encoder.blocks.blocks.1.mlp.fc1.bias"][7] += 1e-3
    convert(write(other, tmp_path / "p.pth"), tmp_path / "p", FACTS)
    with pytest.raises(CheckpointError, match=r"not trained from.*'blocks\.1\.mlp\.fc1\.bias'"):
        convert(write(state, tmp_path / "d.pth"), tmp_path / "d", FACTS, tmp_path / "p/backbone")
    assert not (tmp_path / "d").exists()


def test_full_fine_tuning_on_its_pretrained_backbone(tmp_path):
    state, out = arrays("ft_small_state"), arrays("ft_small_out")
    base = pretrained(state)
    for value in base.values():
        value.add_(0.01 if value.is_floating_point() else 0)
    convert(write(base, tmp_path / "p.pth"), tmp_path / "p", FACTS)
    path = write(state, tmp_path / "f.pth")
    convert(path, tmp_path / "f", FACTS, backbone=tmp_path / "p/backbone")
    got = logits(tmp_path / "f/adapter", out["points"])
    torch.testing.assert_close(got, out["logits"], atol=1e-5, rtol=0)


def test_pretrained_with_a_backbone_is_refused(tmp_path, micro_backbone):
    path = write(pretrained(arrays("dapt_small_state")), tmp_path / "p.pth")
    with pytest.raises(ConfigError, match="leave out --backbone"):
        convert(path, tmp_path / "out", FACTS, backbone=micro_backbone)


def without(*parts):
    return lambda t: {k: v for k, v in t.items() if not any(p in k for p in parts)}


@pytest.mark.parametrize(
    ("damage", "facts", "message"),
    [
        (lambda t: {"a": torch.ones(1), "b": torch.ones(1)}, {}, "no published layout.* a, b"),
        (lambda t: {}, {}, "holds no tensors"),
        (
            lambda t: t | {"prompt": torch.ones(3)},
            {},
            r"1 tensors of a fine-tuned model have no place.*'prompt'.*--backbone-only",
        ),
        (without("norm1.bias"), {}, r"'blocks\.0\.norm1\.bias' is missing"),
        (without("blocks.blocks.1."), {}, "is missing"),
        (without("encoder.first_conv.3.weight"), {}, "'encoder.linear2.weight' is missing"),
        (without("cls_head_finetune.8"), {}, r"fine-tuned Point-MAE head.*'cls_head_finetune\.5"),
        (without("cls_head_finetune.1.bias"), {}, r"has no 'cls_head_finetune\.1\.bias'"),
        (without("cls_token"), {}, r"'backbone\.cls_token' is missing"),
        (without("tfts_gamma_2"), {}, "gamma' is missing"),
        (without("down_proj.weight"), {}, "is missing"),
        (lambda t: t | {"norm.bias": torch.ones(7)}, {}, r"'norm\.bias' has shape \(7,\)"),
        (lambda t: t | {"norm.bias": torch.full((48,), torch.nan)}, {}, r"'norm\.bias' holds NaN"),
        (
            lambda t: t | {"cls_head_finetune.8.bias": torch.full((5,), torch.inf)},
            {},
            r"'head\.layers\.8\.bias' holds NaN or infinity",
        ),
        (lambda t: t | {"norm.bias": torch.ones(48).int()}, {}, r"type torch\.int32"),
        (lambda t: t, {"heads": 7}, "7 heads do not divide a width of 48"),
        (lambda t: t, {"heads": 0}, "heads must be at least 1"),
        (lambda t: t, {"group_size": 0}, "group_size must be at least 1"),
        (lambda t: t, {"head": ("cls",)}, "has shape"),
        (lambda t: t, {"head": ("class",)}, "unknown head input 'class'"),
        (lambda t: t, {"classes": ("a", "b")}, "has shape"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(damage, facts, message, tmp_path):
    path = write(damage(arrays("dapt_small_state")), tmp_path / "d.pth")
    changed = {"heads": 3, "groups": 16, "group_size": 8, "points": 256} | facts
    with pytest.raises(PointAdaptError, match=message) as caught:
        convert(path, tmp_path / "out", **changed)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_pretraining_without_blocks(tmp_path):
    state = without("blocks")(pretrained(arrays("dapt_small_state")))
    with pytest.raises(CheckpointError, match="no transformer block"):
        convert(write(state, tmp_path / "p.pth"), tmp_path / "out", FACTS)


def test_facts_reach_the_folders(tmp_path):
    path = write(arrays("dapt_small_state"), tmp_path / "d.pth")
    names = ("e", "d", "c", "b", "a")
    convert(
        path, tmp_path / "out", heads=3, groups=7, group_size="5", points=99, classes=names
    )  # the object and the keywords are one; as on the command line, text is read as what it says
    config = adapter_folder.read_adapter_config(tmp_path / "out/adapter")
    assert config["classes"] == list(names)
    assert config["points"] == 99
    assert config["method_options"]["rank"] == 8
    net = load_backbone(tmp_path / "out/backbone").config
    assert (net.groups, net.group_size, net.heads, net.depth) == (7, 5, 3, 3)
