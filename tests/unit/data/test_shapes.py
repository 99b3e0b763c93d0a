"""The made-up objects: repeatable, balanced, labelled, and what each option does."""

import random

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError
from pointadapt.data.base import load_dataset
from pointadapt.data.procedural.draw import draw, unit_sphere
from pointadapt.data.procedural.primitives import (
    BALL,
    BOX,
    CYLINDER,
    SHEET,
    Piece,
    frame,
    frustum,
    span,
    tube,
)
from pointadapt.data.procedural.sketch import RECIPES
from pointadapt.data.sets.shapes import (
    CLASSES,
    PARTS,
    SCANS,
    Shapes,
    ShapeStream,
    random_assembly,
    seen_from_one_side,
)

CLEAN = {"noise": 0.0, "missing": 0.0, "density": 0.0}


def rng(seed=0):
    return np.random.default_rng(seed)


def drawn(*pieces, points=4000):
    cloud, part = draw([pieces], [rng()], points)
    return cloud[0], part[0]


@pytest.fixture(scope="module")
def train():
    return Shapes(points=256, size=3 * len(CLASSES)).load("train")


def test_is_registered_and_needs_no_folder():
    data = load_dataset("shapes", points=16, size=3, test_size=2, rotate="none")
    assert data.needs_root is False
    assert data.load("train").points.shape == (3, 16, 3)
    assert data.load("test").points.shape == (2, 16, 3)


def test_clouds_are_finite_and_fill_the_unit_sphere(train):
    assert train.points.dtype == np.float32 and np.isfinite(train.points).all()
    np.testing.assert_allclose(np.linalg.norm(train.points, axis=2).max(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(train.points.mean(axis=1), 0, atol=1e-5)


def test_classes_are_balanced_and_ids_unique(train):
    assert (np.bincount(train.labels, minlength=len(CLASSES)) == 3).all()
    assert len(set(train.ids)) == len(train)
    assert len(CLASSES) >= 20


def test_parts_are_those_of_the_class(train):
    assert train.parts is not None and train.part_names == PARTS
    for label, parts in zip(train.labels, train.parts, strict=True):
        assert {PARTS[p].split("/")[0] for p in np.unique(parts)} == {CLASSES[label]}


@pytest.mark.parametrize("name", CLASSES)
def test_every_part_of_a_class_occurs(name):
    made = {p.part for seed in range(60) for p in RECIPES[name].pieces(random.Random(seed))}
    assert made == set(range(len(RECIPES[name].parts)))


def test_same_seed_same_clouds_other_seed_others():
    first, again = (Shapes(points=64, size=40).load("train") for _ in range(2))
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(first.parts, again.parts)
    assert not np.allclose(first.points, Shapes(points=64, size=40, seed=1).load("train").points)


def test_a_cloud_does_not_depend_on_how_many_are_made():
    few, many = (Shapes(points=64, size=size).load("train") for size in (5, 70))
    np.testing.assert_array_equal(few.points, many.points[:5])
    np.testing.assert_array_equal(few.parts, many.parts[:5])


def test_train_and_test_differ():
    data = Shapes(points=64, size=32, test_size=32)
    a, b = data.load("train").points, data.load("test").points
    apart = np.abs(a[:, None] - b[None]).max(axis=(2, 3))
    assert apart.min() > 0.1


def test_noise_moves_every_point_a_little():
    clean = Shapes(points=512, size=8, **CLEAN).load("train").points
    noisy = Shapes(points=512, size=8, **{**CLEAN, "noise": 0.02}).load("train").points
    step = (noisy - clean).std(axis=(1, 2))
    assert (step > 0.01).all() and (step < 0.04).all()


def test_missing_takes_a_region_away_and_refills_the_rest():
    """What is left lies within the whole cloud, has as many points, but does not cover it."""
    whole = Shapes(points=512, size=30, **CLEAN).load("train")
    lacking = Shapes(points=512, size=30, **{**CLEAN, "missing": 1.0}).load("train")
    assert lacking.points.shape == whole.points.shape
    np.testing.assert_array_equal(lacking.labels, whole.labels)
    changed = [not np.allclose(a, b) for a, b in zip(whole.points, lacking.points, strict=True)]
    assert np.mean(changed) > 0.9


@pytest.mark.parametrize("scan", SCANS)
def test_each_scan_leaves_a_hole(scan):
    points = unit_sphere(drawn(Piece(0, BALL, frame((0, 0, 0), (1, 1, 1))), points=1500)[0][None])[
        0
    ]
    for seed in range(5):
        seen = scan(points, rng(seed))
        assert 0.1 < seen.mean() < 0.99
        gap = np.linalg.norm(points[~seen][:, None] - points[seen], axis=2).min(axis=1)
        assert gap.max() > 0.1


def test_a_scanner_sees_the_side_that_faces_it():
    points = unit_sphere(drawn(Piece(0, BALL, frame((0, 0, 0), (1, 1, 1))))[0][None])[0]
    seen = seen_from_one_side(points, rng(3))
    towards = points[seen].mean(axis=0)
    assert np.linalg.norm(towards) > 0.3
    assert (points[~seen] @ towards).max() < 0.5 * np.linalg.norm(towards)


def test_density_makes_one_side_denser():
    def lean(density):
        points = Shapes(points=512, size=64, **{**CLEAN, "density": density}).load("train").points
        return np.abs(points.max(axis=1) + points.min(axis=1)).mean()

    assert lean(2.0) > 1.3 * lean(0.0)


def test_rotation_about_z_keeps_heights_and_so3_does_not():
    upright, z, lying, so3 = (
        Shapes(points=128, size=8, rotate=kind, **CLEAN).load("train").points
        for kind in ("none", "z", "lying", "so3")
    )
    np.testing.assert_allclose(lying, np.stack([z[..., 0], -z[..., 2], z[..., 1]], -1), atol=1e-5)
    np.testing.assert_allclose(z[..., 2], upright[..., 2], atol=1e-5)
    assert not np.allclose(z, upright, atol=0.1)
    assert not np.allclose(so3[..., 2], upright[..., 2], atol=0.1)
    for turned in (z, so3):
        near = np.linalg.norm(turned, axis=2)
        np.testing.assert_allclose(near, np.linalg.norm(upright, axis=2), atol=1e-5)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("size", 0),
        ("test_size", 0),
        ("points", 7),
        ("seed", -1),
        ("noise", -0.1),
        ("noise", float("nan")),
        ("missing", 1.5),
        ("density", -1.0),
        ("rotate", "x"),
    ],
)
def test_nonsense_options_are_one_line_errors(option, value):
    with pytest.raises(ConfigError, match=option) as caught:
        Shapes(**{option: value})
    assert "\n" not in str(caught.value)


