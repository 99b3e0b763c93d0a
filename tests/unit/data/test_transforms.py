"""Augmentation and resampling: ranges, one draw a cloud, and one seed for everything."""

import math

import pytest
import torch

from pointadapt.core.config import TrainConfig
from pointadapt.core.errors import PointCloudError, UnknownNameError
from pointadapt.data.transforms import (
    AUGMENTATIONS,
    augment,
    augment_along,
    jitter,
    resample,
    resample_along,
    rotate,
    rotate_z,
    scale_shift,
)

each = pytest.mark.parametrize("name", list(AUGMENTATIONS))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def clouds(b=200, n=20, seed=1):
    return torch.rand(b, n, 3, generator=seeded(seed)) * 2 - 1


@each
def test_one_seed_one_result(name):
    points = clouds()
    first, second = (augment(points, [name], seeded()) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, augment(points, [name], seeded(1)))


@each
def test_shape_and_type_stay_and_the_input_is_left_alone(name):
    points = clouds().double()
    before = points.clone()
    out = augment(points, [name], seeded())
    assert (out.shape, out.dtype) == (points.shape, points.dtype)
    assert torch.equal(points, before)
    assert out.isfinite().all()
    assert not torch.equal(out, points)


@each
def test_global_random_state_is_not_touched(name):
    torch.manual_seed(3)
    want = torch.rand(1)
    torch.manual_seed(3)
    augment(clouds(), [name], seeded())
    assert torch.equal(torch.rand(1), want)


def affine_of(before, after):
    """Per cloud and axis: scale and shift (least squares), and that nothing else happened."""
    mean_b, mean_a = before.mean(dim=1), after.mean(dim=1)
    centred = before - mean_b[:, None]
    scale = (centred * (after - mean_a[:, None])).sum(dim=1) / centred.square().sum(dim=1)
    shift = mean_a - scale * mean_b
    torch.testing.assert_close(scale[:, None] * before + shift[:, None], after, atol=1e-5, rtol=0)
    return scale, shift


def test_scale_and_shift_are_drawn_per_axis_within_the_papers_bounds():
    points = clouds(2000)
    scale, shift = affine_of(points, scale_shift(points, seeded()))
    for values, low, high in ((scale, 2 / 3, 1.5), (shift, -0.2, 0.2)):
        assert values.min() >= low - 1e-5
        assert values.max() <= high + 1e-5
        # the bounds are reached on each axis, and the axes are independent
        assert (values.amin(dim=0) < low + 0.01).all()
        assert (values.amax(dim=0) > high - 0.01).all()
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.02)
        correlation = torch.corrcoef(values.T)
        assert (correlation - torch.eye(3)).abs().max() < 0.1
    assert torch.corrcoef(torch.stack([scale[:, 0], shift[:, 0]]))[0, 1].abs() < 0.1


def matrix_of(before, after):
    """(B, 3, 3) linear map of each cloud, and that it is one."""
    matrix = torch.linalg.lstsq(before, after).solution.transpose(1, 2)
    torch.testing.assert_close(before @ matrix.transpose(1, 2), after, atol=1e-5, rtol=0)
    return matrix


@pytest.mark.parametrize("turn", [rotate, rotate_z])
def test_rotations_are_rotations(turn):
    points = clouds().double()
    matrix = matrix_of(points, turn(points, seeded()))
    identity = torch.eye(3, dtype=torch.double).expand_as(matrix)
    torch.testing.assert_close(matrix @ matrix.transpose(1, 2), identity)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(200, dtype=torch.double))
    assert (matrix[0] - matrix[1]).abs().max() > 1e-3  # each cloud its own


def test_rotate_z_keeps_the_upright_axis_and_takes_every_angle():
    points = clouds(2000).double()
    out = rotate_z(points, seeded())
    assert torch.equal(out[..., 2], points[..., 2])
    matrix = matrix_of(points, out)
    angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])
    assert torch.histc(angle, 8, -math.pi, math.pi).min() > 180  # 250 expected


def test_rotate_is_uniform():
    """Each axis ends up anywhere on the sphere: its height is uniform, its mean zero."""
    points = torch.eye(3).expand(4000, 3, 3).contiguous()
    out = rotate(points, seeded())
    assert out.mean(dim=0).abs().max() < 0.05
    for axis in range(3):
        assert torch.histc(out[:, axis, 2], 8, -1, 1).min() > 400  # 500 expected


