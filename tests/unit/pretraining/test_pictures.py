"""Pictures of pre-training."""

import numpy as np
import pytest

from pointadapt.core.errors import PointAdaptError
from pointadapt.pretraining.pictures import curves, reconstruction_grid

PNG = b"\x89PNG"


def image(path):
    from matplotlib.image import imread

    assert path.read_bytes()[:4] == PNG
    return imread(path)


def orange(picture):
    """How many pixels have the colour of what the network made."""
    r, g, b = (picture[..., i] for i in range(3))
    return int(((r > 0.7) & (g < 0.75) & (b < 0.65) & (r > g + 0.15)).sum())


def test_only_what_the_network_made_is_orange(tmp_path):
    rng = np.random.default_rng(0)
    clouds, seen, made = (rng.normal(size=(3, n, 3)).astype(np.float32) for n in (90, 40, 50))
    full = image(reconstruction_grid(clouds, seen, made, tmp_path / "a.png", "step 5"))
    none = image(reconstruction_grid(clouds, seen, made[:, :0], tmp_path / "b.png"))
    assert orange(full) > 100 > orange(none) == 0
    third = full.shape[1] // 6
    assert orange(full[:, : 2 * third]) == 0  # input and visible patches


def test_nothing_to_draw(tmp_path):
    empty = np.empty((0, 5, 3))
    with pytest.raises(PointAdaptError, match="no cloud"):
        reconstruction_grid(empty, empty, empty, tmp_path / "a.png")
    with pytest.raises(PointAdaptError, match="no curve"):
        curves({"loss": ([], [])}, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_panel_for_each_curve(tmp_path):
    one = image(curves({"loss": ([50, 100], [0.5, 0.4]), "svm": ([], [])}, tmp_path / "a.png"))
    two = image(curves({"loss": ([50, 100], [0.5, 0.01]), "svm": ([9], [3.0])}, tmp_path / "b.png"))
    assert two.shape[1] == 2 * one.shape[1] and two.shape[0] == one.shape[0]
