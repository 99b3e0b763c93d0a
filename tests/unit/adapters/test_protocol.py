"""What an adapter records of its clouds, and that everything that uses it follows: normalised or
as stored, and from how many points those of the network are taken."""

import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.fold import fold
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.adapters.protocol import Protocol
from pointadapt.cli.main import main
from pointadapt.core.config import TrainConfig, load_config
from pointadapt.core.errors import PointCloudError
from pointadapt.core.files import load_state, save_state
from pointadapt.core.notes import PointAdaptNote
from pointadapt.data import Clouds, load_dataset, load_split
from pointadapt.data.corruptions import corrupt
from pointadapt.data.sets.episodes import Setting, draw_episodes
from pointadapt.data.sets.folds import NAME, draw_folds
from pointadapt.inference.forward import predict_probabilities
from pointadapt.inference.predict import predict
from pointadapt.io import write_points
from pointadapt.methods import make_method
from pointadapt.methods.training_clouds import TrainingClouds
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task
from pointadapt.training import trainer
from pointadapt.training.batches import training_batch
from pointadapt.training.device_arrays import Resident

DATA = Path(__file__).parents[2] / "data"
SHIFT = np.array([0.3, -0.5, 0.2], np.float32)


def in_unit_ball(points):
    """Each cloud (N, 3) centred on its mean, its farthest point at distance 1."""
    out = points - points.mean(axis=1, keepdims=True)
    return out / np.linalg.norm(out, axis=2).max(axis=1)[:, None, None]


def farthest(cloud, n):
    """(n, 3) of (N, 3): from the first on, always the point farthest from those taken."""
    taken = [0]
    while len(taken) < n:
        distance = ((cloud[:, None] - cloud[taken]) ** 2).sum(axis=-1).min(axis=1)
        taken.append(int(distance.argmax()))
    return cloud[taken]


def plain(model, points):
    """Softmax of the network on these very points."""
    adapter = model.eval().adapter
    with torch.no_grad():
        points = torch.from_numpy(np.ascontiguousarray(points)).float()
        return adapter.head(model.backbone(points, adapter.taps), points).softmax(dim=-1).numpy()


@pytest.fixture
def new_model(bare_backbone):
    def make(normalise):
        net = load_backbone(bare_backbone("point_vit"))
        torch.manual_seed(0)
        task = make_task("classification", {"hidden": 0})
        adapter = Adapter(net, make_method("vpt"), task, tuple("abcd"), normalise=normalise)
        return PointModel(net, adapter)

    return make


@pytest.fixture
def shifted(toy_batch):
    return 2 * toy_batch[0].numpy() + SHIFT


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """ScanObjectNN's look-alike; its clouds are neither centred nor within the unit ball."""
    return runpy.run_path(str(DATA / "scanobjectnn/make.py"))["make"](tmp_path_factory.mktemp("s"))


@pytest.fixture(scope="module")
def trained(scans, micro_backbone, tmp_path_factory):
    """An adapter of a short training on it."""
    config = TrainConfig(
        data="scanobjectnn", root=scans["root"], points=64, available=80, method="ssf", epochs=2,
        backbone=str(micro_backbone), out=tmp_path_factory.mktemp("run") / "run", batch_size=15,
        lr=1e-2, tensorboard=False, threads=1,
    )  # fmt: skip
    trainer.train(config)
    return config.out / "adapter"


@pytest.mark.parametrize("normalise", [True, False])
def test_prediction_prepares_clouds_as_the_adapter_says(normalise, new_model, shifted):
    model = new_model(normalise)
    got = predict_probabilities(model, shifted, 64).numpy()
    want = plain(model, in_unit_ball(shifted) if normalise else shifted)
    np.testing.assert_allclose(got, want, atol=1e-6)
    moved = predict_probabilities(model, 3 * shifted + 1, 64).numpy()
    assert (np.abs(moved - got).max() < 1e-5) == normalise


