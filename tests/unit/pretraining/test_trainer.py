"""Masked autoencoding at a size that takes a second."""

import importlib
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from pointadapt.backbones import BACKBONES
from pointadapt.backbones.point_vit import PointViT
from pointadapt.core import stops
from pointadapt.core.config import PretrainConfig, save_config
from pointadapt.core.errors import CheckpointError, ConfigError, PointAdaptError, UnknownNameError
from pointadapt.core.folders import only_run_in
from pointadapt.core.tensors import read_safetensors
from pointadapt.ops import chamfer_distance, group
from pointadapt.pretrained.load import load_backbone
from pointadapt.pretraining.batches import CloudBatches, loader
from pointadapt.pretraining.masked_autoencoder import MaskedAutoencoder

module = importlib.import_module("pointadapt.pretraining.trainer")
pretrain = module.pretrain


@pytest.fixture
def config(micro_backbone, tmp_path, toy_root, monkeypatch):
    """Eight steps, three checkpoints; from files, which are faster than made-up shapes."""
    micro = load_backbone(micro_backbone).config
    monkeypatch.setitem(BACKBONES["point_vit"].sizes, "micro", micro)
    return PretrainConfig(
        out=tmp_path / "run", data="folder", root=toy_root, size="micro", points=64, steps=8,
        batch_size=8, warmup_steps=2, decoder_depth=1, save_every=3, threads=1, lr=3e-3,
        picture_every=0, workers=0,
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


def masked(net, points, seed=0, *part):
    """What the network gives with the masks of a seed."""
    return net(points, **net.masks(len(points), draw(seed), *part))


def test_only_hidden_patches_enter_the_loss(net, toy_batch):
    points, hidden = toy_batch[0], math.floor(0.6 * 8)
    out = masked(net, points)
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
        return masked(net, torch.cat([corners, inside.flatten(0, 1)])[None])

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
    hidden = [masked(net, toy_batch[0], s).centers for s in (0, 0, 1)]
    assert torch.equal(hidden[0], hidden[1])
    assert not torch.equal(hidden[0], hidden[2])


def test_each_cloud_has_its_own_mask(net, toy_batch):
    same_cloud = toy_batch[0][:1].expand(32, -1, -1)
    assert len({tuple(sorted(c.sum(dim=1).tolist())) for c in masked(net, same_cloud).centers}) > 5


def test_everything_but_cls_gets_gradients(net, toy_batch):
    masked(net, toy_batch[0]).chamfer().backward()
    idle = {n for n, p in net.named_parameters() if p.grad is None}
    assert idle == {"backbone.cls_token", "backbone.cls_pos"}


def test_the_label_loss_teaches_cls_and_skips_clouds_without_a_class(micro_backbone, toy_batch):
    torch.manual_seed(0)
    net = MaskedAutoencoder(load_backbone(micro_backbone), 0.6, 1, classes=4)
    points, labels = toy_batch
    out = masked(net, points)
    some = torch.where(torch.arange(32) < 20, labels, -1)
    want = torch.nn.functional.cross_entropy(out.logits[:20], labels[:20])
    torch.testing.assert_close(out.label_loss(some), want)
    assert out.label_loss(torch.full((32,), -1)).item() == 0
    out.label_loss(some).backward()
    assert net.backbone.cls_token.grad.abs().max() > 0
    assert net.decoder_norm.weight.grad is None


def test_without_classes_there_is_no_label_loss(net, toy_batch):
    with pytest.raises(ConfigError, match="without classes"):
        masked(net, toy_batch[0]).label_loss(toy_batch[1])


def test_the_attribute_loss_counts_what_is_known(micro_backbone, toy_batch):
    torch.manual_seed(0)
    net = MaskedAutoencoder(load_backbone(micro_backbone), 0.6, 1, classes=4, attributes=3)
    out = masked(net, toy_batch[0])
    has, known = torch.rand(32, 3) < 0.5, torch.ones(32, 3, dtype=torch.bool)
    p = out.logits[:, 4:].sigmoid()
    want = -torch.where(has, p, 1 - p).log()
    torch.testing.assert_close(out.attribute_loss(has, known), want.sum(dim=1).mean())
    known[:, 1] = False
    torch.testing.assert_close(out.attribute_loss(has, known), want[:, [0, 2]].sum(dim=1).mean())
    with pytest.raises(ConfigError, match="without attributes"):
        net = MaskedAutoencoder(load_backbone(micro_backbone), 0.6, 1, classes=4)
        masked(net, toy_batch[0]).attribute_loss(has, known)


def test_the_share_of_hidden_patches_is_drawn_within_its_bounds(micro_backbone, toy_batch):
    net = MaskedAutoencoder(load_backbone(micro_backbone), 0.5, 1, mask_spread=0.3)
    groups = net.backbone.config.groups
    counts = {masked(net, toy_batch[0], i).target.shape[1] for i in range(30)}
    assert min(counts) >= int(0.2 * groups) and max(counts) <= int(0.8 * groups)
    assert len(counts) > 2
    with pytest.raises(ConfigError, match="hides"):
        MaskedAutoencoder(load_backbone(micro_backbone), 0.5, 1, mask_spread=0.5)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0])
