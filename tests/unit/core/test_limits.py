"""Limits to memory."""

import errno

import pytest
import torch
from torch import nn

from pointadapt.core import limits
from pointadapt.core.errors import PointAdaptError, is_memory
from pointadapt.core.limits import TooLargeError, Within, check_memory, memory_named

HUGE = 10**13  # numbers: 40 TB, which no machine of a test has


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(HUGE),
        lambda: torch.zeros(10**7, 10**6),
        lambda: torch.ones((10**7, 10**6)),
        lambda: torch.randn(size=(10**7, 10**6)),
        lambda: torch.full((HUGE,), 1.0),
        lambda: torch.arange(HUGE),
        lambda: torch.linspace(0, 1, HUGE),
        lambda: torch.eye(10**7),
        lambda: torch.ones(1).new_zeros(10**7, 10**6),
        lambda: torch.ones(1).new_empty((10**7, 10**6)),
        lambda: nn.Linear(10**7, 10**6),
        lambda: nn.Embedding(10**7, 10**6),
        lambda: nn.Conv1d(10**7, 10**6, 1),
        lambda: nn.LayerNorm(HUGE),
        lambda: nn.Parameter(torch.zeros(3, HUGE)),
    ],
)
def test_one_tensor_is_refused_before_it_is_made(make):
    with pytest.raises(TooLargeError), Within(1000):
        make()


def test_many_small_ones_are_refused_in_time():
    made = []
    with pytest.raises(TooLargeError), Within(100_000):
        for _ in range(10**6):
            made.append(nn.Linear(10, 10))
    assert len(made) <= 100_000 // 110


def test_even_empty_ones_are():
    made = []
    with pytest.raises(TooLargeError), Within(100_000):
        for _ in range(10**6):
            made.append(torch.zeros(0))
    assert len(made) < 100


def test_steps_of_drawing_weights_do_not_add_up():
    weight = torch.zeros(100)
    with Within(0):
        for _ in range(1000):
            weight = (weight[:50] + 1).repeat(2)


def test_what_fits_is_made_as_without():
    torch.manual_seed(0)
    expected = nn.Linear(8, 8).weight
    torch.manual_seed(0)
    with Within(10_000):
        assert torch.equal(nn.Linear(8, 8).weight, expected)


def test_free_memory_is_asked(monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 10_000_000_000)
    check_memory(8_900_000_000, "a.pth")
    with pytest.raises(PointAdaptError) as caught:
        check_memory(9_100_000_000, "a.pth")
    expected = "a.pth takes 9.1 GB of memory, and 10.0 GB are free: close other programs"
    assert str(caught.value) == expected
    monkeypatch.setattr(limits, "free_memory", lambda: None)
    check_memory(10**18, "a.pth")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate "),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_memory_is_named(error):
    with pytest.raises(PointAdaptError, match=r"not enough memory to read a\.pth"):  # noqa: SIM117
        with memory_named("a.pth"):
            raise error


def test_an_allocation_that_really_fails():
    with pytest.raises(PointAdaptError, match="not enough memory"), memory_named("a.pth"):
        torch.empty(1 << 50)


@pytest.mark.parametrize("error", [ValueError("memory"), OSError(errno.ENOSPC, "full")])
def test_other_errors_are_not_called_memory(error):
    assert not is_memory(error)
    with pytest.raises(type(error)), memory_named("a.pth"):
        raise error
