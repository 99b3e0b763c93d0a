"""What a block spends, by kind."""

import threading
import time

import torch

from pointadapt.core.spent import counts, spent
from pointadapt.ops import farthest_point_sample, knn


@counts("nap")
def nap(seconds):
    time.sleep(seconds)
    return seconds


def test_calls_inside_the_block_and_in_its_thread_alone_count():
    nap(0.05)
    with spent() as found:
        assert nap(0.02) == 0.02
        other = threading.Thread(target=nap, args=(0.3,))
        other.start()
        other.join()
        with spent() as inner:
            nap(0.01)
    nap(0.05)
    assert 0.02 <= found["nap"] < 0.3
    assert 0.01 <= inner["nap"] < 0.3


def test_sampling_and_neighbours_are_told_apart():
    points = torch.rand(2, 200, 3)
    with spent() as found:
        farthest_point_sample(points, 50)
    assert found.keys() == {"sample"} and found["sample"] > 0
    with spent() as found:
        knn(points[:, :5], points, 3)
    assert found.keys() == {"group"} and found["group"] > 0