def test_mask_ratios_that_leave_nothing_to_do(micro_backbone, ratio):
    with pytest.raises(ConfigError, match="hides"):
        MaskedAutoencoder(load_backbone(micro_backbone), ratio)


@pytest.mark.parametrize("label_weight", [0.0, 1.0])
def test_loss_falls(config, label_weight):
    config = replace(config, steps=100, save_every=1000, label_weight=label_weight)
    summary = pretrain(config)
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [50, 100]
    assert rows[1]["chamfer"] < 0.95 * rows[0]["chamfer"]
    assert rows[1]["loss"] < (0.7 if label_weight else 0.95) * rows[0]["loss"]
    assert summary["loss"] == pytest.approx(rows[-1]["loss"], abs=1e-6)
    assert (summary["loss"] == summary["chamfer"]) == (label_weight == 0)


def test_views_are_learned_from(config):
    """Each view finds its cloud's other one among the 16 of a batch better than by chance."""
    views = replace(config, steps=100, save_every=1000, **{**VIEWS, "contrast_weight": 1.0})
    summary = pretrain(replace(views, views=("rotate_z",)))
    assert summary["loss"] - summary["chamfer"] < 0.8 * math.log(15)
    assert load_backbone(config.out / "backbone").config == PointViT.sizes["micro"]


def test_what_a_run_leaves(config):
    summary = pretrain(replace(config, workers=2))
    assert sorted(p.name for p in config.out.iterdir()) == [
        "backbone", "checkpoint.pt", "summary.json",
    ]  # fmt: skip
    net = load_backbone(config.out / "backbone")
    assert net.fingerprint == summary["sha256"]
    assert summary["processes"] == 1 and summary["machine"]["torch"] == torch.__version__
    assert net.config == PointViT.sizes["micro"]
    assert summary["clouds"] == 64
    stored = json.loads((config.out / "summary.json").read_text())
    assert stored == json.loads(json.dumps(summary))


def test_one_seed_gives_one_backbone(config):
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


VIEWS = {"views": ("sensor", "rotate_z", "noise"), "view_points": 64, "contrast_weight": 0.1}


@pytest.mark.parametrize("more", [{}, {"precision": "bf16"}, VIEWS], ids=["fp32", "bf16", "views"])
def test_resuming_is_exact(config, more, monkeypatch):
    whole = replace(config, out=config.out / "whole", **more)
    pretrain(whole)
    parts = replace(whole, out=config.out / "parts")
    for resume in (False, True):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stop_after_saves(patch, 1)
            pretrain(replace(parts, resume=resume))
    pretrain(replace(parts, resume=True))
    assert same(weights(whole), weights(parts))


