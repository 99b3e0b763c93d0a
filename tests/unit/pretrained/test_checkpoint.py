"""Files that others wrote: what is around the tensors, what is refused, and that no code runs."""

import os
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pointadapt.core.errors import CheckpointError
from pointadapt.pretrained.checkpoint import read_published

TENSORS = {"blocks.blocks.0.norm1.weight": torch.arange(4.0), "norm.bias": torch.ones(2)}
OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(4)}}}


def same(path):
    read = read_published(path)
    return set(read) == set(TENSORS) and all(torch.equal(read[k], v) for k, v in TENSORS.items())


def prefixed(prefix):
    return {f"{prefix}{key}": value for key, value in TENSORS.items()}


AROUND = {
    "nothing": TENSORS,
    "base_model": {"base_model": TENSORS, "epoch": 3, "metrics": {"acc": 0.9}},
    "model": {"model": TENSORS, "optimizer": OPTIMIZER},
    "state_dict": {"state_dict": TENSORS, "hyper_parameters": {"lr": 0.1}},
    "model_state_dict": {"model_state_dict": TENSORS, "optimizer_state_dict": OPTIMIZER},
    "net": {"net": TENSORS, "acc": 93.2, "scheduler": {"last": torch.ones(1)}},
    "two": {"model": {"state_dict": TENSORS}, "epoch": 1},
    "three": {"checkpoint": {"model": {"net": TENSORS}}, "step": 5},
    "a name of its own": {"point_encoder_weights": TENSORS, "optim": OPTIMIZER},
    "an average beside": {"model": TENSORS, "ema": prefixed("shadow.")},
    "parts": {"model": {"blocks.blocks": {"0.norm1": {"weight": TENSORS[
        "blocks.blocks.0.norm1.weight"]}}, "norm": {"bias": TENSORS["norm.bias"]}}},
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", list(AROUND))
def test_what_is_around_the_tensors_is_taken_away(name, zipped, tmp_path):
    path = tmp_path / "d.pth"
    torch.save(AROUND[name], path, _use_new_zipfile_serialization=zipped)
    assert same(path)


PREFIXES = (
    "module.", "_orig_mod.", "module.module.", "model.", "module._orig_mod.", "_orig_mod.module.",
    "model.net.", "base_model.",
)  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_wrappers_put_before_names_is_taken_away(prefix, tmp_path):
    torch.save({"state_dict": prefixed(prefix)}, tmp_path / "d.pth")
    assert same(tmp_path / "d.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w"])
def test_safetensors_whatever_their_name(name, tmp_path):
    save_file(prefixed("module."), tmp_path / name)
    assert same(tmp_path / name)


def test_two_models_in_one_file_are_refused(tmp_path):
    other = {key: value + 1 for key, value in prefixed("_orig_mod.").items()}
    torch.save(prefixed("module.") | other, tmp_path / "d.pth")
    with pytest.raises(CheckpointError, match="holds two models: 'blocks"):
        read_published(tmp_path / "d.pth")


def test_numpy_numbers_beside_the_tensors_are_read(tmp_path):
    # Point-MAE keeps its best accuracy as a numpy number; older numpy names it otherwise
    path = tmp_path / "p.pth"
    content = {"base_model": TENSORS}
    content["metrics"] = {"acc": np.float64(92.1), "epoch": np.int64(3), "lr": np.float32(0.1)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multi", b"numpy.core.multi"))
    assert same(path)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, zipped):
    content = {"base_model": TENSORS, "extra": Trap(tmp_path / "sprung")}
    torch.save(content, tmp_path / "d.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="it could run code") as caught:
        read_published(tmp_path / "d.pth")
    message = str(caught.value)
    assert "posix.mkdir" in message
    assert "save the tensors alone: torch.save(model.state_dict()," in message
    assert "\n" not in message
    assert "weights_only" not in message  # torch's advice to do without the protection
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "content", ["missing", "folder", "half", b"", b"\xff\xd8\xff\xe0 JFIF", b"\x80\x02.",
                b"\x10\0\0\0\0\0\0\0{not json"]
)  # fmt: skip
def test_no_checkpoint(content, tmp_path):
    path = tmp_path / "d.pth"
    if content == "folder":
        path.mkdir()
    elif content == "half":
        torch.save(TENSORS, path)
        path.write_bytes(path.read_bytes()[:400])
    elif content != "missing":
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"d\.pth") as caught:
        read_published(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"base_model": {}}, 3, {"a": {"b": {}}}])
def test_checkpoint_without_tensors(content, tmp_path):
    torch.save(content, tmp_path / "d.pth")
    with pytest.raises(CheckpointError, match=r"no (dictionary of )?tensors"):
        read_published(tmp_path / "d.pth")


def test_dictionaries_that_hold_each_other_many_times_are_looked_at_once(tmp_path):
    level = {"w": torch.ones(1)}
    for _ in range(60):  # written out, 2 to the 60th
        level = {"a": level, "b": level}
    torch.save(level, tmp_path / "d.pth")
    with pytest.raises(CheckpointError, match="no tensors"):
        read_published(tmp_path / "d.pth")


def test_a_packed_file_is_not_unpacked(tmp_path):
    torch.save({"w": torch.zeros(10**6)}, tmp_path / "d.pth")
    with (
        zipfile.ZipFile(tmp_path / "d.pth") as whole,
        zipfile.ZipFile(tmp_path / "p.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in whole.namelist():
            packed.writestr(part, whole.read(part))
    assert (tmp_path / "p.pth").stat().st_size < 10**5
    with pytest.raises(CheckpointError, match="packed or overlapping"):
        read_published(tmp_path / "p.pth")


def test_no_memory_is_called_that(tmp_path, monkeypatch):
    torch.save(TENSORS, tmp_path / "d.pth")

    def full(*args, **kwargs):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: not enough "
                           "memory: you tried to allocate 4000000000 bytes.")  # fmt: skip

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(ValueError, match="not enough memory to read") as caught:
        read_published(tmp_path / "d.pth")
    assert "damaged" not in str(caught.value)
