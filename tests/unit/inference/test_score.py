"""Predicting and scoring arrays of clouds."""

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.errors import DataLayoutError, PointCloudError
from pointadapt.data import Clouds, load_dataset
from pointadapt.data.transforms import resample_along, scale_shift
from pointadapt.inference import votes
from pointadapt.inference.forward import predict_probabilities
from pointadapt.inference.score import evaluate, evaluate_dataset
from pointadapt.methods import make_method
from pointadapt.ops import farthest_point_sample, gather_points, normalize
from pointadapt.ops.subset import take
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES = ("ball", "bar", "helix", "plate")


@pytest.fixture
def model(bare_backbone):
    net = load_backbone(bare_backbone("point_vit"))
    torch.manual_seed(0)
    task = make_task("classification", {"hidden": 0})
    return PointModel(net, Adapter(net, make_method("dapt"), task, CLASSES))


@pytest.fixture
def points(toy_batch):
    """Neither centred nor of size one."""
    return (3 * toy_batch[0] + 5).numpy()


def test_probabilities_are_the_softmax_of_normalised_clouds(model, points):
    got = predict_probabilities(model, points, 64)
    with torch.no_grad():
        want = model.eval()(normalize(torch.from_numpy(points))).softmax(dim=1)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=0)
    assert not got.requires_grad


def test_batch_size_does_not_matter(model, points):
    want = predict_probabilities(model, points, 64)
    done = []
    got = predict_probabilities(model, points, 64, batch_size=5, on_batch=done.append)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=0)
    assert done == [5, 10, 15, 20, 25, 30, 32]


def test_the_mode_of_the_model_is_left_as_it_was(model, points):
    for training in (True, False):
        model.train(training)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        predict_probabilities(model, points, 64)
        assert model.training is training
        assert model.adapter.head.training is training
        after = model.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before)


def test_more_points_are_brought_down_by_farthest_point_sampling(model, toy_batch):
    torch.manual_seed(0)
    many = torch.randn(3, 100, 3)
    some = gather_points(many, farthest_point_sample(many, 64))
    assert torch.equal(take(many, 64), some)
    assert take(some, 64) is some
    with pytest.raises(PointCloudError, match=r"clouds of 100 points, but .* with 101"):
        take(many, 101)


def test_votes_are_the_mean_over_augmented_copies(model, points):
    got = predict_probabilities(model, points, 64, votes=3, seed=2)
    assert torch.equal(got, predict_probabilities(model, points, 64, votes=3, seed=2))
    assert not torch.equal(got, predict_probabilities(model, points, 64, votes=3, seed=3))
    torch.testing.assert_close(got.sum(dim=1), torch.ones(32))
    seen = []
    model.backbone.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    predict_probabilities(model, points[:4], 64, votes=3, seed=2)
    assert len(seen) == 3
    batch = normalize(torch.from_numpy(points[:4]))
    draw = torch.Generator().manual_seed(2 * 1009 + 1)
    assert torch.equal(seen[1], scale_shift(batch, draw))


def watch(model, call):
    """What the network was given and gave while ``call()`` ran, and what that returned."""
    given, gave = [], []
    hooks = [
        model.backbone.register_forward_pre_hook(lambda m, a: given.append(a[0])),
        model.adapter.head.register_forward_hook(lambda m, a, out: gave.append(out)),
    ]
    returned = call()
    for hook in hooks:
        hook.remove()
    return given, gave, returned


def test_the_released_way_of_voting(model, monkeypatch):
    """Point-MAE's ``test_vote``: farthest points, n of 1.17 n of them at random, scaled, shifted.

    The same random columns for all clouds of a batch; the mean of the logits.
    """
    torch.manual_seed(0)
    many = torch.randn(5, 200, 3)
    monkeypatch.setattr(votes, "scale_shift", lambda points, draw: points)
    given, gave, got = watch(
        model, lambda: predict_probabilities(model, many, 64, votes=4, voting="released", seed=3)
    )
    assert len(given) == 4
    clouds = normalize(many)
    first = farthest_point_sample(clouds, 75)  # 64 · 1200 / 1024
    pool = gather_points(clouds, first)
    columns = []
    for points in given:
        same = (points.unsqueeze(2) == pool.unsqueeze(1)).all(dim=-1)  # (B, 64, 75)
        assert (same.sum(dim=2) == 1).all() and (same.sum(dim=1) <= 1).all()
        where = same.float().argmax(dim=2)
        assert (where == where[:1]).all()
        columns.append(tuple(where[0].tolist()))
    assert len(set(columns)) == 4  # drawn anew
    logits = np.mean([x.numpy().astype(np.float64) for x in gave], axis=0)
    want = np.exp(logits - logits.max(axis=1, keepdims=True))
    want /= want.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-6)


def test_the_released_way_scales_and_shifts_each_copy(model, points):
    given, _, got = watch(
        model,
        lambda: predict_probabilities(model, points[:4], 64, votes=2, voting="released", seed=1),
    )
    batch = normalize(torch.from_numpy(points[:4]))
    for k, seen in enumerate(given):
        draw = torch.Generator().manual_seed(1009 + k)
        some, _ = resample_along(batch, [], 64, draw)  # as many as there are: rolled
        assert torch.equal(seen, scale_shift(some, draw))
    torch.testing.assert_close(got.sum(dim=1), torch.ones(4))
    same = predict_probabilities(model, points[:4], 64, votes=2, voting="released", seed=1)
    assert torch.equal(got, same)
    with pytest.raises(PointCloudError, match="cannot give 65"):
        predict_probabilities(model, points[:4], 65, votes=2, voting="released")


def test_scores_say_how_was_voted(model, toy_root):
    clouds = load_dataset("folder", root=toy_root, points=64).load("test")
    assert evaluate(model, clouds, 64)["votes"] == 0
    assert "voting" not in evaluate(model, clouds, 64)
    for how in ("probabilities", "released"):
        scores = evaluate(model, clouds, 64, votes=2, voting=how)
        assert (scores["votes"], scores["voting"]) == (2, how)


def test_no_clouds(model):
    assert predict_probabilities(model, np.zeros((0, 64, 3), np.float32), 64).shape == (0, 4)


def test_evaluate_scores_what_is_predicted(model, points, toy_batch):
    clouds = Clouds(points, toy_batch[1].numpy(), CLASSES)
    scores = evaluate(model, clouds, 64)
    right = predict_probabilities(model, points, 64).argmax(dim=1) == toy_batch[1]
    assert scores["accuracy"] == pytest.approx(100 * right.float().mean().item(), abs=1e-3)
    assert (scores["count"], scores["votes"]) == (32, 0)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("ball", "bar", "helix", "disc"), "they differ in disc, plate"),
        (("bar", "ball", "helix", "plate"), "they differ in their order"),
        ((*CLASSES, "more"), "the data has 5 classes and the adapter 4; they differ in more"),
    ],
)
def test_other_classes_are_refused(model, points, toy_batch, classes, message):
    with pytest.raises(DataLayoutError, match=message):
        evaluate(model, Clouds(points, toy_batch[1].numpy(), classes), 64)


def test_evaluating_a_data_set_by_name(model, toy_root, bare_backbone, tmp_path):
    folder = bare_backbone("point_vit")
    adapter_folder.save_adapter(model, tmp_path, backbone=str(folder), points=64)
    want = evaluate(model, load_dataset("folder", root=toy_root, points=64).load("test"), 64)
    assert evaluate_dataset(tmp_path, "folder", root=toy_root) == want
    train = evaluate_dataset(tmp_path, "folder", split="train", root=toy_root)
    assert train["count"] == 40
