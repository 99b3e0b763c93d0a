"""Two views of one cloud."""

import math

import pytest
import torch

from pointadapt.core.config import PretrainConfig
from pointadapt.core.errors import ConfigError
from pointadapt.pretrained.load import load_backbone
from pointadapt.pretraining.contrast import TEMPERATURE, contrast, projector, second_view
from pointadapt.pretraining.masked_autoencoder import MaskedAutoencoder


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def viewed(net, points, view):
    """What the network gives of clouds and another view of them."""
    return net(points, view=view, **net.masks(len(points), draw(), view_points=view.shape[1]))


def test_contrast_is_the_papers_equation():
    z = torch.randn(6, 5, generator=draw())
    want = 0.0
    for i in range(6):
        alike = [math.exp(float(torch.cosine_similarity(z[i], z[k], 0)) / TEMPERATURE)
                 for k in range(6)]  # fmt: skip
        partner = (i + 3) % 6
        want -= math.log(alike[partner] / (sum(alike) - alike[i])) / 6
    assert contrast(z).item() == pytest.approx(want, rel=1e-5)


def test_contrast_is_small_where_each_view_finds_the_other():
    apart = torch.eye(8)
    assert contrast(torch.cat([apart, apart])) < 0.1
    assert contrast(torch.cat([apart, apart.roll(1, 0)])) > 4


def test_a_view_has_as_many_points_as_a_power_of_two_says():
    config = PretrainConfig(views=("crop",), view_points=256, contrast_weight=1.0)
    clouds = torch.rand(3, 1024, 3, generator=draw())
    views = [second_view(clouds, config, draw(k)) for k in range(30)]
    assert {v.shape[1] for v in views} == {64, 128, 256}
    assert torch.equal(views[4], second_view(clouds, config, draw(4)))
    whole = PretrainConfig(views=("rotate_z",), contrast_weight=1.0)
    assert second_view(clouds, whole, draw()).shape == clouds.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast_weight": 1.0}, "--views sensor"),
        ({"view_points": 128}, "--views sensor"),
        ({"views": ("crop",)}, "nothing is learned"),
        ({"views": ("crop",), "label_weight": 1.0, "view_points": 32}, "64 to points=1024"),
        ({"views": ("crop",), "contrast_weight": -1.0}, "contrast_weight"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        PretrainConfig(**options)


@pytest.fixture
def net(micro_backbone):
    torch.manual_seed(0)
    return MaskedAutoencoder(load_backbone(micro_backbone), 0.6, 1, classes=4, compare=True)


def test_both_views_are_told_apart_and_named(net, toy_batch):
    points, labels = toy_batch
    out = viewed(net, points, points[:, :64])
    assert out.logits.shape == (64, 4) and out.projected.shape[0] == 64
    first, second = out.logits.chunk(2)
    want = [torch.nn.functional.cross_entropy(part, labels) for part in (first, second)]
    torch.testing.assert_close(out.label_loss(labels), sum(want) / 2)
    out.contrast_loss().backward()
    assert net.backbone.cls_token.grad.abs().max() > 0
    assert net.decoder_norm.weight.grad is None


def test_the_view_does_not_enter_the_reconstruction(net, toy_batch):
    net.eval()  # BatchNorm sees both views at once
    with torch.no_grad():
        one = viewed(net, toy_batch[0], toy_batch[0])
        other = viewed(net, toy_batch[0], toy_batch[0].roll(1, 0))
    torch.testing.assert_close(one.predicted, other.predicted)
    assert torch.equal(one.target, other.target)
    torch.testing.assert_close(one.projected[:32], other.projected[:32])
    assert not torch.allclose(one.projected[32:], other.projected[32:])


def test_copies_that_fill_small_patches_change_no_token(net, toy_batch):
    """What is compared of a view of few points is what the backbone gives of it alone."""
    net.eval()
    view = toy_batch[0][:, :16].contiguous()  # patches of 4 points, filled to 8
    with torch.no_grad():
        got = viewed(net, toy_batch[0], view).projected[32:]
        net.backbone.config = net.backbone.config.__class__(
            **{**vars(net.backbone.config), "group_size": 4}
        )
        tokens = net.backbone(view)
        want = net.project(torch.cat([tokens.pool("cls"), tokens.pool("patch_max")], dim=1))
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


def test_without_views_there_is_no_contrast(net, toy_batch):
    with pytest.raises(ConfigError, match="compares no views"):
        net(toy_batch[0], **net.masks(32, draw())).contrast_loss()


def test_the_projector_is_thrown_away(net):
    assert not any("project" in name for name in net.backbone.state_dict())
    assert projector(10)(torch.zeros(2, 10)).shape == (2, 128)