@pytest.mark.parametrize("workers", [0, 1])
def test_sigterm_saves_the_step_and_resuming_is_exact(config, workers, monkeypatch, sigterm):
    """Also what the summary says: its loss is the mean of the last steps, of both parts."""
    config = replace(config, steps=60, batch_size=4, save_every=100, workers=workers)
    whole, parts = (replace(config, out=config.out / name) for name in ("whole", "parts"))
    want, original = pretrain(whole), module._Run._step

    def step(run, number, *batch):
        if number == 16:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(run, number, *batch)

    with monkeypatch.context() as patch, pytest.raises(stops.Stopped, match="step 17 of 60"):
        patch.setattr(module._Run, "_step", step)
        pretrain(parts)
    stops.forget()
    assert not (parts.out / "backbone").exists()
    got = pretrain(replace(parts, resume=True))
    assert same(weights(whole), weights(parts))
    assert (got["loss"], got["chamfer"]) == (want["loss"], want["chamfer"])
    logs = [[json.loads(line) for line in (c.out / "log.jsonl").read_text().splitlines()]
            for c in (whole, parts)]  # fmt: skip
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]
    again = pretrain(replace(parts, resume=True))  # nothing is left to do
    assert again["loss"] == want["loss"] and same(weights(whole), weights(parts))


