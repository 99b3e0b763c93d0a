"""What check_points refuses, and that the message says what to do."""

import pytest
import torch

from pointadapt.core.errors import PointCloudError
from pointadapt.ops import check_points


def spoiled():
    points = torch.zeros(4, 10, 3)
    points[2, 3, 0] = torch.nan
    points[2, 4] = torch.inf
    points[3, 0, 1] = -torch.inf
    return points


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (torch.zeros(10, 3), {}, r"points: .* one cloud \(10, 3\): pass points\[None\]"),
        (torch.zeros(2, 10, 3, 1), {}, r"expected shape \(B, N, 3\), got \(2, 10, 3, 1\)"),
        (torch.zeros(2, 3, 10), {}, r"got \(2, 3, 10\)"),
        (torch.zeros(10), {}, r"got \(10,\)"),
        (torch.zeros(2, 10, 3).long(), {}, r"torch.int64: pass points.float\(\)"),
        (torch.zeros(2, 10, 3), {"minimum": 32}, "at least 32 points, got 10"),
        (torch.zeros(2, 0, 3), {}, "at least 1 points, got 0"),
        (torch.zeros(10, 3), {"what": "scene"}, r"scene: .*scene\[None\]"),
        (spoiled(), {}, r"3 of 40 points .* first in cloud 2 \(2 of its 10 points\)"),
    ],
)
def test_refuses(points, options, message):
    with pytest.raises(PointCloudError, match=message) as error:
        check_points(points, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_accepts(dtype):
    check_points(torch.randn(2, 10, 3).to(dtype))
    check_points(torch.zeros(0, 10, 3, dtype=dtype))


def test_a_sum_that_overflows_is_not_an_error():
    check_points(torch.full((1, 10, 3), 3e38))
    check_points(torch.full((1, 10, 3), 6e4, dtype=torch.float16))
