"""The corruptions: severities and arithmetic by the papers, seeds, axes, wrong input."""

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, PointCloudError, UnknownNameError
from pointadapt.data.corruptions import SEVERITIES, SUITES, corrupt, get_corruption
from pointadapt.data.corruptions._base import rotations, unit_sphere
from pointadapt.data.corruptions._bend import free_form, grid, radial
from pointadapt.data.corruptions.modelnet40_c import cube
from pointadapt.data.corruptions.modelnet_c import _cluster_sizes
from pointadapt.data.sets.folder import upright
from pointadapt.data.sight import rings, seen

ALL = [(suite, name) for suite in SUITES for name in SUITES[suite]]
N = 1024


@pytest.fixture(scope="module")
def clouds():
    """(3, 1024, 3) float32: ellipsoids' surfaces, in the unit sphere."""
    points = np.random.default_rng(0).normal(size=(3, N, 3))
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    return unit_sphere(points * [[[1, 0.5, 0.7]], [[0.3, 1, 0.5]], [[0.8, 0.8, 1]]])


def test_the_benchmarks_corruptions():
    assert list(SUITES["modelnet40_c"]) == [
        "occlusion",
        "lidar",
        "density_inc",
        "density",
        "cutout",
        "uniform",
        "gaussian",
        "impulse",
        "upsampling",
        "background",
        "rotation",
        "shear",
        "distortion",
        "distortion_rbf",
        "distortion_rbf_inv",
    ]
    assert set(SUITES["modelnet_c"]) == set(
        ["scale", "rotate", "jitter", "dropout_global", "dropout_local", "add_global", "add_local"]
    )
    for suite, name in ALL:
        entry = get_corruption(suite, name)
        assert len(entry.values) == 5 and entry.about.endswith(".") and entry.kind


# Points of the clouds at severity 1 to 5, as in the official files, which come of 1,024 points
# (those of density_inc of 2,048).
COUNTS = {
    "lidar": [768] * 5, "density_inc": [512] * 5, "density": [949, 874, 799, 724, 649],
    "cutout": [964, 934, 874, 814, 724], "upsampling": [1228, 1280, 1365, 1536, 2048],
    "background": [1046, 1049, 1053, 1058, 1075], "dropout_global": [768, 640, 512, 384, 256],
    "dropout_local": [924, 824, 724, 624, 524], "add_global": [1034, 1044, 1054, 1064, 1074],
    "add_local": [1124, 1224, 1324, 1424, 1524],
}  # fmt: skip


@pytest.mark.parametrize(("suite", "name"), ALL)
def test_every_corruption(clouds, suite, name):
    clouds = clouds[:, :128].copy()
    before = clouds.copy()
    for severity in (1, 5):
        out = corrupt(clouds, suite, name, severity)
        assert out.dtype == np.float32 and np.isfinite(out).all()
        assert out.shape == (3, out.shape[1], 3)
        assert 0.5 < np.abs(out).max() < 1.3  # still about the unit sphere, or the cube
    np.testing.assert_array_equal(out, corrupt(clouds, suite, name, 5))
    assert not np.array_equal(out, corrupt(clouds, suite, name, 5, seed=1))
    np.testing.assert_array_equal(out[:2], corrupt(clouds[:2], suite, name, 5))
    np.testing.assert_array_equal(clouds, before)


@pytest.mark.parametrize(("suite", "name"), ALL)
def test_counts_by_severity(clouds, suite, name):
    """As in the official files; read off the corruption itself, which needs no full chunk."""
    entry = get_corruption(suite, name)
    some, rng = clouds[:1].copy(), np.random.default_rng(0)
    counts = [entry.apply(some, value, rng).shape[1] for value in entry.values]
    assert counts == COUNTS.get(name, [N] * 5)
    assert len(counts) == len(SEVERITIES)


def test_numbers_of_points_scale_with_the_cloud(clouds):
    double = np.concatenate([clouds, clouds * 0.99], axis=1)
    assert corrupt(double, "modelnet_c", "add_global", 3).shape[1] == 2048 + 60
    assert corrupt(double, "modelnet40_c", "density_inc", 5).shape[1] == 1024  # as officially


def rows(cloud):
    return {tuple(row) for row in cloud.tolist()}


