"""One safetensors file."""

import json
import struct

import pytest
import torch

from pointadapt.core import limits
from pointadapt.core.errors import CheckpointError, PointAdaptError
from pointadapt.core.tensors import (
    check_numbers,
    read_safetensors,
    stored_numbers,
    write_safetensors,
)

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7), "c": torch.zeros(0, 4)}


def test_round_trip_and_count(tmp_path):
    path = tmp_path / "m.safetensors"
    write_safetensors(path, {**TENSORS, "t": TENSORS["a"].t()})
    back = read_safetensors(path)
    assert back.keys() == {*TENSORS, "t"}
    assert torch.equal(back["t"], TENSORS["a"].t())
    assert stored_numbers(path) == 6 + 1 + 0 + 6


@pytest.mark.parametrize("read", [read_safetensors, stored_numbers])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\3\4",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
)
def test_damage_is_one_line(tmp_path, read, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or no safetensors file") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_safetensors, stored_numbers])
def test_a_header_that_promises_more_than_is_there(tmp_path, read):
    told = {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    header = json.dumps(told).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(100))
    with pytest.raises(CheckpointError, match="damaged"):
        read(path)


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_safetensors(tmp_path / "m.safetensors")


def test_too_little_memory_is_called_that(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    write_safetensors(path, TENSORS)
    monkeypatch.setattr(limits, "free_memory", lambda: 10)
    with pytest.raises(PointAdaptError, match="of memory") as caught:
        read_safetensors(path)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_number_that_is_none(bad, dtype):
    tensors = {"fine": torch.ones(3), "w": torch.ones(2, 2, dtype=dtype)}
    check_numbers(tensors, "m.pth")
    tensors["w"][1, 0] = bad
    with pytest.raises(CheckpointError, match=r"m\.pth: tensor 'w' holds NaN or infinity"):
        check_numbers(tensors, "m.pth")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.zeros(3, dtype=torch.complex64),
    ],
)
def test_other_kinds_of_tensors(tensor):
    with pytest.raises(CheckpointError, match="no plain array of numbers"):
        check_numbers({"w": tensor}, "m.pth")


def test_a_tensor_that_is_larger_than_its_memory():
    with pytest.raises(CheckpointError, match="says 1,000,000 numbers and holds fewer"):
        check_numbers({"w": torch.ones(1).expand(1_000_000)}, "m.pth")


def test_a_tensor_without_numbers():
    with pytest.raises(CheckpointError, match="without its numbers"):
        check_numbers({"w": torch.ones(3, device="meta")}, "m.pth")
