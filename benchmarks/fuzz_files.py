"""Damaged and harmful files, read as ``pointadapt predict`` and training read them.

    python benchmarks/fuzz_files.py [--cases 1200] [--seed 0] [--json FILE]

Small whole files of every format are damaged in seeded ways, and some are made to harm: they
promise terabytes, nest deeply, go in circles. A process of its own predicts each with a small
model, labels it as a scene, and reads it as a labelled scene. A file is well treated if it is read,
or refused in one line that names it. Everything else is a fault: another exception, a line on
standard error, a dead process, more than 10 seconds, more than 1 GiB of memory, a file left over,
or a confidence that is no number. Faulty files are kept in ``--keep``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from _damaged_files import WAYS, harmful, whole_files
from pointadapt.core.machine import describe_machine

SECONDS, GROWTH = 10.0, 2**30
FAULTS = ("traceback", "noise", "dead", "hang", "growth", "left over", "no number")
RESULTS = Path(__file__).parent / "results"
Road = Callable[[Path], None]


@dataclass
class Case:
    """A file: its name, what it is, and what became of it."""

    path: Path
    form: str
    way: str
    outcome: str = ""
    detail: str = ""
    seconds: float = 0.0
    growth: int = 0


def make_cases(folder: Path, number: int, seed: int, harm: bool = True) -> Iterator[Case]:
    """Write the files: every way with every form in turn, and those made to ``harm``."""
    whole, rng = whole_files(), np.random.default_rng(seed)
    for name, (ending, data) in whole.items():
        yield _written(folder / f"{name}-whole{ending}", data, ending, "whole")
    made = len(whole)
    if harm:
        yield from (special := list(_harmful(folder)))
        made += len(special)
    turns = [(form, way) for way in WAYS for form in whole]
    for k in range(max(0, number - made)):
        form, way = turns[k % len(turns)]
        ending, data = whole[form]
        damaged = WAYS[way](data, rng)
        for _ in range(int(rng.integers(0, 2))):
            damaged = WAYS[str(rng.choice(list(WAYS)))](damaged, rng) if damaged else damaged
        yield _written(folder / f"{k}-{form}-{way}{ending}", damaged or b"\n", ending, way)


def _harmful(folder: Path) -> Iterator[Case]:
    for k, (what, ending, data) in enumerate(harmful()):
        yield _written(folder / f"harmful-{k}{ending}", data, ending, what)
    os.mkfifo(folder / "pipe.ply")
    yield Case(folder / "pipe.ply", ".ply", "a pipe")
    (folder / "folder.las").mkdir()
    yield Case(folder / "folder.las", ".las", "a folder without files")


def _written(path: Path, data: bytes, ending: str, way: str) -> Case:
    path.write_bytes(data)
    return Case(path, ending, way)


# ---- the process that reads


def roads(out: Path) -> tuple[Road, ...]:
    """The ways that a file is read; a labelled copy of a scene lies in ``out`` meanwhile."""
    from pointadapt.core.errors import PointAdaptError
    from pointadapt.data.reading.labelled import SUFFIXES as LABELLED
    from pointadapt.data.reading.labelled import read_labelled
    from pointadapt.inference.classify_files import answer_files
    from pointadapt.scenes import SUFFIXES, Tiling, label_scene

    model = _small_model()

    def halves(points: np.ndarray, features: object) -> np.ndarray:
        return np.full((*points.shape[:2], 2), 0.5, np.float32)

    def classify(path: Path) -> None:
        (row,) = answer_files(path, model, points=64)
        if row.error is not None:
            raise PointAdaptError(row.error)
        if not np.isfinite(row.confidence):
            raise ArithmeticError("no number")

    def scene(path: Path) -> None:
        if path.suffix in SUFFIXES:
            copy = out / f"copy{path.suffix}"
            label_scene(path, copy, halves, ("a", "b"), Tiling(1.0, 0.5, 64))
            copy.unlink()

    def labels(path: Path) -> None:
        if path.suffix in LABELLED:
            read_labelled(path)

    return classify, scene, labels


def serve(out: Path) -> None:
    """Read the path on each line of standard input; answer each with a line of JSON."""
    from pointadapt.core.notes import notes_shown

    ways = roads(out)
    print("ready", flush=True)
    with notes_shown(lambda text: None):
        for line in sys.stdin:
            path = Path(line.rstrip("\n"))
            print(json.dumps([tried(road, path) for road in ways]), flush=True)


def tried(road: Road, path: Path) -> tuple[str, str]:
    """What becomes of a file on one road, and what is said."""
    from pointadapt.core.errors import PointAdaptError

    try:
        road(path)
    except PointAdaptError as error:
        text = str(error)
        good = text.startswith(str(path)) and "\n" not in text and len(text) < len(str(path)) + 400
        return ("refused" if good else "traceback"), text[:2000]
    except ArithmeticError as error:
        return ("no number" if "no number" in str(error) else "traceback"), repr(error)
    except BaseException as error:
        return "traceback", repr(error)
    return "read", ""


def _small_model() -> Any:
    import torch

    from pointadapt.adapters.model import Adapter, PointModel
    from pointadapt.backbones.point_vit import PointViT, PointViTConfig
    from pointadapt.methods import make_method
    from pointadapt.tasks import make_task

    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = PointViT(PointViTConfig(dim=24, depth=1, heads=2, groups=8, group_size=8,
                                  encoder_widths=(8, 16, 16), sampling_rule="plain"))  # fmt: skip
    task = make_task("classification", {})
    return PointModel(net, Adapter(net, make_method("linear_probe", {}), task, ("a", "b"), ()))


# ---- the process that watches


@dataclass
class Reader:
    """The reading process, started again when it had to be ended."""

    command: Sequence[str]
    errors: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.errors = []
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit("the reading process does not start: " + "".join(self.errors))

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.errors.append(line)

    def read(self, case: Case) -> None:
        """Have the case read; its outcome is the worst of what the three roads say."""
        if self.process is None:
            self.start()
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        watched = psutil.Process(process.pid)
        before, began = watched.memory_info().rss, time.monotonic()
        answers: list[str] = []
        waiter = threading.Thread(target=lambda: answers.append(process.stdout.readline()))
        process.stdin.write(f"{case.path}\n")
        process.stdin.flush()
        waiter.start()
        while waiter.is_alive() and not case.outcome:
            waiter.join(0.01)
            case.growth = max(case.growth, _memory(watched) - before)
            if case.growth > GROWTH:
                case.outcome = "growth"
            elif time.monotonic() - began > SECONDS:
                case.outcome = "hang"
        case.seconds = time.monotonic() - began
        self._judge(case, process, answers)

    def _judge(self, case: Case, process: subprocess.Popen[str], answers: list[str]) -> None:
        if not case.outcome and not (answers and answers[0].startswith("[")):
            case.outcome = "dead"
        if case.outcome:  # it hangs, grows, or is gone
            process.kill()
            process.wait()
            case.detail, self.process = "".join(self.errors)[-2000:], None
            return
        found = json.loads(answers[0])
        kinds = [kind for kind, _ in found]
        fault = next((k for k in range(len(found)) if kinds[k] in FAULTS), None)
        case.outcome, case.detail = found[0] if fault is None else found[fault]
        if fault is None and self.errors:
            case.outcome, case.detail, self.errors = "noise", "".join(self.errors)[-2000:], []

    def stop(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def run(cases: int, seed: int, keep: Path | None = None) -> tuple[list[Case], dict[str, Any]]:
    """Make and read the files; the cases, and the record."""
    with tempfile.TemporaryDirectory() as work:
        files, out = Path(work, "files"), Path(work, "out")
        files.mkdir(), out.mkdir()
        made = list(make_cases(files, cases, seed))
        reader = Reader([sys.executable, __file__, "--serve", str(out)])
        before = sorted(os.listdir(files))
        for case in made:
            reader.read(case)
            if case.outcome not in FAULTS and list(out.iterdir()):
                case.outcome, case.detail = "left over", str(os.listdir(out))
            for left in out.iterdir():
                left.unlink()
            if case.outcome in FAULTS and keep is not None and case.path.is_file():
                keep.mkdir(parents=True, exist_ok=True)
                (keep / case.path.name).write_bytes(case.path.read_bytes())
        reader.stop()
        left = sorted(set(os.listdir(files)) - set(before))
    return made, record(made, seed, left)


def record(cases: list[Case], seed: int, left: list[str]) -> dict[str, Any]:
    counts = Counter(case.outcome for case in cases)
    return {
        "cases": len(cases), "seed": seed, "limit_seconds": SECONDS, "limit_bytes": GROWTH,
        "read": counts["read"], "refused": counts["refused"],
        **{fault: counts[fault] for fault in FAULTS},
        "files_left_beside_the_input": left,
        "slowest_seconds": round(max(case.seconds for case in cases), 2),
        "largest_growth_bytes": max(case.growth for case in cases),
        "by_ending": _by(cases, "form"), "by_way": _by(cases, "way"),
        "machine": describe_machine(),
    }  # fmt: skip


def _by(cases: list[Case], name: str) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for case in cases:
        row = table.setdefault(getattr(case, name), {"read": 0, "refused": 0, "faults": 0})
        row[case.outcome if case.outcome in row else "faults"] += 1
    return dict(sorted(table.items()))


def show(found: dict[str, Any], cases: list[Case], to: Console) -> None:
    table = Table("ending", "files", "read", "refused in one line", "faults")
    for ending, row in found["by_ending"].items():
        table.add_row(ending, *(f"{n:,}" for n in (sum(row.values()), *row.values())))
    to.print(table)
    faults = ", ".join(f"{name} {found[name]}" for name in FAULTS)
    to.print(
        f"{found['cases']:,} files: {found['read']:,} read, {found['refused']:,} refused; {faults};"
        f" slowest {found['slowest_seconds']} s, largest growth "
        f"{found['largest_growth_bytes'] / 2**20:,.0f} MiB",
        soft_wrap=True,
    )
    for case in cases:
        if case.outcome in FAULTS:
            to.print(
                f"{case.outcome}: {case.path.name} ({case.way}): {case.detail}", soft_wrap=True
            )


def main() -> int:
    own = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own.add_argument("--cases", type=int, default=1200)
    own.add_argument("--seed", type=int, default=0)
    own.add_argument("--json", default=str(RESULTS / "fuzz_files.json"), help='file, or "no"')
    own.add_argument("--keep", type=Path, default=None, help="folder for faulty files")
    own.add_argument("--serve", type=Path, default=None, help=argparse.SUPPRESS)
    args = own.parse_args()
    if args.serve is not None:
        serve(args.serve)
        return 0
    cases, found = run(args.cases, args.seed, args.keep)
    show(found, cases, Console(highlight=False, markup=False))
    if args.json != "no":
        Path(args.json).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return int(any(found[fault] for fault in FAULTS) or bool(found["files_left_beside_the_input"]))


if __name__ == "__main__":
    sys.exit(main())
