"""Every benchmark runs, at a size that shows nothing but that it does."""

import json
import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
LOOK_ALIKE = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/data/modelnet40/make.py")))
SCENES = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/data/folder_segmentation/make.py")))
TOY_DATA = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/data/toy/make.py")))

# What each is run with; {out} is its JSON file, {root} a tiny ModelNet40, {toy} a folder of clouds
# with two splits, {runs} an empty folder, {adapter} one fitted to such clouds.
TOY = {
    "data.py": "--workers 1 --points 32 --batch-size 4 --json {out}",
    "export_weights.py": "{adapter} --json {out}",
    "fuzz_configs.py": "--json {out}",
    "instant.py": "--sets toy={toy} --points 64 --seeds 0 --shots 2 --json {out}",
    "inference.py": "--batches 2 --precisions fp32 --files 3 --json {out}",
    "kills.py": "--json {out}",
    "many_adapters.py": "--methods dapt full --loaded 2 4 --json {out}",
    "memory.py": "--batches 2 --precisions fp32 --json {out}",
    "modern.py": "--sizes concerto_tiny --train --json {out}",
    "modelnet40.py": "--root {root} --runs {runs} --threads 1 --only linear-probe-laptop --json "
    "{out} --more '--epochs 1 --points 64 --groups 8 --group-size 8 --batch-size 2'",
    "ops.py": "--json {out}",
    "points.py": "--sets toy={toy} --ways 2 --json {out}",
    "pretraining.py": "--root {root} --sets toy={toy} --variants 'contrast, sensor views' "
    "--fit 8 --held 4 --points 64 --groups 8 --group-size 8 --draws 2 --runs {runs} --json {out}",
    "promise.py": "--sets toy={toy},shots=2,{tiny} "
    "few={root},data=modelnet40,way=3,shot=2,queries=1,pool=all,{tiny} --seeds 0 1 --lrs 1e-2 "
    "--methods stem-adapter instant --tune-epochs 1 --runs {runs} --json {out}",
    "scaling.py": "--parts cost --json {out}",
    "scenes.py": "--sets toy={scenes},block=12,blocks=4,least=16,test_blocks=2 --runs {runs} "
    "--more epochs=1 points=64 groups=8 group_size=8 batch_size=2 --json {out}",
    "serving.py": "--json {out}",
    "soak.py": "--json {out}",
    "start_up.py": "--json {out}",
    "train_step.py": "--batch 2 --check 1 --json {out}",
}
# What takes longest, for "make test-all".
SLOW = {*TOY} - {"ops.py"}
ELSEWHERE = {
    "fuzz_files.py": "tests/unit/io/test_fuzz.py",
    "hostile_uploads.py": "tests/unit/serving/test_hostile_uploads.py",
    "scene.py": "tests/unit/inference/test_label_scenes.py",
}


def scripts(folder):
    return sorted(p.name for p in folder.glob("*.py") if not p.name.startswith("_"))


def test_none_is_forgotten():
    assert sorted([*TOY, *ELSEWHERE]) == scripts(BENCHMARKS)
    for name, test in ELSEWHERE.items():
        assert name in (ROOT / test).read_text(encoding="utf-8")


def start(script, line, tmp_path):
    places = {
        "tiny": "points=64,groups=8,group_size=8,epochs=1",
        "out": tmp_path / "out.json",
        "runs": tmp_path / "runs",
        "root": "",
    }
    if "{root}" in line:
        places["root"] = LOOK_ALIKE.write_npz(tmp_path / "data")
    if "{toy}" in line:
        places["toy"] = TOY_DATA.make(tmp_path / "toy", train=3, test=1)
    if "{adapter}" in line:
        places["adapter"] = fitted(tmp_path)
    if "{scenes}" in line:
        SCENES.make(tmp_path / "scenes")
        places["scenes"] = tmp_path / "scenes"
    command = [sys.executable, str(script), *shlex.split(line.format(**places))]
    env = {**os.environ, "BENCHMARK_TOY": "1", "OUT": str(tmp_path), "GPU_HOME": str(tmp_path)}
    done = subprocess.run(
        command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return places["out"]


def fitted(tmp_path):
    """The folder of an ``instant`` adapter."""
    import pointadapt

    root = TOY_DATA.make(tmp_path / "own", train=3, test=1)
    return pointadapt.train(
        method="instant", data="folder", root=root, points=64, tensorboard=False, baseline=False,
        out=tmp_path / "instant",
    )["adapter"]  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in sorted(TOY)]
)
def test_it_runs(name, tmp_path):
    if name == "fuzz_configs.py" and os.name == "nt":
        pytest.skip("its cases are forked")
    out = start(BENCHMARKS / name, TOY[name], tmp_path)
    found = json.loads(out.read_text())
    assert found if name == "modelnet40.py" else found["results"]


@pytest.mark.slow
def test_points_with_few_labels(tmp_path):
    line = "--sets toy={toy} --shots 1 --draws 2 --json {out}"
    rows = json.loads(start(BENCHMARKS / "points.py", line, tmp_path).read_text())["results"]
    assert [row["inputs"] for row in rows] == ["tokens", "tokens and traits"]
    assert all(len(row[key]) == 2 for row in rows for key in ("tiny", "random"))


# ---- on a GPU: the same code on the CPU

GPU = {"speed": "speed.json", "rates": "rates.json", "pretrain": "pretrain.json",
       "modelnet40": "modelnet40.json",
       "variants": "variants.json", "conv": "conv.json", "scenes": "scenes.json",
       "promise": "promise.json", "together": "together.json"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("stage", list(GPU))
def test_a_gpu_stage_runs(stage, tmp_path):
    only = " --only linear-probe --jobs 1 --backbone tiny" if stage == "modelnet40" else ""
    start(BENCHMARKS / "gpu/run.py", f"{stage} --rehearse --minutes 3{only}", tmp_path)
    assert json.loads((tmp_path / GPU[stage]).read_text())


@pytest.mark.slow
def test_the_roofline_is_no_lower_where_more_is_merged(tmp_path):
    out = start(BENCHMARKS / "gpu/roofline.py", "--batches 2 --json {out}", tmp_path)
    rows = json.loads(out.read_text())["results"]
    assert [row["variant"] for row in rows] == [
        "full", "DAPT, keep all", "DAPT, lean", "pre-training",
    ]  # fmt: skip
    for row in rows:
        assert 0 < row["products_ms"] < row["merged_ms"] < row["as_written_ms"]


def test_the_look_at_machine_code_is_importable(tmp_path):
    pytest.importorskip("triton", reason="Triton is not installed, as on machines without a GPU")
    runpy.run_path(str(BENCHMARKS / "gpu/machine_code.py"), run_name="looked_at")
