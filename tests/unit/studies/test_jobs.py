"""Runs in processes of their own: outcomes, what is kept, what is refused, what is shared out."""

import importlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from unittest.mock import Mock

import pytest

from pointadapt.core import stops
from pointadapt.core.config import save_config
from pointadapt.core.errors import ConfigError, PointAdaptError
from pointadapt.core.files import write_json
from pointadapt.core.folders import only_run_in
from pointadapt.studies import jobs as workers
from pointadapt.studies.jobs import Job, run_all, work


def pretend(job, accuracy=50.0):
    """What a finished run leaves."""
    save_config(job.config, job.config.out / "config.yaml")
    write_json(job.config.out / "results.json", {"accuracy": accuracy})


def test_one_fails_and_the_others_go_on(config, tmp_path):
    """The only test here with real processes."""
    good = Job("good", config, timed=True)
    bad = Job("bad", replace(config, out=tmp_path / "b", root=tmp_path / "gone"))
    there = Job("there", replace(config, out=tmp_path / "c"))
    pretend(there)
    seen = []
    first = run_all([bad, good, there], at_once=2, keep_going=True, on_done=seen.append)
    assert [o.job.name for o in first] == ["bad", "good", "there"]
    assert seen[0] is first[2] and set(map(id, seen)) == set(map(id, first))
    assert first[2].kept and first[2].results == {"accuracy": 50.0}
    assert first[0].results is None
    assert first[0].error.startswith("bad: ") and "gone does not exist" in first[0].error
    results = first[1].results
    assert results and not first[1].kept and not first[1].error
    assert results["peak_memory_bytes"] > 1e8
    assert 0 < results["timing"]["seconds_per_cloud"] < 60
    assert results["timing"]["threads"] == 1
    assert not (config.out / "checkpoint.pt").exists()
    assert run_all([good])[0].results == results  # kept: nothing was trained again


def test_a_failure_stops_the_rest(config, tmp_path, monkeypatch):
    started = []

    class Failing:
        running: dict = {}  # noqa: RUF012
        free = True

        def __init__(self, *_):
            self.over = []

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def start(self, job):
            started.append(job.name)
            self.over.append(workers.Outcome(job, error="no"))

        def ended(self):
            return self.over

    monkeypatch.setattr(workers, "Slots", Failing)
    with pytest.raises(PointAdaptError, match="no"):
        run_all([Job("one", config)])
    assert started == ["one"]


def test_other_options_are_refused_and_nothing_starts(config, tmp_path, monkeypatch):
    pretend(Job("a", config))
    monkeypatch.setattr(workers, "Slots", None)  # would fail if it came to that
    jobs = [Job("new", replace(config, out=tmp_path / "new")), Job("a", replace(config, lr=0.5))]
    with pytest.raises(ConfigError, match=r"lr: 0\.0005 then, 0\.5 now") as caught:
        run_all(jobs)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()
    for other in ({"threads": 7}, {"save_every": 9}, {"recipe": "x"}):
        assert Job("a", replace(config, **other)).finished() == {"accuracy": 50.0}


def test_work_does_what_is_left(config, monkeypatch):
    """A run killed after its results were written is not trained again, only measured."""
    job = Job("a", config, timed=True)
    work(config)
    save_config(config, config.out / "config.yaml")
    assert job.finished() is None
    assert Job("a", config).finished() is not None
    before = (config.out / "results.json").read_bytes()
    work(config, timed=True)
    assert job.finished() is not None
    assert (config.out / "results.json").read_bytes() == before


def test_epochs_done(config):
    job = Job("a", config)
    assert job.epochs_done() == 0
    config.out.mkdir()
    (config.out / "log.jsonl").write_text('{"epoch": 1}\n')
    assert job.epochs_done() == 1
    write_json(config.out / "results.json", {})
    assert job.epochs_done() == config.epochs


@pytest.mark.parametrize(
    ("cores", "gpus", "jobs", "at_once", "want"),
    [
        (16, [], 10, 0, (8, 2)),  # eight at most
        (4, [], 10, 0, (4, 1)),
        (4, [], 3, 0, (3, 1)),
        (16, [], 10, 3, (3, 5)),
        (4, [], 10, 1, (1, 0)),  # torch decides
        (4, [], 1, 0, (1, 0)),
        (16, ["0", "1"], 10, 0, (2, 8)),
        (16, ["0"], 10, 4, (4, 4)),
    ],
)
def test_shares(monkeypatch, cores, gpus, jobs, at_once, want):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(workers, "_gpus", lambda: gpus)
    slots = workers.Slots(jobs, at_once)
    assert (slots.count, slots.threads) == want


@pytest.mark.parametrize(
    ("status", "log", "said"),
    [
        (2, "x\npointadapt: error: lower --batch-size\n", "a: lower --batch-size"),
        (1, "Traceback\nKeyError: 3\n", "a: its process ended with status 1; see"),
        (-9, "", "a: its process was killed, perhaps for lack of memory"),
        (143, "stopped", "a: its process was stopped by SIGTERM: the same command goes on"),
    ],
)
def test_what_a_failure_says(config, status, log, said):
    config.out.mkdir()
    (config.out / "worker.log").write_text(log)
    outcome = workers.outcome_of(Job("a", config), status)
    assert outcome.results is None
    assert outcome.error.startswith(said) and "\n" not in outcome.error


