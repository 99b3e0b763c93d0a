"""Stages that test and time: `tests`, `speed`, `compiled`, `conv`, `together`."""

from __future__ import annotations

import os
import sys
import tarfile
import time

from _stage import HOME, OUT, Args, call, write


def tests(args: Args) -> None:
    """The GPU's own tests, then, in what is left of the time, the whole suite there."""
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rf", "--tb=short"]
    own = ["benchmarks/gpu/test_gpu.py", "tests/unit/ops", "tests/golden"]
    if args.rehearse:
        own, env = own[:1], {"POINTADAPT_REHEARSE": "1", "POINTADAPT_SKIP_INDUCTOR": "1"}
    else:
        env = {}
    began = time.monotonic()
    left = 60 * args.minutes
    first = call([*pytest, *own, "--durations=8"], left, OUT / "tests.log", **env)
    found = {"own": first}
    left -= time.monotonic() - began
    if left > 120 and not args.rehearse:
        found["suite"] = call([*pytest, "tests", "-n", "12"], left, OUT / "suite.log")
    write("tests.json", found)


def speed(args: Args) -> None:
    import torch
    from speed import measure

    batches = [4] if args.rehearse else [32, 512]
    seconds = 0.1 if args.rehearse else 2.5 * args.minutes  # that steps take turns, a batch size
    for figures in measure(args.rehearse, batches, args.compile, seconds):
        write("speed.json", figures | {"triton": has_triton(), "torch": torch.__version__})
    for row in figures["geometry"] + figures["steps"]:
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})


def compiled(args: Args) -> None:
    """Compiled and captured steps beside today's, with what the compiler wrote."""
    import torch
    from compiled import measure, show

    logs = HOME / "logs" / "compiled"
    rows = measure(logs, args.rehearse, 600 if args.rehearse else 60 * args.minutes)
    with tarfile.open(OUT / "compiled.tgz", "w:gz") as archive:
        archive.add(logs, "compiled")
    write("compiled.json", {"rows": rows, "triton": has_triton(), "torch": torch.__version__})
    show(rows)


def conv(args: Args) -> None:
    """The forms of the submanifold convolution, and whether they agree."""
    from conv import measure

    rows = measure(args.rehearse, os.environ)
    write("conv.json", {"triton": has_triton(), "rows": rows})
    for row in rows:
        print(row)


def together(args: Args) -> None:
    """Several runs in one step, beside one alone."""
    import torch
    from together import measure

    write("together.json", measure(args.rehearse) | {"torch": torch.__version__})


def has_triton() -> str:
    try:
        import triton  # type: ignore[import-not-found]
    except ImportError:
        return ""
    return str(triton.__version__)
