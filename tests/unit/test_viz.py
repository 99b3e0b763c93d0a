"""Pictures: they are written, whole, and show what they should."""

import numpy as np
import pytest

from pointadapt.errors import PointAdaptError
from pointadapt.viz import curve, prediction_grid, project

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


def test_errors(tmp_path):
    with pytest.raises(PointAdaptError, match="no cloud"):
        prediction_grid(CLOUDS[:0], [], [], tmp_path / "p.png")
    with pytest.raises(PointAdaptError, match="no curve"):
        curve({}, tmp_path / "p.png")
    with pytest.raises(PointAdaptError, match=r"\.png, \.pdf or \.svg"):
        curve({"a": [1]}, tmp_path / "p.jpg")
    assert not list(tmp_path.iterdir())
