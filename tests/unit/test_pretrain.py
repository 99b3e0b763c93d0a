"""Masked autoencoding at a size that takes a second."""

import importlib
import json
import math
from dataclasses import replace

import pytest
import torch

from pointadapt.backbones import BACKBONES
from pointadapt.backbones._weights import load_backbone, read_safetensors
from pointadapt.backbones.point_vit import PointViT
from pointadapt.config import PretrainConfig
from pointadapt.errors import CheckpointError, ConfigError, PointAdaptError, UnknownNameError
from pointadapt.masked import MaskedAutoencoder
from pointadapt.ops import chamfer_distance, group

module = importlib.import_module("pointadapt.pretrain")
pretrain = module.pretrain


@pytest.fixture
def in_process(monkeypatch):
    """Batches are made here, not in a worker, whose start would take most of a test's time."""
    loader = torch.utils.data.DataLoader

    def simple(*args, **options):
        return loader(*args, **options | {"num_workers": 0, "prefetch_factor": None})

    monkeypatch.setattr(torch.utils.data, "DataLoader", simple)


@pytest.fixture
def config(micro_backbone, tmp_path, toy_root, monkeypatch):
    """Eight steps, three checkpoints; from files, which are faster than made-up shapes."""
    micro = load_backbone(micro_backbone).config
    monkeypatch.setitem(BACKBONES["point_vit"].sizes, "micro", micro)
    return PretrainConfig(
        out=tmp_path / "run", data="folder", root=toy_root, size="micro", points=64, steps=8,
        batch_size=8, warmup_steps=2, decoder_depth=1, save_every=3, threads=1, lr=3e-3,
    )  # fmt: skip


@pytest.fixture
def net(micro_backbone):
    torch.manual_seed(0)
    return MaskedAutoencoder(load_backbone(micro_backbone), 0.6, 1)


