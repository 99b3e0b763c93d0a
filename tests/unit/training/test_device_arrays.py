"""Rows of a data set where the network is."""

import numpy as np
import torch

from pointadapt.core.machine import upload
from pointadapt.training import device_arrays as resident
from pointadapt.training.device_arrays import Resident

ARRAY = np.arange(24, dtype=np.float16).reshape(6, 4)
AT = np.array([5, 0, 0, 3])


def test_rows_on_a_cpu_are_copies():
    here = Resident(torch.device("cpu"))
    rows = here.rows(ARRAY, AT)
    assert rows.dtype == torch.float16
    assert np.array_equal(rows, ARRAY[AT])
    rows.zero_()
    assert ARRAY.sum() > 0
    assert not here._held


class Gpu:
    """A CPU that calls itself a GPU, with so much free memory."""

    type = "cuda"

    def __init__(self, monkeypatch, free):
        copies = self.copies = []

        def onto(array, device):
            copies.append(array)
            return array

        monkeypatch.setattr(resident, "upload", lambda tensor, device: tensor)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
        monkeypatch.setattr(
            resident.torch, "from_numpy", lambda a: Tracked(torch.tensor(a), copies)
        )


class Tracked:
    def __init__(self, tensor, copies):
        self.tensor, self.copies = tensor, copies

    def to(self, device):
        self.copies.append(tuple(self.tensor.shape))
        return self

    def index_select(self, dim, index):
        return self.tensor.index_select(dim, index.tensor)


def test_a_gpu_with_room_holds_the_array(monkeypatch):
    gpu = Gpu(monkeypatch, free=10**6)
    there = Resident(gpu)
    for _ in range(3):
        assert np.array_equal(there.rows(ARRAY, AT), ARRAY[AT])
    assert gpu.copies == [ARRAY.shape]


def test_a_gpu_without_room_gets_rows(monkeypatch):
    gpu = Gpu(monkeypatch, free=100)
    there = Resident(gpu)
    assert np.array_equal(there.rows(ARRAY, AT).tensor, ARRAY[AT])
    assert gpu.copies == []


def test_upload_to_where_it_is():
    x = torch.ones(3)
    assert upload(x, torch.device("cpu")) is x