def test_helpers_leave_signals_to_the_run(config):
    """Ctrl-C and a cluster's SIGTERM reach every process of a run."""
    code = (
        "import os, signal; from pointadapt.core import stops; stops.install(); stops.ignore();"
        "[os.kill(os.getpid(), s) for s in (signal.SIGINT, signal.SIGTERM)]; print('here')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "here\n"
    assert loader(CloudBatches(config), range(2), 1, pin=False).worker_init_fn


def test_resuming_cuts_the_log_to_the_checkpoint(config, monkeypatch):
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


def test_made_up_shapes_are_the_default(config):
    assert PretrainConfig().data == ("shapes",)
    made = replace(config, data="shapes", root=None, steps=2)
    summary = pretrain(made)
    assert math.isfinite(summary["loss"])
    third = pretrain(replace(made, out=config.out / "2", attribute_weight=0.1))
    assert third["loss"] > summary["loss"]
    with pytest.raises(ConfigError, match="attributes are known of shapes only"):
        pretrain(replace(config, out=config.out / "3", attribute_weight=0.1))


def test_goes_on_from_a_backbone(config, micro_backbone):
    pretrain(replace(config, init=str(micro_backbone), steps=1, weight_decay=0.0))
    start, end = read_safetensors(micro_backbone / "model.safetensors"), weights(config)
    for key in start:
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(end[key], start[key], rtol=0, atol=1e-4)


def test_a_data_set_is_gone_through_in_another_order_each_time(config):
    batches = CloudBatches(config)  # 40 clouds in batches of eight
    keys = []
    for epoch in range(2):
        parts = [batches[5 * epoch + i] for i in range(5)]
        points, labels, *_ = (torch.cat(part) for part in zip(*parts, strict=True))
        keys.append([(p.numpy().tobytes(), int(k)) for p, k in zip(points, labels, strict=True)])
    assert len(set(keys[0])) == 40
    assert set(keys[0]) == set(keys[1])
    assert keys[0] != keys[1]
    assert torch.equal(batches[7][0], CloudBatches(config)[7][0])


def test_looking_at_a_run_does_not_change_it(config, toy_root):
    pretrain(replace(config, out=config.out / "blind"))
    seen = replace(
        config, out=config.out / "seen", probe_every=3, probe_data="folder", probe_clouds=20,
        picture_every=5,
    )  # fmt: skip
    summary = pretrain(seen)
    assert same(weights(replace(config, out=config.out / "blind")), weights(seen))
    rows = [json.loads(line) for line in (seen.out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6, 8]
    probe = summary["probe"]
    assert probe["steps"] == [3, 6, 8]
    assert probe["accuracies"] == [row["svm"] for row in rows]
    assert probe["accuracy"] == rows[-1]["svm"] > 25  # of four classes
    assert (probe["train_clouds"], probe["test_clouds"]) == (20, 16)
    pictures = sorted(p.name for p in (seen.out / "pictures").iterdir())
    assert pictures == ["0000005.png", "0000008.png", "curves.png"]
    assert summary["picture"] == str(seen.out / "pictures" / "0000008.png")


def test_a_resumed_run_scores_and_draws_as_a_whole_one(config, monkeypatch):
    config = replace(config, probe_every=2, probe_data="folder", picture_every=4)
    whole, parts = (replace(config, out=config.out / name) for name in ("whole", "parts"))
    summary = pretrain(whole)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after_saves(patch, 1)
        pretrain(parts)
    assert pretrain(replace(parts, resume=True))["probe"] == summary["probe"]
    pictures = [(c.out / "pictures" / "0000008.png").read_bytes() for c in (whole, parts)]
    assert pictures[0] == pictures[1]


def test_a_mixture(config):
    mixed = replace(
        config, data=("folder", "shapes"), roots=(f"folder={config.root}",), root=None,
        weights=("folder=1", "shapes=3"), label_weight=0.1, attribute_weight=0.1, steps=2,
    )  # fmt: skip
    assert math.isfinite(pretrain(mixed)["loss"])
    with pytest.raises(CheckpointError, match=r"\(weights: \['folder=1', .* then, \[\] now\)"):
        pretrain(replace(mixed, weights=(), resume=True))


def test_other_patches_than_the_size_has(config):
    pretrain(replace(config, groups=6, group_size=4, steps=1))
    made = load_backbone(config.out / "backbone").config
    assert (made.groups, made.group_size) == (6, 4)


def test_half_precision_files_have_the_fingerprint_of_the_summary(config):
    summary = pretrain(replace(config, save_precision="bf16", shard_mb=1, steps=2))
    assert {v.dtype for v in weights(config).values()} == {torch.bfloat16, torch.int64}
    assert load_backbone(config.out / "backbone").fingerprint == summary["sha256"]


def test_a_checkpoint_from_before_there_were_mixtures(config, monkeypatch):
    """It had no options for them, and named its data by a string."""
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after_saves(patch, 1)
        pretrain(config)
    state = torch.load(config.out / "checkpoint.pt", weights_only=True)
    stored = json.loads(state["config"])
    for key in ("roots", "weights", "available", "groups", "group_size"):
        del stored[key]
    stored["data"] = "folder"
    torch.save({**state, "config": json.dumps(stored)}, config.out / "checkpoint.pt")
    assert pretrain(replace(config, resume=True))["loss"] is not None


# ---- several processes

TWO = """
import sys, torch
from pointadapt.backbones import BACKBONES
from pointadapt.backbones.point_vit import PointViT, PointViTConfig
from pointadapt.core.config import PretrainConfig, load_config
from pointadapt.pretraining.trainer import pretrain

micro = PointViTConfig(dim=24, depth=2, heads=2, groups=8, group_size=8,
                       encoder_widths=(8, 16, 16), sampling_rule="plain")
PointViT.sizes["micro"] = micro
live = load_config(sys.argv[1], PretrainConfig)
empty = pretrain(live) == {}
torch.nn.BatchNorm1d.train = lambda self, mode=True: torch.nn.Module.train(self, False)
assert (pretrain(load_config(sys.argv[2], PretrainConfig)) == {}) == empty
rank = torch.distributed.get_rank()
assert empty == (rank > 0)
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="torch was built without gloo",
)
def test_two_processes_equal_one(config, tmp_path, monkeypatch):
    """Up to rounding with BatchNorm's statistics held; with them, each has those of its share."""
    both = replace(
        config, data=("folder", "shapes"), label_weight=1.0, attribute_weight=0.1, mask_spread=0.2,
        augment=("scale_shift", "rotate"), assembly_fraction=0.3, seed=2,
        views=("sensor", "noise"), view_points=64,
    )  # fmt: skip
    labels = [[CloudBatches(both, r, 2)[step][1] for r in (0, 1)] for step in range(3)]
    counts = [[int((part >= 0).sum()) for part in parts] for parts in labels]
    assert all(a != b for a, b in counts), counts  # so that a mean of means would be another loss
    runs = {"live": replace(both, steps=1), "held": replace(both, steps=3, save_every=2)}
    for name, run in runs.items():
        save_config(replace(run, out=tmp_path / f"two_{name}"), tmp_path / f"{name}.yaml")
    (tmp_path / "two.py").write_text(TWO)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone",
        str(tmp_path / "two.py"), str(tmp_path / "live.yaml"), str(tmp_path / "held.yaml"),
    ]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, timeout=1200, check=False, env=env)
    assert done.returncode == 0, done.stderr.decode()[-3000:]

    def pair(name):
        one = replace(runs[name], out=tmp_path / f"one_{name}")
        pretrain(one)
        two = replace(one, out=tmp_path / f"two_{name}")
        read = [json.loads((c.out / "summary.json").read_text()) for c in (one, two)]
        assert [summary["processes"] for summary in read] == [1, 2]
        return weights(one), weights(two), *(summary["loss"] for summary in read)

    one, two, loss, shared_loss = pair("live")
    first = "encoder.norm1.running_mean"  # a mean of means of equal shares is the mean of all
    torch.testing.assert_close(two[first], one[first], atol=1e-6, rtol=0)
    assert shared_loss == pytest.approx(loss, rel=0.05)
    monkeypatch.setattr(
        torch.nn.BatchNorm1d, "train", lambda self, mode=True: torch.nn.Module.train(self, False)
    )
    one, two, loss, shared_loss = pair("held")
    assert shared_loss == pytest.approx(loss, abs=2e-6)
    for key in one:
        torch.testing.assert_close(two[key], one[key], atol=2e-5, rtol=0, msg=key)