@pytest.mark.parametrize("name", ["dropout_global", "dropout_local"])
def test_what_is_left_was_there(clouds, name):
    for before, after in zip(clouds, corrupt(clouds, "modelnet_c", name, 3), strict=True):
        left = rows(after)
        assert len(left) == len(after) and left <= rows(unit_sphere(before[None])[0])


@pytest.mark.parametrize("name", ["cutout", "density", "density_inc"])
def test_density_keeps_places(clouds, name):
    for before, after in zip(clouds, corrupt(clouds, "modelnet40_c", name, 2), strict=True):
        assert rows(after) <= rows(unit_sphere(before[None])[0])


def test_holes_are_local(clouds):
    whole = unit_sphere(clouds[:1])
    left = rows(corrupt(clouds[:1], "modelnet40_c", "cutout", 1)[0])
    gone = np.array([p for p in whole[0].tolist() if tuple(p) not in left])
    assert len(gone) == 60
    to_next = np.sort(np.linalg.norm(gone[:, None] - gone, axis=2), axis=1)[:, 1]
    assert to_next.max() < 0.2  # each has a neighbour that went, too


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.01), (5, 0.05)])
def test_jitter(clouds, severity, sigma):
    noise = corrupt(clouds, "modelnet_c", "jitter", severity) - unit_sphere(clouds)
    assert noise.std() == pytest.approx(sigma, rel=0.03)