def test_jitter_is_small_and_clipped():
    noise = jitter(torch.zeros(100, 500, 3), seeded())
    assert noise.std().item() == pytest.approx(0.01, rel=0.02)
    wide = jitter(torch.zeros(100, 500, 3), seeded(), std=0.1)
    assert wide.abs().max().item() == pytest.approx(0.05)


def test_drop_repeats_the_first_point():
    points = clouds(1000, 64)
    out = augment(points, ["drop"], seeded())
    gone = (out == points[:, :1]).all(dim=2)
    assert torch.equal(out[~gone], points[~gone])
    share = gone[:, 1:].float().mean(dim=1)
    assert share.max() < 1.0
    assert share.mean().item() == pytest.approx(0.875 / 2, abs=0.03)
    assert share.min() < 0.1


def test_augmentations_go_in_the_order_given():
    points = clouds()
    one = augment(points, ["rotate_z", "jitter"], seeded())
    g = seeded()
    assert torch.equal(one, jitter(rotate_z(points, g), g))
    assert augment(points, [], seeded()) is points


def test_unknown_augmentation():
    with pytest.raises(UnknownNameError, match="did you mean 'rotate_z'"):
        augment(clouds(), ["rotate_x"], seeded())


def test_the_configuration_knows_all_of_them():
    import typing

    hint = typing.get_type_hints(TrainConfig)["augment"]
    assert set(typing.get_args(typing.get_args(hint)[0])) == set(AUGMENTATIONS)


def rows(cloud):
    return sorted(map(tuple, cloud.tolist()))


def test_resampling_all_points_is_a_permutation_with_another_first():
    points = clouds(5, 32)
    firsts = set()
    for seed in range(20):
        out = resample(points, 32, seeded(seed))
        for cloud, before in zip(out, points, strict=True):
            assert rows(cloud) == rows(before)
        firsts.add(tuple(out[0, 0].tolist()))
    assert len(firsts) > 10


@pytest.mark.parametrize("have", [33, 40, 200])
def test_resampling_more_points_takes_distinct_ones(have):
    points = clouds(5, have)
    out = resample(points, 32, seeded())
    assert out.shape == (5, 32, 3)
    for cloud, before in zip(out, points, strict=True):
        chosen = rows(cloud)
        assert len(set(chosen)) == 32
        assert set(chosen) <= set(rows(before))
    assert torch.equal(out, resample(points, 32, seeded()))
    assert not torch.equal(out, resample(points, 32, seeded(1)))


def test_resampling_draws_from_the_farthest_points():
    """Of 1024 wanted, 1200 are farthest points: so the papers do, here in proportion."""
    points = clouds(2, 400)
    from pointadapt.ops import farthest_point_sample, gather_points

    pool = gather_points(points, farthest_point_sample(points, round(64 * 1200 / 1024)))
    for cloud, allowed in zip(resample(points, 64, seeded()), pool, strict=True):
        assert set(rows(cloud)) <= set(rows(allowed))


def test_resampling_fewer_points():
    with pytest.raises(PointCloudError, match="clouds of 31 points cannot give 32"):
        resample(clouds(2, 31), 32, seeded())


# ---- labels of points


@pytest.mark.parametrize("have", [32, 64])
def test_resampling_keeps_each_points_label(have):
    points = clouds(3, have)
    labels = torch.arange(3 * have).view(3, have)
    features = labels.unsqueeze(-1) + torch.tensor([0.0, 0.5])
    some, (kept, colours) = resample_along(points, [labels, features], 32, seeded())
    assert torch.equal(some, resample(points, 32, seeded()))
    assert torch.equal(points.view(-1, 3)[kept], some)
    assert torch.equal(colours, features.view(-1, 2)[kept])


def test_augmenting_keeps_each_points_label():
    points, labels = clouds(3, 32), torch.arange(96).view(3, 32)
    names = ("scale_shift", "rotate_z", "rotate", "drop")
    features = labels.unsqueeze(-1) + torch.tensor([0.0, 0.5])
    moved, (kept, colours) = augment_along(points, [labels, features], names, seeded())
    assert torch.equal(colours, features.view(-1, 2)[kept])
    assert torch.equal(moved, augment(points, names, seeded()))
    # a dropped point is a copy of the first, label included
    copies = (moved == moved[:, :1]).all(dim=-1)
    assert torch.equal(copies, kept == kept[:, :1])
    assert 3 < copies.sum() < 96
    assert torch.equal(kept[~copies], labels[~copies])