def test_a_batch_is_shared_equally(config):
    whole = CloudBatches(config)[3][0]
    parts = [CloudBatches(config, rank, 4)[3][0] for rank in range(4)]
    assert torch.equal(torch.cat(parts), whole)
    with pytest.raises(ConfigError, match="8 clouds cannot be shared equally by 3 processes"):
        CloudBatches(config, 0, 3)


def test_masks_of_a_share_are_those_of_the_batch(net, toy_batch):
    net.eval()
    with torch.no_grad():
        whole = masked(net, toy_batch[0]).centers
        parts = [masked(net, p, 0, k, 2).centers for k, p in enumerate(toy_batch[0].chunk(2))]
    assert torch.equal(torch.cat(parts), whole)


# ---- bad input


def test_an_earlier_run_is_not_overwritten(config):
    pretrain(config)
    before = weights(config)
    with pytest.raises(ConfigError, match="holds an earlier run: add --resume"):
        pretrain(replace(config, seed=1))
    assert same(before, weights(config))


def test_one_run_at_a_time_and_nothing_half_written_stays(config):
    config = replace(config, steps=2)
    with only_run_in(config.out), pytest.raises(PointAdaptError, match="in use by another run"):
        pretrain(config)
    for place in (config.out, config.out / "backbone"):
        place.mkdir(parents=True, exist_ok=True)
        (place / ".model.safetensors.9.part").write_text("half")
    pretrain(config)
    assert not list(config.out.rglob(".*"))


def test_resuming_with_other_options(config):
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
        ({"lr": 1e15, "clip": 1e15}, PointAdaptError, "the loss became (nan|inf) in step"),
        ({"points": 7}, ConfigError, "clouds of 7 points are too small for 8 patches of 8"),
        ({"mask_ratio": 0.01}, ConfigError, "hides 0 of 8"),
        ({"probe_every": 2, "probe_data": "foldr"}, UnknownNameError, "did you mean 'folder'"),
        ({"roots": ("shapedb=x",)}, ConfigError, "--roots names 'shapedb', which is not among"),
    ],
)
def test_wrong_values(config, changes, error, message):
    with pytest.raises(error, match=message) as caught:
        pretrain(replace(config, **changes))
    assert "\n" not in str(caught.value)
    assert not (config.out / "backbone").exists()
