"""``pointadapt serve --cluster``: replicas on a real Ray cluster, one killed for real."""

import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest

from pointadapt.cli.main import main
from pointadapt.core.errors import UnknownNameError
from pointadapt.inference.predict import predict

pytest.importorskip(
    "ray.serve", reason="needs pip install 'pointadapt[ray-serve]'", exc_type=ImportError
)
pytest.importorskip("fastapi")

from pointadapt.serving import on_ray
from pointadapt.serving.client import predict_at

PORT = "18473"


def replicas():
    """The processes that answer, on all nodes."""
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if "ServeReplica:pointadapt" in " ".join(p.info["cmdline"] or ())]


@pytest.mark.slow
def test_every_file_is_answered_though_a_replica_is_killed(
    ray_cluster, served, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    files = [tmp_path / f"{k}.npy" for k in range(60)]
    for k, file in enumerate(files):
        np.save(file, np.random.default_rng(k).uniform(-1, 1, (90, 3)))
    command = [sys.executable, "-m", "pointadapt", "serve", str(served / "adapters" / "shapes")]
    flags = ["--cluster", ray_cluster, "--workers", "2", "--port", PORT]
    process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert " at http" in line
        address = line.split(" at ")[1].strip()
        first = replicas()
        assert len(first) == 2

        def kill(_, done, __):
            if done == 5:
                os.kill(first[0].pid, signal.SIGKILL)

        rows, _ = predict_at(address, files, on_progress=kill)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not replicas()
    for row, want in zip(rows, predict(files, served / "adapters" / "shapes"), strict=True):
        assert row.error is None and row.label == want.label
        assert row.confidence == pytest.approx(want.confidence, abs=1e-5)


def test_a_port_is_needed_and_a_cluster(micro_adapter, capsys):
    words = ["serve", str(micro_adapter), "--cluster", "127.0.0.1:9"]
    assert main([*words, "--port", "0"]) == 2
    assert "name a --port" in capsys.readouterr().err
    assert main(words) == 2
    assert "no Ray cluster at 127.0.0.1:9" in capsys.readouterr().err


def test_an_application_for_rays_own_commands(micro_adapter):
    made = on_ray.build({"adapters": f"{micro_adapter},{micro_adapter}", "replicas": "3"})
    assert made._bound_deployment.num_replicas == 3
    with pytest.raises(UnknownNameError, match="did you mean 'replicas'"):
        on_ray.build({"adapters": str(micro_adapter), "replica": "3"})
