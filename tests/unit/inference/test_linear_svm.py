"""Linear SVM on frozen features."""

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from pointadapt.core.errors import ConfigError
from pointadapt.data import Clouds
from pointadapt.inference.linear_svm import features, linear_svm, probe, random_twin
from pointadapt.ops import normalize
from pointadapt.pretrained.load import load_backbone

CLASSES = ("ball", "bar", "helix", "plate")


@pytest.fixture
def net(bare_backbone):
    return load_backbone(bare_backbone("point_vit"))


@pytest.fixture
def clouds(toy_batch):
    return Clouds(toy_batch[0].numpy(), toy_batch[1].numpy(), CLASSES)


def test_features_are_maximum_and_mean_of_the_patches(net, clouds):
    net.train()
    got = features(net, clouds, batch=10)
    assert net.training
    assert got.shape == (32, 48)
    tokens = net.eval()(normalize(torch.from_numpy(clouds.points)))
    patches = tokens.x[:, tokens.prefix :]
    want = torch.cat([patches.max(dim=1).values, patches.mean(dim=1)], dim=1)
    np.testing.assert_allclose(got, want.detach().numpy(), atol=1e-5)


def test_features_do_not_move_the_backbone(net, clouds):
    net.train()
    features(net, clouds)
    assert net.sha256() == net.fingerprint


def test_svm_tells_simple_classes_apart(net, clouds):
    half = np.arange(16)
    accuracy = linear_svm(net, clouds.subset(half), clouds.subset(half + 16))
    assert accuracy > 60  # of four classes, from random features
    assert accuracy == linear_svm(net, clouds.subset(half), clouds.subset(half + 16))
    assert 0 <= linear_svm(net, clouds, clouds, most=12) <= 100


def test_half_precision_features_are_nearly_the_same(net, clouds):
    full, half = (features(net, clouds, precision=p) for p in ("fp32", "bf16"))
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.1


def test_one_class_is_no_task(net, clouds):
    with pytest.raises(ConfigError, match="two classes"):
        linear_svm(net, clouds.subset(np.flatnonzero(clouds.labels == 0)), clouds)


def test_the_random_twin_is_always_the_same_and_another_network(net):
    a, b = random_twin(net), random_twin(net)
    assert a.fingerprint == b.fingerprint != net.fingerprint
    assert a.config == net.config


def test_the_score_says_how_it_was_measured(bare_backbone, toy_root, net, clouds):
    folder = bare_backbone("point_vit")
    result = probe(folder, "folder", toy_root, points=64, random=True, most=24, precision="fp32")
    assert result["sha256"] == net.fingerprint
    assert (result["train_clouds"], result["test_clouds"]) == (24, 16)
    assert (result["c"], result["precision"], result["points"]) == (0.01, "fp32", 64)
    assert {"accuracy", "random_accuracy"} < set(result)
    assert "random_accuracy" not in probe(folder, "folder", toy_root, points=64)


def test_features_as_they_are_or_scaled(net, clouds):
    train, test = clouds.subset(np.arange(16)), clouds.subset(np.arange(16, 32))
    x, y = features(net, train), features(net, test)
    for scaled in (True, False):
        scale = x.std(axis=0) if scaled else np.ones(x.shape[1])
        model = SVC(kernel="linear", C=0.01).fit((x - x.mean(axis=0)) / scale, train.labels)
        want = 100 * model.score((y - x.mean(axis=0)) / scale, test.labels)
        assert linear_svm(net, train, test, scaled=scaled) == pytest.approx(want)
