"""Pictures: they are written, whole, and show what they should."""

import numpy as np
import pytest

from pointadapt.core.errors import PointAdaptError
from pointadapt.reports.drawing import _part_colors, curve, part_grid, prediction_grid, project

CLOUDS = np.random.default_rng(0).uniform(-1, 1, (3, 64, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_grid(ending, start, tmp_path):
    path = tmp_path / "new" / f"p.{ending}"
    out = prediction_grid(
        CLOUDS, ["a", "b", "c"], [True, False, None], path, columns=2, heading="h"
    )
    assert out == path and path.read_bytes().startswith(start)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_colours_tell_right_from_wrong(tmp_path):
    from matplotlib.image import imread

    def share(ok, channel):
        path = prediction_grid(CLOUDS[:1] * 0, ["WWWWWW"], [ok], tmp_path / "p.png")
        image = imread(path)[..., :3]
        others = [c for c in range(3) if c != channel]
        return (image[..., channel] > image[..., others].max(axis=-1) + 0.2).mean()

    assert share(True, 1) > 0 and share(True, 0) == 0
    assert share(False, 0) > 0 and share(False, 1) == 0


def test_projection():
    up = project(np.array([[0.0, 0, -1], [0, 0, 1]]))
    assert up[1, 1] == pytest.approx(1) and up[:, 0] == pytest.approx(0)
    many = project(CLOUDS[0] * 50 + 7)
    assert np.linalg.norm(many[:, :2], axis=1).max() == pytest.approx(1)
    assert np.isfinite(project(np.zeros((4, 3)))).all()


def test_curve(tmp_path):
    path = curve({"train": [3, 2, 1], "test": [3, 3, 2]}, tmp_path / "c.png", y="loss")
    assert path.read_bytes().startswith(b"\x89PNG")


NAMES = ("a/top", "a/leg", "b/all")


def test_parts_are_told_apart_by_colour(tmp_path):
    from matplotlib.image import imread

    def hues(parts):
        rows = {"true": parts, "predicted": parts}
        path = part_grid(CLOUDS, rows, ["x", "y", "z"], NAMES, tmp_path / "p.png", columns=2)
        image = (imread(path)[..., :3] * 255).astype(int).reshape(-1, 3)
        colors = ((31, 119, 180), (255, 127, 14))
        blue, orange = ((abs(image - c).sum(axis=1) < 30).sum() for c in colors)
        return int(blue), int(orange)

    one = hues(np.zeros((3, 64), int))
    two = hues(np.arange(3 * 64).reshape(3, 64) % 2)
    assert one[0] > 0 and one[1] == 0
    assert 0 < two[0] < one[0] and two[1] > 0


def test_many_parts_and_nothing_to_draw(tmp_path):
    names = tuple(f"a/{k}" for k in range(30))
    parts = np.arange(3 * 64).reshape(3, 64) % 30
    path = part_grid(CLOUDS, {"predicted": parts}, ["x", "y", "z"], names, tmp_path / "p.svg")
    assert path.read_bytes().startswith(b"<?xml")
    with pytest.raises(PointAdaptError, match="no cloud"):
        part_grid(CLOUDS[:0], {"true": parts[:0]}, [], names, tmp_path / "p.png")


def test_errors(tmp_path):
    with pytest.raises(PointAdaptError, match="no cloud"):
        prediction_grid(CLOUDS[:0], [], [], tmp_path / "p.png")
    with pytest.raises(PointAdaptError, match="no curve"):
        curve({}, tmp_path / "p.png")
    with pytest.raises(PointAdaptError, match=r"\.png, \.pdf or \.svg"):
        curve({"a": [1]}, tmp_path / "p.jpg")
    assert not list(tmp_path.iterdir())


def test_a_part_has_one_colour_on_every_cloud():
    names = ["chair/leg", "chair/seat", "lamp/foot", "lamp/shade"]
    leg, seat = _part_colors(names, np.array([0, 1])).tolist()
    assert leg != seat and _part_colors(names, np.array([1])).tolist() == [seat]
    assert len({tuple(c) for c in _part_colors(names, np.arange(4)).tolist()}) == 4
