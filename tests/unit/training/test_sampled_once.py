"""Sampling once a run gives the batches that sampling in every epoch gives."""

import numpy as np
import torch

from pointadapt.data.transforms import resample
from pointadapt.training import sampled_once
from pointadapt.training.sampled_once import FirstPoints


def test_batches_are_the_same_and_sampled_once(monkeypatch):
    clouds = torch.randn(10, 100, 3, generator=torch.Generator().manual_seed(0))
    first, calls = FirstPoints(10, 32), []
    sample = sampled_once.farthest_point_sample
    monkeypatch.setattr(
        sampled_once,
        "farthest_point_sample",
        lambda p, m, **o: calls.append(len(p)) or sample(p, m, **o),
    )
    for epoch in range(3):
        order = np.random.default_rng(epoch).permutation(10)
        for at in (order[:4], order[4:8]):  # two clouds of each epoch are left out
            draws = [torch.Generator().manual_seed(epoch) for _ in range(2)]
            want = resample(clouds[at], 32, draws[0])
            assert torch.equal(resample(first(at, clouds[at]), 32, draws[1]), want)
    assert sum(calls) == first.known.sum() <= 10


def test_clouds_that_are_small_already_stay():
    clouds = torch.randn(2, 37, 3)
    assert FirstPoints(2, 32)(np.array([0, 1]), clouds) is clouds  # 32 are chosen of 38
