"""Clouds that are there twice, and what must stay together."""

import numpy as np
import pytest

from pointadapt.data.copies import (
    digest_of,
    first_of,
    merged_groups,
    packed,
    unpacked,
    with_copies,
)

POINTS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


def test_a_digest_is_of_the_points_in_any_order():
    assert digest_of(POINTS[::-1]) == digest_of(POINTS)
    assert digest_of(POINTS * np.float32(1)) == digest_of(POINTS)
    zero = np.zeros((4, 3), np.float32)
    assert digest_of(-zero) == digest_of(zero)


@pytest.mark.parametrize(
    "other",
    [
        POINTS[:-1],
        np.vstack([POINTS, POINTS[:1]]),
        np.vstack([POINTS[:1], POINTS[:1], POINTS[2:]]),
        POINTS[:, [1, 0, 2]],
        POINTS + np.float32(1e-6),
        np.column_stack([np.roll(POINTS[:, 0], 1), POINTS[:, 1:]]),  # the same x, y and z apart
    ],
)
def test_other_points_have_another_digest(other):
    assert digest_of(other) != digest_of(POINTS)


def test_digests_survive_in_rows_of_float32():
    values = [0, 1, 2**64 - 1, digest_of(POINTS), 0x7FC00000]
    rows = np.stack([packed(value) for value in values])
    assert rows.dtype == np.float32 and np.isfinite(rows).all()
    assert unpacked(rows).tolist() == values


def test_copies_take_what_their_first_one_gets():
    first = first_of(np.array([5, 9, 5, 7, 9], np.uint64))
    assert first.tolist() == [0, 1, 0, 3, 1]
    drawn = []

    def draw(own):
        drawn.extend(own.tolist())
        return own * 10

    assert with_copies(first, draw).tolist() == [0, 10, 0, 30, 10]
    assert drawn == [0, 1, 3]


def test_groups_that_share_a_cloud_become_one():
    groups = ("b", "a", "c", "d", "c")
    first = np.array([0, 1, 0, 3, 1])  # c has a copy of b's and one of a's
    assert merged_groups(groups, first) == ("a", "a", "a", "d", "a")
    assert merged_groups(groups, np.arange(5)) == groups
