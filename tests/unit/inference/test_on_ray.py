"""Predicting on a real Ray cluster: the rows of the local call, in order, whoever dies."""

import os
import pickle
import signal
from pathlib import Path

import pytest

import pointadapt
from pointadapt.core.errors import ConfigError, PointAdaptError
from pointadapt.inference import on_ray
from pointadapt.inference.classify_files import BATCH
from pointadapt.inference.label_parts import PointFiles


@pytest.mark.slow
def test_rows_are_those_of_the_local_call_though_a_worker_is_killed(
    ray_cluster, own_files, micro_adapter, tmp_path, monkeypatch
):
    """Bad files among them, and more than one batch."""

    class Dying(on_ray._Worker):
        """The first worker that gets the second batch is killed in the middle of it."""

        def __call__(self, batch):
            mark = Path(self.caller.settings["POINTADAPT_CACHE"]).parent / "killed"
            if batch[on_ray.NUMBER][0] == 1 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch)

    monkeypatch.setattr(on_ray, "_Worker", Dying)
    bad = own_files / "flat" / "bad.ply"
    bad.write_bytes(b"no")
    paths = [tmp_path / "none.ply", *[own_files] * (BATCH // 8 + 1)]
    done = []
    rows = pointadapt.predict(
        paths, micro_adapter, cluster=ray_cluster, on_progress=lambda *a: done.append(a)
    )
    assert (tmp_path / "killed").exists()
    here = pointadapt.predict(paths, micro_adapter)
    assert len(rows) > BATCH and [row.error is None for row in rows].count(False) > 1
    assert rows == here
    assert done[-1] == ("predicting", len(rows), len(rows))


def test_copies_that_would_overwrite_one_another_are_refused(tmp_path):
    predictor = PointFiles(out=tmp_path / "out")
    files = [tmp_path / "a" / "1.ply", tmp_path / "b" / "1.ply"]
    with pytest.raises(ConfigError, match=r"2 files are called 1, .* leave out --cluster"):
        on_ray.predict_on("nowhere:1", predictor, files, tmp_path)
    single = PointFiles(out=tmp_path / "out.ply")
    with pytest.raises(ConfigError, match=r"out\.ply must be a folder for 2 files"):
        on_ray.predict_on("nowhere:1", single, [files[0], tmp_path / "2.ply"], tmp_path)


def test_what_a_worker_finds_wrong_is_said_as_here(own_files, tmp_path):
    worker = on_ray._Worker(PointFiles(), tmp_path, None, 1, on_ray.Caller())
    said = pickle.loads(worker({on_ray.NUMBER: [0], on_ray.PATHS: [["a.ply"]]})[on_ray.ROWS][0])
    assert type(said) is PointAdaptError and str(tmp_path) in str(said)
