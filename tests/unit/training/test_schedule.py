"""The learning rate, against numbers worked out by hand; the released one is in tests/golden."""

import math

import pytest

from pointadapt.training.schedule import warmup_cosine


@pytest.mark.parametrize(
    ("t", "expected"),
    [
        (0, 0.1),
        (1, 0.1 + 0.9 / 2),
        (2, 0.2 + 0.4 * (1 + math.cos(math.pi * 0.2))),
        (5, 0.6),
        (10, 0.2),
        (11, 0.2),
    ],
)
def test_by_hand(t, expected):
    assert warmup_cosine(t, 10, 2, lr=1.0, min_lr=0.2, start_lr=0.1) == pytest.approx(expected)


def test_without_warm_up_it_starts_at_the_peak():
    assert warmup_cosine(0, 10, 0, 3e-4) == 3e-4


def test_rises_then_falls():
    values = [warmup_cosine(t, 100, 10, 1e-3) for t in range(101)]
    assert values[:11] == sorted(values[:11])
    assert values[11:] == sorted(values[11:], reverse=True)
    assert values[0] == pytest.approx(1e-6)
    assert values[-1] == pytest.approx(1e-6)
    assert max(values) < 1e-3  # the warm-up covers the cosine's beginning


def test_a_warm_up_longer_than_the_run():
    assert warmup_cosine(5, 5, 10, 1.0, start_lr=0.0) == 0.5
