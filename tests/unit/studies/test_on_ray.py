"""Runs on a real Ray cluster: as without it, and a node that dies on the way does not matter."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pointadapt.core import ray_cluster
from pointadapt.core.config import save_config
from pointadapt.core.errors import ConfigError
from pointadapt.core.ray_cluster import Caller
from pointadapt.studies import on_ray
from pointadapt.studies.jobs import CONFIG, LOG, Job, run_all, work
from pointadapt.studies.on_ray import attempt, executor

VARYING = ("seconds", "peak_memory_bytes", "adapter", "baseline", "config")


def equal(one, other):
    """Whether two runs trained the same weights, bit for bit, and scored the same."""
    files = [job.config.out / "adapter" / "adapter_model.safetensors" for job in (one, other)]
    results = [
        {k: v for k, v in (job.finished() or {}).items() if k not in VARYING}
        for job in (one, other)
    ]
    return files[0].read_bytes() == files[1].read_bytes() and results[0] == results[1]


def test_a_run_is_the_same_as_without(ray_cluster, config, tmp_path):
    here = Job("here", replace(config, out=tmp_path / "here"))
    there = Job("there", config)
    bad = Job("bad", replace(config, out=tmp_path / "b", root=tmp_path / "gone"))
    failed, done = run_all([bad, there], at_once=2, keep_going=True, executor=executor(ray_cluster))
    assert failed.error.startswith("bad: ") and "gone does not exist" in failed.error
    assert done.results and not done.error
    save_config(here.config, here.config.out / CONFIG)
    work(here.config)
    assert equal(there, here)
    assert run_all([there], executor=executor("nowhere:1"))[0].kept  # asks for no cluster


def test_two_runs_in_one_task(ray_cluster, config, tmp_path):
    jobs = [Job(f"{k}", replace(config, out=tmp_path / f"{k}", seed=k)) for k in range(2)]
    found = run_all(jobs, together=2, executor=executor(ray_cluster))
    assert [o.job for o in found] == jobs and [o.together for o in found] == [2, 2]
    assert all(o.results["protocol"]["trained_together"] == 2 for o in found)


def test_a_node_that_does_not_see_the_folder_says_so(config, tmp_path, monkeypatch):
    for module in (on_ray, ray_cluster):
        monkeypatch.setattr(module, "node_name", lambda: "10.0.0.7")
    monkeypatch.setattr(on_ray, "SEEN", 0.0)
    here, asked = Caller(str(tmp_path)), ["away/a/config.yaml"]
    assert attempt(asked, "epochs: 2", 1, here) == (
        f"node 10.0.0.7 does not see {tmp_path}/away/a: choose --out on a file system that all "
        "nodes share, under the same path"
    )
    (tmp_path / CONFIG).write_text("epochs: 3")  # a folder of its own under the same path
    assert "does not see" in str(attempt([CONFIG], "epochs: 2", 1, here))
    assert not (tmp_path / LOG).exists()
    gone = replace(here, folder=str(tmp_path / "gone"))
    assert f"node 10.0.0.7 does not see {tmp_path}/gone: call" in str(attempt(asked, "", 1, gone))
    other = replace(here, version="0.0.1")
    assert "10.0.0.7 has pointadapt" in str(attempt(asked, "", 1, other))


def test_what_a_node_says_ends_all(config):
    tasks = on_ray.RayTasks("nowhere:1", 1, 1)
    tasks.running = {"ref": Job("a", config)}

    class Ray:
        def wait(self, refs, **_):
            return refs, []

        def get(self, ref):
            return "node 10.0.0.7 does not see a"

    tasks.ray = Ray()
    with pytest.raises(ConfigError, match=r"^node 10\.0\.0\.7 does not see a$"):
        tasks.ended()


@pytest.mark.parametrize("how", ["cancelled", "without its raylet"])
def test_a_task_that_ends_early_lets_its_worker_save(how, monkeypatch):
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); "
    code += "print('on', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdout and worker.stdout.readline() == b"on\n"

    def cancel(_):
        raise KeyboardInterrupt

    if how == "cancelled":
        monkeypatch.setattr(on_ray, "time", SimpleNamespace(sleep=cancel))
    else:
        monkeypatch.setattr(on_ray.os, "getppid", iter([7, 7, 1]).__next__)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        on_ray._wait(worker)
    assert worker.returncode == 143
    worker.stdout.close()


@pytest.mark.slow
def test_a_node_is_killed(config, tmp_path, monkeypatch):
    """Two nodes of one core train a run each; one is killed, and the other does what is left."""
    pytest.importorskip("ray", reason="needs ray: pip install 'pointadapt[ray]'")
    from ray.cluster_utils import Cluster

    for key, value in (("failure_threshold", 2), ("period_ms", 1000), ("timeout_ms", 5000)):
        monkeypatch.setenv(f"RAY_health_check_{key}", str(value))
    monkeypatch.setenv("RAY_worker_niceness", "0")
    long = replace(config, epochs=60, save_every=3)
    jobs = [Job(name, replace(long, out=tmp_path / name, seed=k)) for k, name in enumerate("ab")]
    before = signal.getsignal(signal.SIGTERM)
    small = {"include_dashboard": False, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
        signal.signal(signal.SIGTERM, before)

        lowest = []

        def kill():
            while min(job.epochs_done() for job in jobs) < 10:
                time.sleep(0.1)
            os.kill(nodes[1].all_processes["raylet"][0].process.pid, signal.SIGKILL)
            while not all(job.finished() for job in jobs):
                lowest.append(min(job.epochs_done() for job in jobs))
                time.sleep(0.1)

        threading.Thread(target=kill, daemon=True).start()
        done = run_all(jobs, at_once=0, executor=executor(cluster.address))
    finally:
        cluster.shutdown()
        signal.signal(signal.SIGTERM, before)
    assert all(outcome.results for outcome in done)
    logs = [(job.config.out / LOG).read_text() for job in jobs]
    assert sorted(log.count("on node ") for log in logs) == [1, 2]  # one was begun again
    assert min(lowest) >= 9 - 3  # and went on from its checkpoint
    alone = [Job(job.name, replace(job.config, out=tmp_path / f"{job.name}2")) for job in jobs]
    run_all(alone, at_once=2)
    assert all(equal(one, other) for one, other in zip(jobs, alone, strict=True))
