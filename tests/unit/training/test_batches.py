"""Features of points travel with their points, from the data set to the head."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.errors import DataLayoutError, PointCloudError
from pointadapt.data import Clouds
from pointadapt.inference.forward import predict_clouds
from pointadapt.inference.score import evaluate
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task
from pointadapt.tasks.base import Head, Names, Task
from pointadapt.training.batches import training_batch
from pointadapt.training.device_arrays import Resident

CHANNELS = ("red", "height")


class ShowFeatures(Head):
    """Logits that are the features: (B, N, C)."""

    def forward(self, tokens, points=None, category=None, features=None, traits=None):
        assert category is None and traits is None
        return features


@dataclass(frozen=True)
class TakesFeatures(Task):
    per_point = True

    def names(self, classes, parts=(), features=()):
        return Names(tuple(classes), tuple(parts), tuple(features))

    def make_head(self, config, inputs, names):
        return ShowFeatures()

    def target(self, clouds):
        return clouds.parts

    def predict(self, probabilities, category, names):
        return probabilities


def some_clouds(n=6, points=80):
    """Clouds whose features tell cloud and point; their parts are the points' numbers."""
    rng = np.random.default_rng(0)
    part = np.tile(np.arange(points), (n, 1))
    cloud = np.tile(np.arange(n)[:, None], (1, points))
    return Clouds(
        rng.normal(size=(n, points, 3)).astype(np.float32), np.arange(n) % 2, ("a", "b"),
        parts=part, part_names=tuple(map(str, range(points))),
        features=np.stack([cloud, part], axis=2).astype(np.float32), feature_names=CHANNELS,
    )  # fmt: skip


@pytest.fixture
def model(bare_backbone):
    net = load_backbone(bare_backbone("point_vit"))
    clouds = some_clouds()
    adapter = Adapter(
        net, make_method("linear_probe"), TakesFeatures(), clouds.classes, ("cls",),
        clouds.part_names, CHANNELS,
    )  # fmt: skip
    return PointModel(net, adapter)


def draw():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("n", [64, 80])
def test_features_stay_with_their_points_in_training(model, n):
    clouds, at = some_clouds(), np.array([4, 0, 5])
    names = ("scale_shift", "drop")
    batch = training_batch(
        clouds, clouds.parts, at, model.adapter, n, names, draw(), Resident(torch.device("cpu"))
    )
    features = batch.told["features"]
    assert set(batch.told) == {"features"}
    assert (batch.points.shape, features.shape) == ((3, n, 3), (3, n, 2))
    assert torch.equal(features[..., 1].long(), batch.target)
    assert torch.equal(features[..., 0], torch.tensor([4.0, 0.0, 5.0])[:, None].expand(3, n))
    copies = (batch.points == batch.points[:, :1]).all(dim=-1)
    assert torch.equal(copies, batch.target == batch.target[:, :1])


def test_a_task_that_takes_none_gets_none(model, bare_backbone):
    net = load_backbone(bare_backbone("point_vit"))
    clouds, at, task = some_clouds(), np.arange(4), make_task("classification")
    for features in ((), CHANNELS):
        adapter = Adapter(
            net, make_method("full"), task, clouds.classes, (), clouds.part_names, features
        )
        batch = training_batch(
            clouds, clouds.labels, at, adapter, 64, (), draw(), Resident(torch.device("cpu"))
        )
        assert batch.told == {}
        assert batch.target.tolist() == [0, 1, 0, 1]


def test_features_stay_with_their_points_in_prediction(model):
    clouds = some_clouds()
    want = torch.from_numpy(clouds.features)
    torch.testing.assert_close(predict_clouds(model, clouds, 80), want)
    # Of 64 sampled points each has its own features; the others take those of their neighbours.
    got = predict_clouds(model, clouds, 64)
    same = torch.isclose(got, want, atol=1e-2).all(dim=-1).sum(dim=1)
    assert got.shape == want.shape
    assert (same >= 64).all()


def test_other_features_than_in_training_are_refused(model):
    clouds = some_clouds()
    other = Clouds(
        clouds.points, clouds.labels, clouds.classes, parts=clouds.parts,
        part_names=clouds.part_names, features=clouds.features, feature_names=("green", "height"),
    )  # fmt: skip
    with pytest.raises(DataLayoutError, match=r"2 features of points and the adapter 2; .*green"):
        evaluate(model, other, 64)


def test_clouds_check_their_features():
    clouds = some_clouds()
    part = clouds.subset([3, 1])
    assert part.features is not None and clouds.features is not None
    np.testing.assert_array_equal(part.features, clouds.features[[3, 1]])
    assert part.feature_names == CHANNELS
    given = clouds.points, clouds.labels, clouds.classes
    for features, names in ((clouds.features, ("red",)), (clouds.features[:, :9], CHANNELS)):
        with pytest.raises(PointCloudError, match="features must have shape"):
            Clouds(*given, features=features, feature_names=names)
    with pytest.raises(PointCloudError, match="features must have shape"):
        Clouds(*given, feature_names=CHANNELS)