def weights(config):
    return read_safetensors(config.out / "backbone" / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def test_only_hidden_patches_enter_the_loss(net, toy_batch):
    points, hidden = toy_batch[0], math.floor(0.6 * 8)
    out = net(points, draw())
    assert out.predicted.shape == out.target.shape == (len(points), hidden, 8, 3)
    assert out.visible.shape == (len(points), 8 - hidden, 8, 3)
    centers, groups = group(points, 8, 8)
    for b in range(len(points)):
        # each patch is hidden or visible, and the targets are those of the hidden centres
        where = [(centers[b] == c).all(dim=1).nonzero().item() for c in out.centers[b]]
        assert torch.equal(out.target[b], groups[b, where])
        rest = [i for i in range(8) if i not in where]
        absolute = groups[b, rest] + centers[b, rest, None]
        sums = [sorted(p.sum().item() for p in patches) for patches in (out.visible[b], absolute)]
        assert sums[0] == pytest.approx(sums[1], abs=1e-5)
    mean = torch.stack([
        chamfer_distance(p[None], t[None])
        for p, t in zip(out.predicted.flatten(0, 1), out.target.flatten(0, 1), strict=True)
    ]).mean()  # fmt: skip
    torch.testing.assert_close(out.chamfer(), mean)


def test_hidden_patches_are_not_seen(net):
    """The prediction depends on where the hidden patches are, not on what is in them."""
    net.eval()
    torch.manual_seed(0)
    # eight clusters, inwards of the corners of a cube: sampling takes the corners as centres
    corners = torch.tensor([[x, y, z] for x in (-5, 5) for y in (-5, 5) for z in (-5, 5)]).float()

    def predict(spread):
        inside = corners[:, None] - corners[:, None].sign() * spread
        return net(torch.cat([corners, inside.flatten(0, 1)])[None], draw())

    spread = 0.1 * torch.rand(8, 7, 3)
    with torch.no_grad():
        first = predict(spread)
        hidden = [(corners == c).all(dim=1).nonzero().item() for c in first.centers[0]]
        assert len(hidden) == 4
        for i in range(8):
            bent = spread.clone()
            bent[i] *= 2
            same_prediction = torch.equal(predict(bent).predicted, first.predicted)
            assert same_prediction == (i in hidden)


def test_masks_are_drawn_from_the_generator(net, toy_batch):
    hidden = [net(toy_batch[0], draw(s)).centers for s in (0, 0, 1)]
    assert torch.equal(hidden[0], hidden[1])
    assert not torch.equal(hidden[0], hidden[2])


def test_each_cloud_has_its_own_mask(net, toy_batch):
    same_cloud = toy_batch[0][:1].expand(32, -1, -1)
    assert len({tuple(sorted(c.sum(dim=1).tolist())) for c in net(same_cloud, draw()).centers}) > 5


def test_everything_but_cls_gets_gradients(net, toy_batch):
    net(toy_batch[0], draw()).chamfer().backward()
    idle = {n for n, p in net.named_parameters() if p.grad is None}
    assert idle == {"backbone.cls_token", "backbone.cls_pos"}


def test_the_label_loss_teaches_cls_and_skips_clouds_without_a_class(micro_backbone, toy_batch):
    torch.manual_seed(0)
    net = MaskedAutoencoder(load_backbone(micro_backbone), 0.6, 1, classes=4)
    points, labels = toy_batch
    out = net(points, draw())
    some = torch.where(torch.arange(32) < 20, labels, -1)
    want = torch.nn.functional.cross_entropy(out.logits[:20], labels[:20])
    torch.testing.assert_close(out.label_loss(some), want)
    assert out.label_loss(torch.full((32,), -1)).item() == 0
    out.label_loss(some).backward()
    assert net.backbone.cls_token.grad.abs().max() > 0
    assert net.decoder_norm.weight.grad is None


def test_without_classes_there_is_no_label_loss(net, toy_batch):
    with pytest.raises(ConfigError, match="without classes"):
        net(toy_batch[0], draw()).label_loss(toy_batch[1])


def test_the_attribute_loss_counts_what_is_known(micro_backbone, toy_batch):
    torch.manual_seed(0)
    net = MaskedAutoencoder(load_backbone(micro_backbone), 0.6, 1, classes=4, attributes=3)
    out = net(toy_batch[0], draw())
    has, known = torch.rand(32, 3) < 0.5, torch.ones(32, 3, dtype=torch.bool)
    p = out.logits[:, 4:].sigmoid()
    want = -torch.where(has, p, 1 - p).log()
    torch.testing.assert_close(out.attribute_loss(has, known), want.sum(dim=1).mean())
    known[:, 1] = False
    torch.testing.assert_close(out.attribute_loss(has, known), want[:, [0, 2]].sum(dim=1).mean())
    with pytest.raises(ConfigError, match="without attributes"):
        MaskedAutoencoder(load_backbone(micro_backbone), 0.6, 1, classes=4)(
            toy_batch[0], draw()
        ).attribute_loss(has, known)


def test_the_share_of_hidden_patches_is_drawn_within_its_bounds(micro_backbone, toy_batch):
    net = MaskedAutoencoder(load_backbone(micro_backbone), 0.5, 1, mask_spread=0.3)
    groups = net.backbone.config.groups
    counts = {net(toy_batch[0], draw(i)).target.shape[1] for i in range(30)}
    assert min(counts) >= int(0.2 * groups) and max(counts) <= int(0.8 * groups)
    assert len(counts) > 2
    with pytest.raises(ConfigError, match="hides"):
        MaskedAutoencoder(load_backbone(micro_backbone), 0.5, 1, mask_spread=0.5)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0])
def test_mask_ratios_that_leave_nothing_to_do(micro_backbone, ratio):
    with pytest.raises(ConfigError, match="hides"):
        MaskedAutoencoder(load_backbone(micro_backbone), ratio)


@pytest.mark.parametrize("label_weight", [0.0, 1.0])
def test_loss_falls(config, label_weight, in_process):
    config = replace(config, steps=100, save_every=1000, label_weight=label_weight)
    summary = pretrain(config)
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [50, 100]
    assert rows[1]["chamfer"] < 0.95 * rows[0]["chamfer"]
    assert rows[1]["loss"] < (0.7 if label_weight else 0.95) * rows[0]["loss"]
    assert summary["loss"] == pytest.approx(rows[-1]["loss"], abs=1e-6)
    assert (summary["loss"] == summary["chamfer"]) == (label_weight == 0)


def test_what_a_run_leaves(config):
    summary = pretrain(config)
    assert sorted(p.name for p in config.out.iterdir()) == [
        "backbone", "checkpoint.pt", "summary.json",
    ]  # fmt: skip
    net = load_backbone(config.out / "backbone")
    assert net.fingerprint == summary["sha256"]
    assert net.config == PointViT.sizes["micro"]
    assert summary["clouds"] == 64
    stored = json.loads((config.out / "summary.json").read_text())
    assert stored == json.loads(json.dumps(summary))


