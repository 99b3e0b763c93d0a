"""Folding a model and an adapter folder; every method's fold is in tests/contract."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

import pointadapt
from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.fold import fold, fold_model
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones.folder import save_backbone
from pointadapt.backbones.folding import Folding
from pointadapt.backbones.point_vit import PointViT
from pointadapt.cli.main import main
from pointadapt.core.errors import AdapterError, CannotFold, ConfigError
from pointadapt.methods import make_method
from pointadapt.methods.modules import ScaleShift
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES = ("ball", "bar", "helix", "plate")


def model_of(folder, method, **options):
    """A model whose taps, CLS token and statistics are far from their start values."""
    net = load_backbone(folder)
    torch.manual_seed(0)
    task = make_task("classification")
    model = PointModel(net, Adapter(net, make_method(method, options), task, CLASSES)).eval()
    with torch.no_grad():
        for parameter in model.adapter.taps.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        net.cls_token.normal_()
        for norm in (net.encoder.norm1, net.encoder.norm2):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
    return model


def run(model, batch):
    with torch.no_grad():
        return model(batch[0])


def test_ssf_leaves_a_bare_backbone(micro_backbone, toy_batch):
    model = model_of(micro_backbone, "ssf")
    expected = run(model, toy_batch)
    folded = fold_model(model)
    assert not list(folded.adapter.taps.parameters())
    assert folded.backbone.config.qkv_bias
    with torch.no_grad():  # without any taps of ours at all
        logits = folded.adapter.head(folded.backbone(toy_batch[0]))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    assert folded.backbone.fingerprint != model.backbone.fingerprint


def test_negative_factors_after_the_patch_encoder_leave_a_sign(micro_backbone, toy_batch):
    """γ max(z) is no maximum of γ z where γ < 0; folding twice keeps the product of signs."""
    model = model_of(micro_backbone, "ssf")
    gamma, beta = model.adapter.taps.ss_patch.gamma, model.adapter.taps.ss_patch.beta
    with torch.no_grad():
        gamma[::3] *= -1
        gamma[5] = 0
    folded = fold_model(model)
    assert folded.backbone.config.patch_sign
    assert torch.equal(folded.backbone.encoder.sign, torch.where(gamma < 0, -1.0, 1.0))
    torch.testing.assert_close(run(folded, toy_batch), run(model, toy_batch), rtol=0, atol=1e-5)
    twice = Folding(folded.backbone)
    twice.scale_shift("patch_out", gamma, beta)
    groups = torch.randn(2, 8, 8, 3)
    with torch.no_grad():
        want = gamma * folded.backbone.encoder(groups) + beta
        torch.testing.assert_close(twice.backbone().encoder(groups), want)


def test_dapt_keeps_adapter_and_prompts_alone(micro_backbone, toy_batch):
    model = model_of(micro_backbone, "dapt", rank=4)
    folded = fold_model(model)
    kinds = [n for n, m in folded.adapter.taps.named_modules() if isinstance(m, ScaleShift)]
    assert kinds == ["blocks.0.ss_prompt", "blocks.1.ss_prompt"]
    for i in range(2):
        new, old = (m.adapter.taps.blocks[i].adapter.state_dict() for m in (folded, model))
        assert all(torch.equal(new[k], old[k]) for k in old)
    torch.testing.assert_close(run(folded, toy_batch), run(model, toy_batch), rtol=0, atol=1e-5)
    with pytest.raises(CannotFold, match="no scale-shift is left"):
        fold_model(folded)


def test_lora_without_bias_adds_none(micro_backbone):
    folded = fold_model(model_of(micro_backbone, "lora", rank=2))
    assert folded.backbone.config == load_backbone(micro_backbone).config


def test_arithmetic_is_float64(micro_backbone):
    """Two scale-shifts that undo each other leave the very same float32 weights."""
    net = load_backbone(micro_backbone)
    folding, gamma = Folding(net), torch.rand(24) + 0.5
    folding.scale_shift("fc2", gamma, torch.zeros(24), 0)
    folding.scale_shift("fc2", 1 / gamma.double(), torch.zeros(24), 0)
    assert torch.equal(folding.backbone().blocks[0].mlp.fc2.weight, net.blocks[0].mlp.fc2.weight)


def test_only_the_adapter_in_use_is_folded(micro_backbone, toy_batch):
    model = model_of(micro_backbone, "ssf")
    other = Adapter(
        model.backbone, make_method("vpt"), make_task("classification"), CLASSES, ("cls",)
    )
    model.add("other", other)
    folded = fold_model(model)
    assert list(folded.adapters) == ["default"]
    torch.testing.assert_close(run(folded, toy_batch), run(model, toy_batch), rtol=0, atol=1e-5)


class Other(PointViT):
    """A family whose blocks add the residual before their norm1 tap, so its algebra differs."""

    def __init__(self, config):
        super().__init__(config)
        for block in self.blocks:
            block.forward = lambda tokens, taps, block=block: self.differs(block, tokens, taps)

    @staticmethod
    def differs(block, tokens, taps):
        h = block.norm1(tokens.x)
        return tokens.with_x(h + block.attn(taps.norm1(h), taps))


def test_a_family_whose_algebra_differs_is_refused(micro_backbone):
    net = load_backbone(micro_backbone)
    other = Other(net.config)
    other.load_state_dict(net.state_dict())
    other.seal()
    task = make_task("classification")
    model = PointModel(other, Adapter(other, make_method("ssf"), task, CLASSES)).eval()
    with pytest.raises(CannotFold, match="does not fold exactly into the family"):
        fold_model(model)
    lora = PointModel(other, Adapter(other, make_method("lora"), task, CLASSES))
    assert fold_model(lora).adapter.method.name == "linear_probe"  # increments of weights do


@pytest.mark.parametrize("layers", [{}, {"norm1": "blocks.{}.ln_1"}])
def test_a_family_that_declares_no_layer_is_refused(layers, micro_backbone, monkeypatch):
    monkeypatch.setattr(PointViT, "fold_layers", layers)
    with pytest.raises(CannotFold, match="'patch_out' of the family 'point_vit'"):
        fold_model(model_of(micro_backbone, "ssf"))


def test_a_family_without_a_place_for_the_bias_is_refused(micro_backbone, monkeypatch):
    def plain(self, config):
        init(self, dataclasses.replace(config, qkv_bias=False))

    model, init = model_of(micro_backbone, "ssf"), PointViT.__init__
    monkeypatch.setattr(PointViT, "__init__", plain)
    with pytest.raises(CannotFold, match=r"no place for 'blocks\.0\.attn\.qkv\.bias'"):
        fold_model(model)


def test_command(micro_adapter, tmp_path, toy_root, capsys):
    """The folded folder evaluates and predicts alike, also once moved; the adapter is untouched."""
    before = {p.name: p.read_bytes() for p in micro_adapter.iterdir()}
    out = tmp_path / "folded"
    assert main(["fold", str(micro_adapter), "--out", str(out), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["method"] == done["left"] == "dapt"
    assert done["foldable"] == "partly"
    assert done["parameters"] < done["parameters_before"]
    assert {p.name: p.read_bytes() for p in micro_adapter.iterdir()} == before
    moved = tmp_path / "moved"
    shutil.move(out, moved)
    file = next(p for p in toy_root.rglob("*") if p.is_file())
    scores, guesses = [], []
    for folder in (micro_adapter, moved):
        assert main(["evaluate", "--adapter", str(folder), "--json"]) == 0
        scores.append(json.loads(capsys.readouterr().out)["per_class"])
        assert main(["predict", str(file), "--adapter", str(folder), "--json"]) == 0
        guesses.append(json.loads(capsys.readouterr().out)[0]["top"])
    assert scores[0] == scores[1]
    np.testing.assert_allclose(*([p for _, p in g] for g in guesses), atol=1e-5)
    assert "folded from | dapt" in (moved / "README.md").read_text()
    assert main(["fold", str(moved), "--out", str(tmp_path / "twice")]) == 2
    assert "cannot be folded" in capsys.readouterr().err


def test_summary_says_what_to_do_next(micro_adapter, tmp_path, capsys):
    assert main(["fold", str(micro_adapter), "--out", str(tmp_path / "folded")]) == 0
    text = capsys.readouterr().out
    assert "dapt, partly" in text
    assert "pointadapt predict" in text


def test_moved_statistics_belong_to_the_folded_backbone(micro_backbone, toy_batch, tmp_path):
    model = model_of(micro_backbone, "norm")
    expected = run(model, toy_batch)
    adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(micro_backbone), points=64)
    fold(tmp_path / "a", tmp_path / "b")
    loaded = adapter_folder.load(tmp_path / "b")
    assert torch.equal(run(loaded, toy_batch), expected)
    assert not any(k.startswith("backbone.") for k in loaded.adapter_state())
    adapter_folder.load_into(loaded, tmp_path / "b", "again")
    with pytest.raises(AdapterError, match="made for the backbone"):
        adapter_folder.load(tmp_path / "b", backbone=micro_backbone)


def test_out_must_be_another_folder(micro_adapter):
    for out in (micro_adapter, micro_adapter.parent):
        with pytest.raises(AdapterError, match="choose another --out"):
            fold(micro_adapter, out)


def test_public_name():
    assert pointadapt.fold is fold


def test_a_folded_backbone_is_a_backbone_folder(micro_backbone, tmp_path):
    """It can be trained on again like any other."""
    folded = fold_model(model_of(micro_backbone, "ssf"))
    loaded = load_backbone(save_backbone(folded.backbone, tmp_path / "b"))
    assert loaded.fingerprint == folded.backbone.fingerprint
    task = make_task("classification")
    again = PointModel(loaded, Adapter(loaded, make_method("dapt", {"rank": 2}), task, CLASSES))
    assert fold_model(again).backbone.config.qkv_bias


def full_model(folder):
    """A fully fine-tuned model, far from the pre-trained weights of ``folder``."""
    model = model_of(folder, "full")
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_share_lies_between_pretrained_and_adapted_weights(micro_backbone, tmp_path, share):
    """But a CLS token that was never pre-trained has nothing to lie between."""
    net = load_backbone(micro_backbone)
    net.seal(name for name in net.base_keys if name != "cls_token")
    folder = save_backbone(net, tmp_path / "without")
    before, model = load_backbone(folder), full_model(folder)
    after, now = model.backbone.state_dict(), fold_model(model, share).backbone.state_dict()
    for name, pretrained in before.state_dict().items():
        own = name in before.base_keys and pretrained.is_floating_point()
        want = (1 - share) * pretrained + share * after[name] if own else after[name]
        torch.testing.assert_close(now[name], want, rtol=0, atol=1e-6)


def test_a_share_of_lora_is_that_share_of_its_increments(micro_backbone, toy_batch):
    model = model_of(micro_backbone, "lora", rank=2)
    folded = fold_model(model, 0.5)
    with torch.no_grad():
        for block in model.adapter.taps.blocks:
            for increment in block.increments.values():
                increment.up.weight.mul_(0.5)
        model.backbone.cls_token.copy_(folded.backbone.cls_token)
        model.backbone.encoder.load_state_dict(folded.backbone.encoder.state_dict())  # statistics
    torch.testing.assert_close(run(folded, toy_batch), run(model, toy_batch), rtol=0, atol=1e-5)


def test_a_bias_that_folding_added_was_zero(micro_backbone):
    model = model_of(micro_backbone, "ssf")
    with torch.no_grad():
        model.adapter.taps.ss_patch.gamma.abs_()
    whole, half = (fold_model(model, s).backbone.blocks[0].attn.qkv.bias for s in (1.0, 0.5))
    torch.testing.assert_close(half, whole / 2)


def test_a_share_that_cannot_be_had_is_refused(micro_backbone, tmp_path, capsys):
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="from 0 to 1"):
            fold_model(full_model(micro_backbone), share)
    with pytest.raises(CannotFold, match="DAPT folds partly"):
        fold_model(model_of(micro_backbone, "dapt", rank=2), 0.5)
    model = model_of(micro_backbone, "ssf")
    with torch.no_grad():
        model.adapter.taps.ss_patch.gamma[0] = -1
    with pytest.raises(CannotFold, match="changed its sign"):
        fold_model(model, 0.5)


def test_command_with_a_share(micro_backbone, tmp_path, capsys):
    """Scores of the adapted weights are not those of the mixture, so they are left out."""
    model, out = full_model(micro_backbone), tmp_path / "half"
    adapter_folder.save_adapter(
        model, tmp_path / "a", backbone=str(micro_backbone), points=64,
        results={"accuracy": 99.0, "data": "shapes"},
    )  # fmt: skip
    command = ["fold", str(tmp_path / "a"), "--out", str(out), "--share"]
    assert main([*command, "2"]) == 2
    assert not out.exists()
    assert main([*command, "0.5"]) == 0
    assert "50 %" in capsys.readouterr().out
    results = adapter_folder.load(out).adapter.about["results"]
    assert results == {"folded_from": "full", "share_of_adapted_weights": 0.5, "data": "shapes"}
