"""Linear SVM on frozen features."""

import numpy as np
import pytest
import torch

from pointadapt.backbones._weights import load_backbone
from pointadapt.data import Clouds
from pointadapt.ops import normalize
from pointadapt.probe import features, linear_svm

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
    pytest.importorskip("sklearn")
    half = np.arange(16)
    accuracy = linear_svm(net, clouds.subset(half), clouds.subset(half + 16))
    assert accuracy > 60  # of four classes, from random features
    assert accuracy == linear_svm(net, clouds.subset(half), clouds.subset(half + 16))
    assert 0 <= linear_svm(net, clouds, clouds, most=12) <= 100