def test_one_seed_gives_one_backbone(config, in_process):
    pretrain(config)
    torch.manual_seed(77)
    again = replace(config, out=config.out / "again")
    pretrain(again)
    assert same(weights(config), weights(again))
    other = replace(config, out=config.out / "other", seed=1)
    pretrain(other)
    assert not same(weights(config), weights(other))


class Stopped(BaseException):
    """What no handler in the program catches."""


def stop_after_saves(monkeypatch, count):
    original, calls = module.save_state, []

    def save(path, state):
        original(path, state)
        calls.append(path)
        if len(calls) == count:
            raise Stopped

    monkeypatch.setattr(module, "save_state", save)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resuming_is_exact(config, precision, monkeypatch, in_process):
    whole = replace(config, precision=precision, out=config.out / "whole")
    pretrain(whole)
    parts = replace(whole, out=config.out / "parts")
    for resume in (False, True):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stop_after_saves(patch, 1)
            pretrain(replace(parts, resume=resume))
    pretrain(replace(parts, resume=True))
    assert same(weights(whole), weights(parts))


def test_resuming_cuts_the_log_to_the_checkpoint(config, monkeypatch, in_process):
    config = replace(config, steps=110, save_every=60)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after_saves(patch, 1)
        pretrain(config)
    log = config.out / "log.jsonl"
    with log.open("a") as file:  # what a run killed later would have left
        file.write('{"step": 100, "loss": 9.0}\n{"step": 1')
    pretrain(replace(config, resume=True))
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [50, 100]
    assert "9.0" not in log.read_text().splitlines()[1].split('"lr"')[0]


def test_made_up_shapes_are_the_default(config, in_process):
    assert PretrainConfig().data == "shapes"
    made = replace(config, data="shapes", root=None, steps=2)
    summary = pretrain(made)
    assert math.isfinite(summary["loss"])
    third = pretrain(replace(made, out=config.out / "2", attribute_weight=0.1))
    assert third["loss"] > summary["loss"]
    with pytest.raises(ConfigError, match="attributes are known of shapes only"):
        replace(config, attribute_weight=0.1)


def test_goes_on_from_a_backbone(config, micro_backbone, in_process):
    pretrain(replace(config, init=str(micro_backbone), steps=1, weight_decay=0.0))
    start, end = read_safetensors(micro_backbone / "model.safetensors"), weights(config)
    for key in start:
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(end[key], start[key], rtol=0, atol=1e-4)


def test_a_data_set_is_gone_through_in_another_order_each_time(config):
    batches = module.CloudBatches(config)  # 40 clouds in batches of eight
    keys = []
    for epoch in range(2):
        parts = [batches[5 * epoch + i] for i in range(5)]
        points, labels, *_ = (torch.cat(part) for part in zip(*parts, strict=True))
        keys.append([(p.numpy().tobytes(), int(k)) for p, k in zip(points, labels, strict=True)])
    assert len(set(keys[0])) == 40
    assert set(keys[0]) == set(keys[1])
    assert keys[0] != keys[1]
    assert torch.equal(batches[7][0], module.CloudBatches(config)[7][0])


# ---- bad input


def test_an_earlier_run_is_not_overwritten(config, in_process):
    pretrain(config)
    before = weights(config)
    with pytest.raises(ConfigError, match="holds an earlier run: add --resume"):
        pretrain(replace(config, seed=1))
    assert same(before, weights(config))


def test_resuming_with_other_options(config, in_process):
    pretrain(config)
    with pytest.raises(CheckpointError, match="another configuration"):
        pretrain(replace(config, lr=1e-4, resume=True))


def test_resuming_from_something_else(config):
    config.out.mkdir()
    torch.save({"identity": "x"}, config.out / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of pre-training"):
        pretrain(replace(config, resume=True))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"size": "mikro"}, UnknownNameError, "did you mean 'micro'"),
        ({"backbone": "point_vti"}, UnknownNameError, "did you mean 'point_vit'"),
        ({"data": "foldr"}, UnknownNameError, "did you mean 'folder'"),
        ({"lr": 1e30, "clip": 1e30}, PointAdaptError, "the loss became (nan|inf) in step"),
        ({"points": 7}, PointAdaptError, "7"),
        ({"mask_ratio": 0.01}, ConfigError, "hides 0 of 8"),
    ],
)
def test_wrong_values(config, changes, error, message, in_process):
    with pytest.raises(error, match=message) as caught:
        pretrain(replace(config, **changes))
    assert "\n" not in str(caught.value)
    assert not (config.out / "backbone").exists()
