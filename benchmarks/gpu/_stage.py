"""What the stages on a GPU share: where they write, and how they call."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
sys.path.append(str(REPO / "benchmarks"))  # what all benchmarks share
OUT = Path(os.environ.get("OUT") or "gpu-out")
TOY = "--rehearse" in sys.argv
HOME = Path(
    os.environ.get("GPU_HOME") or (tempfile.mkdtemp() if TOY else Path.home() / "pointadapt-gpu")
)
Args = argparse.Namespace


def write(name: str, content: dict[str, Any]) -> None:
    """A stage's figures, with the machine and the command they come from."""
    from _measure import commit
    from pointadapt.core.machine import describe_machine

    OUT.mkdir(parents=True, exist_ok=True)
    head = {"command": " ".join(["python3", *sys.argv]), "commit": commit()}
    text = json.dumps({**head, "machine": describe_machine(), **content}, indent=1)
    (OUT / name).write_text(text + "\n")
    print(f"{OUT / name}: {len(text)} bytes", flush=True)


def call(command: list[str], seconds: float, log: Path, **env: str) -> dict[str, Any]:
    """Run ``command`` for at most ``seconds``; its output goes to ``log`` and its end is shown."""
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(log, "wb") as to:
        process = subprocess.Popen(
            command, stdout=to, stderr=subprocess.STDOUT, env=os.environ | env, cwd=REPO
        )
        try:
            rc = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(2)
            try:
                rc = process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                rc = process.wait()
    lines = log.read_text(errors="replace").splitlines()
    print("\n".join(lines[-15:]), flush=True)
    return {"rc": rc, "seconds": round(time.monotonic() - began, 1), "tail": lines[-3:]}


def data_root(args: Args) -> tuple[Path, str]:
    """Where ModelNet40 lies, and the flags that say how the runs see it."""
    if not args.rehearse:
        return HOME / "data/modelnet40", "--precision bf16 --available 0"
    import runpy

    root = Path(tempfile.mkdtemp())
    look_alike = runpy.run_path(str(REPO / "tests/data/modelnet40/make.py"))
    small = "--points 64 --available 0 --groups 8 --group-size 8 --batch-size 2 --epochs 2"
    small += " --warmup-epochs 1"
    return look_alike["write_npz"](root), small
