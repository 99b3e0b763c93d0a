"""What a server is made of: the shelf of adapters, batches, tokens."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters import mixed
from pointadapt.adapters import model as model_file
from pointadapt.adapters.push import push
from pointadapt.core.errors import (
    AdapterError,
    ConfigError,
    FetchError,
    PointAdaptError,
    UnknownNameError,
)

pytest.importorskip("fastapi")

from pointadapt.inference.predict import predict
from pointadapt.serving.answers import Answers
from pointadapt.serving.batches import Batches, BusyError
from pointadapt.serving.plan import Asked, Plan
from pointadapt.serving.run import is_local, run
from pointadapt.serving.shelf import Shelf
from pointadapt.serving.token import read_token


@pytest.fixture
def folders(micro_adapter, tmp_path):
    for name in ("a", "b", "c"):
        shutil.copytree(micro_adapter, tmp_path / "all" / name / "adapter")
    return tmp_path / "all"


def test_the_oldest_adapters_are_let_go_and_those_in_use_stay(folders):
    shelf = Shelf([folders], most=1)
    assert list(shelf.folders()) == ["a", "b", "c"]
    with shelf.using("a") as a:
        with shelf.using("b") as b:
            assert a.model is b.model  # one backbone
            assert shelf.loaded == 2
        with shelf.using("c"):
            assert set(a.model.adapters) >= {a.key}
            assert b.key not in a.model.adapters
    with shelf.using("c"):
        assert shelf.loaded == 1
    with pytest.raises(UnknownNameError), shelf.using("d"):
        pass


def test_an_adapter_that_was_trained_anew_is_read_anew_and_a_new_one_found(folders):
    shelf = Shelf([folders])
    with shelf.using("a") as first:
        pass
    with shelf.using("a") as again:
        assert again == first
    config = folders / "a" / "adapter" / "adapter_config.json"
    config.write_text(config.read_text() + "\n")
    with shelf.using("a") as newer:
        assert newer.key != first.key
    shutil.copytree(folders / "b", folders / "d")
    assert "d" in shelf.folders()


def test_places_without_adapters_and_two_of_one_name_are_refused(folders, tmp_path):
    with pytest.raises(AdapterError, match="holds no adapter"):
        Shelf([tmp_path / "nothing"])
    shutil.copytree(folders / "a", tmp_path / "other" / "a")
    with pytest.raises(AdapterError, match="both called 'a'"):
        Shelf([folders, tmp_path / "other"])
    assert list(Shelf([folders / "a"]).folders()) == ["a"]


def test_an_adapter_on_the_hub_is_called_as_its_repository(hub, folders, micro_adapter):
    push(micro_adapter, "hf://someone/chairs")
    shelf = Shelf([folders / "a", Path("hf://someone/chairs")], folders.parent / "backbone")
    assert list(shelf.folders()) == ["a", "chairs"]
    asked = len(hub.asked)
    assert shelf.config("chairs")["method"] == "dapt"
    assert len(hub.asked) == asked  # once, at the start
    with pytest.raises(FetchError, match="someone/none is not there"):
        Shelf(["hf://someone/none"])


def test_jobs_that_come_together_are_answered_together():
    seen, first = [], threading.Event()

    def answer(jobs):
        first.set()
        seen.append(jobs)
        return [ValueError("odd") if job % 2 else job * 10 for job in jobs]

    batches = Batches(answer, most=3, wait=0.5, waiting=10)
    futures = [batches.submit(k) for k in range(5)]
    batches.stop()
    assert [job for jobs in seen for job in jobs] == [0, 1, 2, 3, 4]
    assert max(map(len, seen)) == 3
    assert futures[2].result() == 20
    assert isinstance(futures[3].exception(), ValueError)


def test_clouds_for_several_adapters_are_answered_together(folders, tmp_path, monkeypatch):
    spoilt = folders / "c" / "adapter" / "adapter_model.safetensors"
    spoilt.write_bytes(spoilt.read_bytes()[:-100])
    model = adapter_folder.load(folders / "b" / "adapter")
    with torch.no_grad():
        for value in model.adapter.parameters():
            value.add_(0.1 * torch.randn_like(value))
    about = model.adapter.about
    name = about["backbone"]["name"]
    adapter_folder.save_adapter(
        model, folders / "b" / "adapter", backbone=name, points=about["points"]
    )
    seen, encoded = [], mixed.encoded
    monkeypatch.setattr(mixed, "LARGEST", 9.0)  # taps outweigh so small a backbone
    monkeypatch.setattr(model_file, "encoded", lambda a, t: seen.append(len(t)) or encoded(a, t))
    file = tmp_path / "cloud.npy"
    np.save(file, np.random.default_rng(0).uniform(-1, 1, (90, 3)))
    answers = Answers(Shelf([folders]), batch=8, wait=1.0, waiting=9)
    got = {name: answers.submit(name, file, Asked(top=2)) for name in "abc"}
    answers.stop()
    assert seen == [2]
    assert "damaged" in str(got["c"].exception())
    tops = []
    for name in "ab":
        (want,) = predict([file], folders / name / "adapter", top=2)
        tops.append(want.top)
        for (label, share), (own, p) in zip(got[name].result().told["top"], want.top, strict=True):
            assert label == own and share == pytest.approx(p, abs=1e-6)
    assert tops[0] != tops[1]


def test_too_many_waiting_are_refused_and_a_fault_stops_nothing():
    begun, hold = threading.Event(), threading.Event()

    def answer(jobs):
        begun.set()
        hold.wait(10)
        raise KeyError("a fault")

    batches = Batches(answer, most=1, wait=0, waiting=1)
    first = batches.submit(1)
    assert begun.wait(10)
    second = batches.submit(2)
    with pytest.raises(BusyError):
        batches.submit(3)
    second.cancel()
    hold.set()
    assert isinstance(first.exception(10), KeyError)
    batches.stop()


def test_tokens_and_addresses(tmp_path):
    file = tmp_path / "token"
    file.write_text("long enough for a token\nsecond line")
    assert read_token(file) == "long enough for a token"
    file.write_text("short")
    with pytest.raises(ConfigError, match="16 letters"):
        read_token(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "none")
    assert [is_local(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "a.example")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_others_are_served_with_a_token_alone(folders):
    plan = Plan((folders,))
    with pytest.raises(ConfigError, match="pass --token-file"):
        run(plan, "0.0.0.0", 0)
    with pytest.raises(PointAdaptError, match="cannot listen on"):
        run(plan, "127.0.0.1", 70000)