CHILD = """
import signal, sys, time
from pathlib import Path

def save(*_):
    time.sleep(0.3)
    Path(sys.argv[1]).write_text("saved")
    sys.exit(143)

signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("name", ["few_shot", "compare", "cross_validate", "robustness"])
def test_one_study_at_a_time_in_a_folder(name, tmp_path):
    module = importlib.import_module(f"pointadapt.studies.{name}")
    options = {"adapter": tmp_path} if name == "robustness" else {}
    with only_run_in(tmp_path / "out"):
        with pytest.raises(PointAdaptError, match="out is in use by another run"):
            getattr(module, name)(out=tmp_path / "out", **options)
        assert len(list((tmp_path / "out").iterdir())) == 1


def test_sigterm_is_passed_on_and_waited_for(config, tmp_path, monkeypatch, sigterm):
    children = []

    def start(slots, job):
        command = [sys.executable, "-c", CHILD, str(tmp_path / f"{len(children)}.txt")]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout and child.stdout.readline() == b"ready\n"
        slots.running[len(children)] = job, child
        children.append(child)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(workers.Slots, "start", start)
    monkeypatch.setattr(workers, "_gpus", list)
    jobs = [Job(name, replace(config, out=tmp_path / name)) for name in "abc"]
    with pytest.raises(stops.Stopped):
        run_all(jobs, at_once=2)
    assert [child.returncode for child in children] == [143, 143]  # and the third was not begun
    assert all((tmp_path / f"{k}.txt").read_text() == "saved" for k in (0, 1))
    for child in children:
        child.stdout.close()


def test_a_worker_ends_with_its_parent_also_before_it_has_imported_anything(config):
    save_config(replace(config, epochs=100_000), config.out / "config.yaml")
    command = [sys.executable, "-m", "pointadapt.studies.worker", str(config.out / "config.yaml")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as worker:
        assert worker.stdin
        worker.stdin.close()  # as if the parent were gone
        assert worker.wait(60) == stops.INTERRUPTED
    assert not (config.out / "log.jsonl").exists()
    code = "import sys, pointadapt.studies.worker; print({'rich', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_gpus_by_the_names_of_the_user(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert workers._gpus() == ["3", "5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert workers._gpus() == ["0", "1"]


def test_jobs_of_a_kind_are_stacked(config, tmp_path, capsys):
    """Up to so many; what was begun alone, or is not written for it, stays alone."""
    jobs = [Job(f"{k}", replace(config, out=tmp_path / f"{k}", seed=k)) for k in range(6)]
    jobs[4] = replace(jobs[4], config=replace(jobs[4].config, method="most"))
    (tmp_path / "5").mkdir()
    (tmp_path / "5/checkpoint.pt").touch()
    found = workers.stacked(jobs, 3)
    assert [[job.name for job in one.each] for one in found] == [
        ["0", "1", "2"], ["3"], ["4"], ["5"],
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "trained one by one, since most is not written to be stacked: 4" in said
    assert "there is a checkpoint to go on from: 5" in said
    assert workers.stacked(jobs, 1) == jobs


def test_stacked_jobs_are_one_process(config, tmp_path):
    """With a log in the first one's folder, and an outcome of each."""
    jobs = [Job(f"seed {k}", replace(config, out=tmp_path / f"{k}", seed=k)) for k in range(2)]
    found = run_all(jobs, together=2)
    assert [o.job for o in found] == jobs and all(o.results for o in found)
    assert [o.together for o in found] == [2, 2]
    for outcome in found:
        assert outcome.results["protocol"]["trained_together"] == 2
        assert not (outcome.job.config.out / "checkpoint.pt").exists()
    assert (tmp_path / "0/worker.log").exists() and not (tmp_path / "1/worker.log").exists()
    assert all(outcome.kept for outcome in run_all(jobs, together=2))


def test_after_a_failure_each_is_tried_by_itself(config, tmp_path, monkeypatch, capsys):
    started = []

    def start(slots, job):
        started.append([one.name for one in job.each])
        if not job.beside:
            pretend(job)
        elif len(started) == 1:
            pretend(job.each[0])  # it had ended when the other failed
        slots.running[0] = job, Mock(poll=lambda: 0 if not job.beside else 2)

    monkeypatch.setattr(workers.Slots, "start", start)
    jobs = [Job(name, replace(config, out=tmp_path / name)) for name in "ab"]
    for job in jobs:
        job.config.out.mkdir()
    (tmp_path / "a/worker.log").write_text("pointadapt: error: no room\n")
    found = run_all(jobs, together=2)
    assert started == [["a", "b"], ["b"]]
    assert [bool(o.results) for o in found] == [True, True]
    assert "b: no room; it is trained by itself" in capsys.readouterr().err
