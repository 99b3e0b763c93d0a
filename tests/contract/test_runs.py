"""What training promises for every method: processes share it, and it can be interrupted."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.core.config import TrainConfig
from pointadapt.core.tensors import read_safetensors
from pointadapt.methods import METHODS

loop = importlib.import_module(
    "pointadapt.training.trainer"
)  # the package's attribute is the function
PEFT = ["peft:lora", "peft:ia3"] if find_spec("peft") else []
# A method that fits its head takes no step, so that nothing could be shared or interrupted.
NAMES = [*(name for name in METHODS if not METHODS[name].fits), *PEFT]
SHORT = ("dapt", "full", "gaprompt", "lora", "stem_adapter")  # make test-all takes all
each_method = pytest.mark.parametrize(
    "name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)


@pytest.fixture(scope="module")
def two_processes(request, bare_backbone, toy_batch, tmp_path_factory):
    """What both processes have of every method that is asked for, from one start of them."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("torch was built without gloo")
    out = tmp_path_factory.mktemp("two")
    torch.save(tuple(toy_batch), out / "batch.pt")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone",
        str(Path(__file__).parent / "two_processes.py"), str(bare_backbone("point_vit")),
        str(out / "batch.pt"), str(out), *asked_for(request.session),
    ]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, timeout=600, check=False, env=env)
    ranks = [out / f"rank{k}.pt" for k in (0, 1)]
    assert all(rank.exists() for rank in ranks), done.stderr.decode()[-3000:]
    return [torch.load(rank, weights_only=True) for rank in ranks]


def asked_for(session):
    """The methods of this module's tests that were collected, in order."""
    found = {
        item.callspec.params["name"] for item in session.items
        if "two_processes" in getattr(item, "fixturenames", ())
    }  # fmt: skip
    return [name for name in NAMES if name in found]


def of_both(two_processes, name, mode):
    for rank in two_processes:
        if name not in rank:
            pytest.fail(f"not reached: {list(rank)[-1]} failed before")
        assert "error" not in rank[name], rank[name]["error"]
    return [rank[name][mode] for rank in two_processes]


def assert_close(got, want):
    assert got.keys() == want.keys()
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, atol=2e-6, rtol=2e-5, msg=key)


@each_method
def test_two_processes_equal_one_with_twice_the_batch(name, two_processes):
    """Where no cloud depends on its batch: every BatchNorm as in evaluation."""
    first, second = of_both(two_processes, name, "frozen")
    assert_close(first["got"], first["want"])
    assert all(torch.equal(first["got"][k], second["got"][k]) for k in first["got"])
    moved = max(float((first["got"][k] - v).abs().max()) for k, v in first["start"].items())
    assert moved > 1e-4  # a hundred times the tolerance


@each_method
def test_batchnorm_is_of_each_process_and_the_parameters_are_shared(name, two_processes):
    """What differs with batch statistics: each process normalises by its own half.

    The gradient is then the mean of the halves', and the first process's statistics are saved.
    """
    first, second = of_both(two_processes, name, "batch")
    assert_close(first["got"], first["want"])
    running = {k for k in first["got"] if k.rpartition(".")[2].startswith(("running", "num_"))}
    assert any(k.startswith("head.") for k in running)
    for key in first["got"].keys() - running:
        assert torch.equal(first["got"][key], second["got"][key]), key
    whole = of_both(two_processes, name, "frozen")[0]["got"]
    assert any(not torch.allclose(whole[k], first["got"][k], atol=1e-4) for k in whole)


@each_method
def test_resuming_is_exact(name, toy_root, bare_backbone, tmp_path, monkeypatch):
    """With dropout, drop path, augmentation and moving statistics, bit for bit.

    From the end of the first epoch, and from the middle of the second.
    """
    whole = TrainConfig(
        out=tmp_path / "whole", data="folder", root=toy_root, points=64, epochs=2, batch_size=16,
        backbone=str(bare_backbone("point_vit")), method=name, lr=3e-3, tensorboard=False,
        threads=1,
    )  # fmt: skip
    original, places = loop.save_state, {(1, 0): tmp_path / "parts", (1, 1): tmp_path / "middle"}

    def save(path, state):
        original(path, state)
        if place := places.get((state["epoch"], state["done"])):
            place.mkdir()
            shutil.copy(path, place)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", save)
        patch.setattr(loop.Run, "_asked_to_stop", lambda run: run._save())  # and go on
        loop.train(whole)
    want = read_safetensors(whole.out / "adapter" / adapter_folder.WEIGHTS)
    for place in places.values():
        loop.train(replace(whole, out=place, resume=True))
        got = read_safetensors(place / "adapter" / adapter_folder.WEIGHTS)
        assert got.keys() == want.keys()
        assert all(torch.equal(got[key], want[key]) for key in want), place
        assert losses(place) == losses(whole.out)
        assert len(losses(place)) == 2


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]