@pytest.mark.parametrize("normalise", [True, False])
def test_training_and_methods_see_them_so(normalise, new_model, shifted, toy_batch):
    clouds, at = Clouds(shifted, toy_batch[1].numpy(), tuple("abcd")), np.array([3, 0])
    adapter, there = new_model(normalise).adapter, Resident(torch.device("cpu"))
    want = (in_unit_ball(shifted) if normalise else shifted)[at]
    batch = training_batch(
        clouds, clouds.labels, at, adapter, 64, (), torch.Generator().manual_seed(0), there
    )
    rolled = batch.points.numpy()
    (start,) = {int(np.abs(rolled[k] - want[k][0]).sum(axis=1).argmin()) for k in range(2)}
    np.testing.assert_allclose(np.roll(rolled, -start, axis=1), want, atol=1e-6)
    shown = TrainingClouds(shifted, 64, normalise=normalise).batch(torch.from_numpy(at))
    np.testing.assert_allclose(shown.numpy(), want, atol=1e-6)


def test_scanobjectnn_is_taken_as_stored_from_training_to_scores(scans, trained, capsys):
    config = adapter_folder.read_adapter_config(trained)
    assert (config["normalise"], config["available"], config["points"]) == (False, 80, 64)
    assert "coordinates as stored" in (trained / adapter_folder.CARD).read_text()
    test = load_dataset("scanobjectnn", **scans).load("test")
    some = np.stack([farthest(cloud, 64) for cloud in test.points])
    want = plain(adapter_folder.load(trained), some)
    capsys.readouterr()
    assert main(["evaluate", "--adapter", str(trained), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    right = 100 * float((want.argmax(axis=1) == test.labels).mean())
    assert scores["accuracy"] == pytest.approx(right, abs=1e-3)
    assert scores["accuracy"] == pytest.approx(
        json.loads((trained.parent / "results.json").read_text())["accuracy"]
    )
    other = plain(adapter_folder.load(trained), in_unit_ball(some))
    assert np.abs(other - want).max() > 1e-3  # normalising would show


def test_files_are_predicted_as_stored_too(scans, trained, tmp_path):
    cloud = load_dataset("scanobjectnn", **scans).load("test").points[4]
    write_points(tmp_path / "a.npy", cloud)
    (got,) = predict([tmp_path / "a.npy"], trained, top=15)
    want = plain(adapter_folder.load(trained), farthest(cloud, 64)[None])[0]
    assert got.confidence == pytest.approx(want.max(), abs=1e-5)
    assert [p for _, p in got.top] == pytest.approx(sorted(want.tolist(), reverse=True), abs=1e-5)


def test_a_file_that_lies_elsewhere_is_named(scans, trained, tmp_path):
    cloud = load_dataset("scanobjectnn", **scans).load("test").points[4]
    for name, shift in (("near", 0), ("far", 40)):
        write_points(tmp_path / f"{name}.npy", cloud + np.float32(shift))
    with pytest.warns(PointAdaptNote) as told:
        predict([tmp_path / "near.npy", tmp_path / "far.npy"], trained)
    (said,) = (str(one.message) for one in told if issubclass(one.category, PointAdaptNote))
    assert "far.npy" in said and "reaches 41" in said and "as they are stored" in said


def test_folding_keeps_both(trained, tmp_path):
    fold(trained, tmp_path / "folded")
    config = adapter_folder.read_adapter_config(tmp_path / "folded")
    assert (config["normalise"], config["available"]) == (False, 80)
    assert not adapter_folder.load(tmp_path / "folded").adapter.normalise


def test_folds_and_episodes_are_as_the_data_that_they_index(scans, tmp_path):
    root, options = scans["root"], {"points": 80}
    source = load_dataset("scanobjectnn", root=root, **options)
    assert not load_split(source, "train").normalise
    assert not load_split(source, "train").subset([1, 2]).normalise
    draw_folds(source, options, "all", 2, 0)[0].write(tmp_path / NAME)
    (episode,) = draw_episodes(Setting("scanobjectnn", options, 2, 1, 1), 1, root)
    episode.write(tmp_path)
    for name in ("folds", "episodes"):
        index = load_dataset(name, root=tmp_path, source_root=root, **options)
        assert {load_split(index, split).normalise for split in ("train", "test")} == {False}


def test_an_older_adapter_was_trained_on_normalised_clouds(trained, tmp_path):
    config = json.loads((trained / adapter_folder.CONFIG).read_text())
    del config["normalise"], config["available"]
    for run, available in ((config["results"]["config"], 80), ({}, 64), ({"available": 0}, 64)):
        values = {**config, "results": {**config["results"], "config": run}}
        (tmp_path / adapter_folder.CONFIG).write_text(json.dumps(values))
        read = adapter_folder.read_adapter_config(tmp_path)
        assert (read["normalise"], read["available"]) == (True, available)


@pytest.mark.parametrize("known", [True, False], ids=["of today", "older"])
def test_a_resumed_run_goes_on_as_it_began(known, trained, tmp_path):
    run = shutil.copytree(trained.parent, tmp_path / "run")
    state = load_state(run / "checkpoint.pt")
    if not known:
        del state["normalise"]
    save_state(run / "checkpoint.pt", {**state, "epoch": 1})
    trainer.train(replace(load_config(run / "config.yaml", TrainConfig), out=run, resume=True))
    assert adapter_folder.read_adapter_config(run / "adapter")["normalise"] == (not known)


def test_scores_follow_the_points_that_are_available(new_model, bare_backbone, tmp_path):
    """As released code: all 80 stored points are normalised, then 64 of them are taken."""
    made = runpy.run_path(str(DATA / "modelnet40/make.py"))["make"](tmp_path / "data")
    data = {"root": made["root"]}
    stored = load_dataset("modelnet40", **data).stored_points("test")
    model, count = new_model(True), stored - 16
    backbone = str(bare_backbone("point_vit"))
    adapter_folder.save_adapter(
        model, tmp_path / "a", backbone=backbone, points=count, available=stored
    )
    protocol = Protocol.of(tmp_path / "a", "modelnet40", **data)
    assert (protocol.points, protocol.normalise, protocol.options["points"]) == (
        count,
        True,
        stored,
    )
    clouds = protocol.load("test")
    got = predict_probabilities(model, clouds.points, protocol.points).numpy()
    some = np.stack([farthest(cloud, count) for cloud in in_unit_ball(clouds.points)])
    np.testing.assert_allclose(got, plain(model, some), atol=1e-5)
    first = load_dataset("modelnet40", **data, points=count).load("test").points
    assert np.abs(plain(model, in_unit_ball(first)) - got).max() > 1e-6
    adapter_folder.save_adapter(
        model, tmp_path / "a", backbone=backbone, points=count, available=8192
    )
    with pytest.raises(PointCloudError, match=f"--data-options points={stored}"):
        Protocol.of(tmp_path / "a", "modelnet40", **data).load("test")


def test_corruptions_may_be_put_back_where_the_clouds_were(shifted):
    given = ("modelnet_c", "jitter", 3)
    unit, back = corrupt(shifted, *given), corrupt(shifted, *given, back=True)
    center = shifted.mean(axis=1, keepdims=True)
    radius = np.linalg.norm(shifted - center, axis=2).max(axis=1)[:, None, None]
    np.testing.assert_allclose(back, unit * radius + center, atol=1e-5)
    assert np.abs(unit.mean(axis=1)).max() < 0.1


@pytest.mark.parametrize(
    ("given", "settled", "block"),
    [
        ((), None, "1.0"),  # trained before widths were chosen: the default of then
        (("block=20",), None, "20"),
        ((), {"block": "17"}, "17"),
        (("block=auto", "stride=5"), {"block": "17"}, "17"),
        (("block=20",), {}, "20"),
    ],
)
def test_blocks_are_as_wide_as_in_training(given, settled, block):
    from pointadapt.adapters.protocol import training_config
    from pointadapt.core.config import key_values, to_plain

    run = TrainConfig(data="folder_segmentation", task="scene_segmentation", data_options=given)
    results = {"config": to_plain(run), **({} if settled is None else {"settled": settled})}
    found = training_config({"results": results})
    options = key_values(found.data_options)
    assert options["block"] == block
    assert {k: v for k, v in options.items() if k != "block"} == {
        k: v for k, v in key_values(given).items() if k != "block"
    }
    assert replace(found, data_options=given) == run
