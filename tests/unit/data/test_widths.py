"""Widths of blocks: the word "auto", and the width that fits a density."""

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError
from pointadapt.core.fields import convert
from pointadapt.data.reading.widths import Width, fitting_width


def test_a_width_is_a_number_or_auto():
    assert convert("auto", Width, "block") == convert(0, Width, "block") == 0
    assert (str(convert("auto", Width, "block")), str(convert("2.50", Width, "block"))) == (
        "auto", "2.5",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="block must be a width in metres, or auto, not 'wide'"):
        convert("wide", Width, "block")


def grid(side, step):
    """A flat square of evenly spaced points."""
    at = np.arange(0, side, step)
    return np.stack([*np.meshgrid(at, at), np.zeros((len(at), len(at)))], axis=-1).reshape(-1, 3)


def test_the_median_block_holds_twice_the_points():
    wide = fitting_width([grid(200.0, 1.0)], 200)  # a point a square metre: 400 in 20 m
    assert wide == pytest.approx(20, abs=1.5)
    fine = fitting_width([grid(2.0, 0.01)], 200)
    assert fine == pytest.approx(0.2, abs=0.015)
    assert float(f"{wide:.2g}") == wide


def test_it_goes_by_most_places_and_ends_at_the_widest_scene():
    dense, sparse = grid(20.0, 0.1), grid(200.0, 1.0)
    assert fitting_width([dense, dense, sparse], 200) < fitting_width([dense, sparse, sparse], 200)
    assert fitting_width([grid(9.0, 1.0)], 5000) == 8