def test_scale_renormalises(clouds):
    out = corrupt(clouds, "modelnet_c", "scale", 5)
    np.testing.assert_allclose(np.linalg.norm(out, axis=2).max(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(out.mean(axis=1), 0, atol=1e-6)


@pytest.mark.parametrize(("suite", "name"), [("modelnet_c", "rotate"), ("modelnet40_c", "shear")])
def test_rotations_keep_lengths_and_shears_do_not(clouds, suite, name):
    out = corrupt(clouds, suite, name, 5)
    before, after = (np.linalg.norm(p[:, :50, None] - p[:, None, :50], axis=3)[0] for p in
                     (unit_sphere(clouds), out))  # fmt: skip
    kept = np.allclose(before, after, atol=1e-5)
    assert kept == (name == "rotate")


def test_rotations_are_rotations():
    r = rotations(np.random.default_rng(0).uniform(-3, 3, (10, 3)))
    np.testing.assert_allclose(r @ r.transpose(0, 2, 1), np.tile(np.eye(3), (10, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(r), 1)
    quarter = rotations(np.array([[0, 0, np.pi / 2]]))[0]
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_added_points(clouds):
    far = np.linalg.norm(corrupt(clouds, "modelnet_c", "add_global", 5)[:, N:], axis=2)
    assert far.max() <= 1
    assert (far > 0.5).mean() == pytest.approx(1 - 0.5**3, abs=0.1)  # evenly in the ball
    far = np.linalg.norm(corrupt(clouds, "modelnet_c", "add_local", 5)[:, N:], axis=2)
    assert far.max() <= 1 + 1e-6


def test_cluster_sizes():
    sizes = _cluster_sizes(200, 300, np.random.default_rng(0))
    assert (sizes.sum(axis=1) == 300).all()
    assert set(np.count_nonzero(sizes, axis=1).tolist()) == set(range(1, 8))


def test_impulse_moves_a_tenth_of_the_points():
    from pointadapt.data.corruptions.modelnet40_c import impulse

    points = np.random.default_rng(1).uniform(-0.5, 0.5, (1, 1000, 3))
    frame = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)] * 100)
    points[0, :800] = frame  # its box is [-1, 1]³, or [-1.1, 1.1]³ once corners move outwards
    out = impulse(points, 10, np.random.default_rng(0)) * 1.1
    change = np.abs(out - points).round(6)
    assert (change.max(axis=2) > 0).sum() == 100
    assert set(change[change > 0].tolist()) == {0.1}


def test_cube():
    out = cube(np.array([[[0.0, 0, 0], [4, 2, 1]]]))
    np.testing.assert_allclose(out, [[[-1, -0.5, -0.25], [1, 0.5, 0.25]]])
    np.testing.assert_array_equal(cube(np.ones((1, 5, 3))), 0)  # no division by 0


@pytest.mark.parametrize("up", ["x", "y"])
@pytest.mark.parametrize("name", ["occlusion", "shear", "lidar"])
def test_the_upright_axis(clouds, name, up):
    want = corrupt(clouds, "modelnet40_c", name, 2)
    turned = next(t for t in (clouds[..., p] * s for p, s in TURNS)
                  if np.array_equal(upright(t, up), clouds))  # fmt: skip
    got = corrupt(turned, "modelnet40_c", name, 2, up=up)
    np.testing.assert_allclose(upright(got, up), want, atol=1e-5)


TURNS = [
    (list(p), np.array(s, np.float32))
    for p in ((2, 1, 0), (0, 2, 1))
    for s in np.stack(np.meshgrid([1, -1], [1, -1], [1, -1]), -1).reshape(-1, 3)
]


def test_free_form_deformation():
    points = np.random.default_rng(0).uniform(-1, 1, (2, 40, 3))
    np.testing.assert_allclose(free_form(points, np.zeros((2, 125, 3))), points)
    shift = np.tile([0.1, -0.2, 0.3], (2, 125, 1))  # all the same: a shift
    np.testing.assert_allclose(free_form(points, shift), points + shift[:, :1], atol=1e-9)
    # Shifts that are linear in the control points: Bernstein polynomials keep linear maps.
    np.testing.assert_allclose(free_form(points, np.tile(grid() * 0.2, (2, 1, 1))), points * 1.2)
    outside = np.array([[[1.5, 0, 0]]])
    np.testing.assert_array_equal(free_form(outside, shift[:1]), outside)


@pytest.mark.parametrize("inverse", [False, True])
def test_radial_basis_interpolates(inverse):
    rng = np.random.default_rng(0)
    shifts = rng.normal(size=(1, 125, 3)) * 0.1
    at = np.ascontiguousarray(grid()[None])
    np.testing.assert_allclose(radial(at, shifts, inverse=inverse), at + shifts, atol=1e-8)
    points = rng.uniform(-1, 1, (1, 40, 3))
    linear = radial(points, grid()[None] * 0.2, inverse=inverse)
    np.testing.assert_allclose(linear, points * 1.2, atol=1e-8)


def test_the_far_side_of_a_ball_is_hidden():
    points = np.random.default_rng(0).normal(size=(2, 2000, 3))
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    camera = np.array([[3.0, 0, 0], [0, 3.0, 0]])
    for cloud, axis, visible in zip(points, (0, 1), seen(points, camera), strict=True):
        assert visible[cloud[:, axis] > 0.6].mean() > 0.97
        assert visible[cloud[:, axis] < -0.3].mean() < 0.03


def test_rings():
    points = np.random.default_rng(0).uniform(-1, 1, (1, 500, 3))
    scanner = np.array([[5.0, 0, 2]])
    moved, near = rings(points, scanner)
    assert 0.3 < near.mean() < 0.7
    ray = (moved - scanner[:, None])[near]
    polar = np.rad2deg(np.arccos(ray[:, 2] / np.linalg.norm(ray, axis=1)))
    part = (polar - polar.min()) % 1
    assert np.minimum(part, 1 - part).max() < 1e-6  # whole degrees apart
    assert np.linalg.norm((moved - points)[near], axis=1).max() < 0.05


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"suite": "modelnetc"}, UnknownNameError, "did you mean 'modelnet_c'"),
        ({"name": "drop_global"}, UnknownNameError, "did you mean 'dropout_global'"),
        ({"severity": 0}, ConfigError, "severity 1 to 5"),
        ({"seed": -1}, ConfigError, "seed >= 0"),
        ({"up": "w"}, UnknownNameError, "up axis"),
        ({"points": np.zeros((2, 100, 2), "f4")}, PointCloudError, "(2, 100, 2)"),
        ({"points": np.zeros((2, 100, 3), int)}, PointCloudError, "real numbers"),
        ({"points": np.zeros((0, 100, 3))}, PointCloudError, "(0, 100, 3)"),
        ({"points": np.zeros((2, 63, 3))}, PointCloudError, "63 points are too few"),
        ({"points": np.full((2, 100, 3), np.nan)}, PointCloudError, "NaN"),
    ],
)
def test_wrong_input(clouds, change, error, words):
    given = {"points": clouds, "suite": "modelnet_c", "name": "jitter", "severity": 1, **change}
    with pytest.raises(error) as caught:
        corrupt(**given)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("suite", "name"), ALL)
def test_a_single_place_makes_no_nan(suite, name):
    out = corrupt(np.ones((1, 128, 3), np.float32), suite, name, 3)
    assert np.isfinite(out).all()
