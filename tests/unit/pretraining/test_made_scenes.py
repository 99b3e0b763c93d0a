"""Pre-training on made-up scenes at a size that takes seconds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pointadapt.backbones import BACKBONES
from pointadapt.backbones.ptv3 import VoxelConfig
from pointadapt.backbones.voxel.config import PTv3Config
from pointadapt.core.config import PretrainConfig
from pointadapt.core.errors import ConfigError
from pointadapt.core.stops import Stopped
from pointadapt.core.tensors import read_safetensors
from pointadapt.data.procedural.scenes.make import make_scene
from pointadapt.data.procedural.scenes.stage import CLASSES
from pointadapt.pretrained.load import load_backbone
from pointadapt.pretraining import trainer
from pointadapt.pretraining.made_scenes import SceneBatches, SceneTargets, _hidden, scene_net
from pointadapt.pretraining.trainer import pretrain

MICRO = VoxelConfig(
    PTv3Config(
        in_channels=46, depths=(1, 1), channels=(8, 12), heads=(1, 2), patch_sizes=(32, 32),
        decoder_depths=(1,), decoder_channels=(8,), decoder_heads=(1,),
        decoder_patch_sizes=(32,),
    ),
    grid=0.1,
)  # fmt: skip


@pytest.fixture
def config(tmp_path, monkeypatch):
    takes = len(BACKBONES["ptv3"].sizes["tiny"].input.takes)
    network = replace(MICRO.network, in_channels=3 + takes)
    monkeypatch.setitem(BACKBONES["ptv3"].sizes, "micro", replace(MICRO, network=network))
    return PretrainConfig(
        out=tmp_path / "run", data="scenes", backbone="ptv3", size="micro", points=64, steps=4,
        batch_size=2, warmup_steps=1, save_every=2, threads=1, workers=0, lr=3e-3,
    )  # fmt: skip


def test_a_batch_depends_on_its_step_alone(config):
    batches = SceneBatches(config, MICRO.input)
    first, again, other = batches[3], batches[3], batches[2]
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) if a.is_floating_point()
               else torch.equal(a, b) for a, b in zip(first, again, strict=True))  # fmt: skip
    assert len(first.grid) != len(other.grid) or not torch.equal(first.coord, other.coord)
    assert first.batch.unique().tolist() == [0, 1]
    assert {len(part) for part in first} == {len(first.grid)}
    assert first.labels.max() < len(CLASSES)


def test_hidden_features_are_zero_and_the_others_as_they_were(config):
    batches = SceneBatches(replace(config, batch_size=12), MICRO.input)
    told = batches[0]
    seen = told.features[:, 3:]
    assert 0 < told.hidden.float().mean() < 1
    assert not seen[told.hidden].any()
    assert torch.equal(seen[~told.hidden], told.whole[~told.hidden])


def test_a_side_of_a_block_is_hidden():
    points = np.random.default_rng(0).normal(size=(500, 3))
    shares = [_hidden(points, np.random.default_rng(s)).mean() for s in range(200)]
    assert 0.03 < np.mean(np.isclose(shares, 1)) < 0.2
    assert 0.4 < np.mean(np.isclose(shares, 0)) < 0.6


def test_normals_stay_normals_when_a_block_is_stretched(config):
    """On the floor of a room they point up, whatever the turn and the stretch."""
    scene = make_scene((0, 0), 512, "room")
    assert (np.abs(scene.normals[scene.labels == CLASSES.index("floor"), 2]) > 0.999).all()
    told = SceneBatches(replace(config, batch_size=24), MICRO.input)[1]
    floor = told.labels == CLASSES.index("floor")
    normals = torch.nn.functional.normalize(told.normals[floor], dim=1)
    assert not floor.any() or (normals[:, 2].abs() > 0.999).all()


def test_the_loss_falls_and_the_backbone_is_kept(config):
    few = replace(config, steps=2)
    summary = pretrain(few)
    assert summary["points_right"] >= 0
    assert "chamfer" not in summary
    backbone = load_backbone(few.out / "backbone")
    assert backbone.fingerprint == summary["sha256"]
    net = scene_net(few)
    told = SceneTargets(*SceneBatches(few, net.recipe)[0])
    start = float(net(told)[0].detach())
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(12):
        optimizer.zero_grad()
        loss, right = net(told)
        loss.backward()
        optimizer.step()
    assert loss < 0.8 * start
    assert 0 <= right <= 1
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


def test_resuming_is_exact(config, monkeypatch):
    whole = pretrain(replace(config, out=config.out / "whole"))
    save, calls = trainer.save_state, []

    def stop_after_one(*args):
        save(*args)
        calls.append(1)
        if len(calls) == 1:
            raise Stopped("here")

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(trainer, "save_state", stop_after_one)
        pretrain(replace(config, out=config.out / "parts"))
    resumed = pretrain(replace(config, out=config.out / "parts", resume=True))
    assert resumed["sha256"] == whole["sha256"]
    assert resumed["loss"] == whole["loss"]


def test_the_log_names_the_points_that_are_right(config, monkeypatch):
    monkeypatch.setattr(trainer, "LOG", 2)
    pretrain(config)
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert set(rows[0]) == {"step", "loss", "points_right", "lr", "seconds"}


def test_bf16_keeps_half_the_bytes(config):
    pretrain(replace(config, steps=1, save_precision="bf16"))
    tensors = read_safetensors(config.out / "backbone/model.safetensors")
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backbone": "point_vit", "size": "tiny"}, "--backbone ptv3"),
        ({"size": "sonata_small"}, "unit ball"),
        ({"data": ("scenes", "shapes")}, "not mixed"),
        ({"label_weight": 0.1}, "label_weight"),
        ({"probe_every": 2}, "probe_every"),
    ],
)
def test_what_does_not_go_together_is_refused(config, change, words):
    with pytest.raises(ConfigError, match=words):
        pretrain(replace(config, **change))


def test_masked_autoencoding_of_voxels_says_what_to_do(config):
    with pytest.raises(ConfigError, match="--data scenes"):
        pretrain(replace(config, data=("shapes",)))