def test_unknown_split_is_an_error():
    with pytest.raises(ConfigError, match="split must be one of train, test, not 'val'"):
        Shapes().load("val")


@pytest.mark.parametrize("options", [{"points": 7}, {"seed": -1}, {"assembly_fraction": 2.0}])
def test_nonsense_streams_are_errors(options):
    with pytest.raises(ConfigError):
        ShapeStream(**{"seed": 0, **options})


def test_labels_can_be_learnt_but_not_trivially():
    def histogram(clouds, cells=6):
        cell = np.clip(((clouds + 1) / 2 * cells).astype(int), 0, cells - 1)
        flat = (cell[..., 0] * cells + cell[..., 1]) * cells + cell[..., 2]
        return np.sqrt([np.bincount(row, minlength=cells**3) for row in flat])

    forest = pytest.importorskip("sklearn.ensemble").ExtraTreesClassifier(50, random_state=0)
    data = Shapes(points=256, size=12 * len(CLASSES), test_size=5 * len(CLASSES))
    train, test = data.load("train"), data.load("test")
    forest.fit(histogram(train.points), train.labels)
    right = forest.score(histogram(test.points), test.labels)
    assert 10 / len(CLASSES) < right < 0.95


# The stream.


def test_stream_clouds_depend_on_seed_and_number_only():
    stream = ShapeStream(5, points=128)
    whole = stream.batch(0, 100)
    assert whole.shape == (100, 128, 3) and whole.dtype == np.float32
    np.testing.assert_array_equal(ShapeStream(5, points=128).batch(33, 40), whole[33:73])
    for i in (0, 31, 32, 99):
        np.testing.assert_array_equal(stream.batch(i, 1)[0], whole[i])
    assert not np.allclose(ShapeStream(6, points=128).batch(0, 100), whole)
    assert stream.batch(7, 0).shape == (0, 128, 3)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_stream_is_finite_in_the_unit_sphere_and_not_repetitive(fraction):
    clouds = ShapeStream(1, points=128, assembly_fraction=fraction).batch(0, 1000)
    assert np.isfinite(clouds).all()
    np.testing.assert_allclose(np.linalg.norm(clouds, axis=2).max(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(clouds.mean(axis=1), 0, atol=1e-5)
    distinct = [len(np.unique(cloud, axis=0)) for cloud in clouds]
    assert min(distinct) >= 60 and np.mean(np.array(distinct) >= 100) > 0.97


def test_assemblies_have_one_to_eight_groups_and_repeat():
    groups = set()
    for seed in range(200):
        pieces = random_assembly(random.Random(seed))
        groups.add(max(p.part for p in pieces) + 1)
    assert groups == set(range(1, 9))
    a, b = (random_assembly(random.Random(3)) for _ in range(2))
    assert [p.frame for p in a] == [p.frame for p in b]


# The primitives.


@pytest.mark.parametrize(
    ("shape", "distance"),
    [
        (BOX, lambda p: np.abs(p).max(axis=1) - 0.5),
        (BALL, lambda p: np.linalg.norm(p, axis=1) - 0.5),
        (CYLINDER, lambda p: np.maximum(np.hypot(p[:, 0], p[:, 1]), np.abs(p[:, 2])) - 0.5),
        (SHEET, lambda p: np.abs(p[:, 2])),
    ],
)
def test_points_lie_on_the_surface(shape, distance):
    cloud, _ = drawn(Piece(0, shape, frame((0, 0, 0), (1, 1, 1))))
    assert np.abs(distance(cloud)).max() < 0.01
    np.testing.assert_allclose(cloud.mean(axis=0), 0, atol=0.02)


def test_points_are_spread_in_proportion_to_area():
    """A cone: 1 / (1 + sqrt(5)) of its area is the bottom; a box: by the size of its faces."""
    cone, _ = drawn(Piece(0, frustum(0.0), frame((0, 0, 0), (1, 1, 1))), points=8000)
    assert (cone[:, 2] < -0.499).mean() == pytest.approx(1 / (1 + 5**0.5), abs=0.02)
    upper = (cone[:, 2] > 0) & (cone[:, 2] > -0.499)  # the upper half has 1/4 of the side
    assert upper.mean() == pytest.approx(0.25 * 5**0.5 / (1 + 5**0.5), abs=0.02)
    box, _ = drawn(Piece(0, BOX, frame((0, 0, 0), (4, 1, 1))), points=8000)
    assert (np.abs(box[:, 0]) > 1.999).mean() == pytest.approx(2 / 18, abs=0.01)
    pair = [Piece(k, BALL, frame((9 * k, 0, 0), (1 + k,) * 3)) for k in range(2)]
    assert drawn(*pair)[1].mean() == pytest.approx(0.8, abs=0.01)


def test_a_bar_reaches_from_end_to_end():
    cloud, _ = drawn(Piece(0, CYLINDER, span((1, 2, 3), (2, 4, 5), 0.2)))
    along = (cloud - [1, 2, 3]) @ (np.array([1, 2, 2]) / 3)
    off = np.linalg.norm(cloud - [1, 2, 3] - along[:, None] * np.array([1, 2, 2]) / 3, axis=1)
    assert along.min() == pytest.approx(0, abs=0.01) and along.max() == pytest.approx(3, abs=0.01)
    assert off.max() == pytest.approx(0.1, abs=0.002)


def test_a_tube_keeps_its_distance_from_its_path():
    angle = np.linspace(0, 2 * np.pi, 33)
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    cloud, _ = drawn(Piece(0, tube(ring, 0.1), frame((0, 0, 0), (1, 1, 1))))
    apart = np.hypot(np.hypot(cloud[:, 0], cloud[:, 1]) - 1, cloud[:, 2])
    assert apart.min() > 0.09 and apart.max() < 0.105


def test_points_inside_another_solid_or_a_cutter_are_dropped():
    box, ball = Piece(0, BOX, frame((0, 0, 0), (1, 1, 1))), frame((0.5, 0, 0), (0.8, 0.8, 0.8))
    cloud, part = drawn(box, Piece(1, BALL, ball))
    assert np.abs(cloud[part == 1]).max(axis=1).min() > 0.47
    assert np.linalg.norm(cloud[part == 0] - [0.5, 0, 0], axis=1).min() > 0.37
    for cut in (box, Piece(0, SHEET, frame((0, 0, 0), (2, 2, 1)))):
        cloud, part = drawn(cut, Piece(-1, BALL, ball))
        assert (part == 0).all()
        assert np.linalg.norm(cloud - [0.5, 0, 0], axis=1).min() > 0.37


def test_order_of_points_is_random():
    pieces = [Piece(k, BOX, frame((2 * k, 0, 0), (1, 1, 1))) for k in range(4)]
    part = drawn(*pieces, points=400)[1]
    assert (np.bincount(part[:100], minlength=4) > 10).all()


def test_variants_are_told_apart_by_their_part():
    whole = {"missing": 0.0, "density": 0.0, "noise": 0.0}
    clouds = Shapes(size=90, test_size=30, points=1024, labels="variant", **whole).load("train")
    assert len(clouds.classes) == 30
    for label, parts in zip(clouds.labels, clouds.parts, strict=True):
        name, kind, part = clouds.classes[label].split()
        seen = {clouds.part_names[i] for i in set(parts.tolist())}
        assert {p.split("/")[0] for p in seen} == {name}
        if kind == "without":
            assert f"{name}/{part}" not in seen
    assert {clouds.classes[i].split()[1] for i in clouds.labels} == {"with", "without"}
