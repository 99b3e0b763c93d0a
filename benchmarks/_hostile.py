"""What the fuzzers share: a case in a process of its own, with limits, and what came of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pointadapt.core.errors import LONGEST, explain

SECONDS = 10.0  # of a processor, after which a case counts as hanging
WALL = 90.0  # seconds after which it is ended
GROWTH = 1 << 30  # bytes beyond the input's own size


@dataclass
class Outcome:
    """What a case did.

    Attributes:
        kind: "accepted", "refused", "traceback" or "hang".
        text: the message, or the last lines of the traceback.
        seconds: of a processor.
        growth: bytes of memory above the start.
        left: names of files and folders that a refusal left.
    """

    kind: str
    text: str = ""
    seconds: float = 0.0
    growth: int = 0
    left: tuple[str, ...] = ()

    def faults(self, size: int) -> list[str]:
        """What is wrong with it, for an input of ``size`` bytes."""
        wrong = [self.kind] if self.kind in ("traceback", "hang") else []
        if self.kind != "hang" and self.seconds > SECONDS:
            wrong.append("hang")
        if self.growth > GROWTH + size:
            wrong.append("growth")
        if self.kind == "refused" and self.left:
            wrong.append("files left")
        if self.kind == "refused" and ("\n" in self.text or len(self.text) > LONGEST + 10):
            wrong.append("long message")
        return wrong


def run(action: Callable[[], object], folder: Path) -> Outcome:
    """``action`` in a child process that stands in ``folder``; tells which files it leaves."""
    before = names(folder)
    parent, child = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(parent)
        _work(action, folder, child)
    os.close(child)
    outcome = _wait(pid, parent)
    outcome.left = tuple(sorted(names(folder) - before))
    return outcome


def names(folder: Path) -> set[str]:
    """Of all that is in ``folder``."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def size_of(folder: Path) -> int:
    """Bytes of all files in ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _work(action: Callable[[], object], folder: Path, out: int) -> None:
    """The child: never comes back."""
    os.chdir(folder)
    start = _reset_peak()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        kind, text = _answer(action)
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {"kind": kind, "text": text, "seconds": used.ru_utime + used.ru_stime,
            "growth": max(0, _peak() - start)}  # fmt: skip
    os.write(out, json.dumps(told).encode())
    os._exit(0)


def _answer(action: Callable[[], object]) -> tuple[str, str]:
    try:
        action()
    except Exception as error:
        message = explain(error)
        if message is not None:
            return "refused", message[: 5 * LONGEST]
        return "traceback", "".join(traceback.format_exception(error))[-1500:]
    except BaseException as error:
        return "traceback", repr(error)[:1500]
    return "accepted", ""


def _wait(pid: int, pipe: int) -> Outcome:
    end = time.monotonic() + WALL
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(pipe)
            return Outcome("hang", f"ended after {WALL:.0f} s", WALL)
        time.sleep(0.005)
    with os.fdopen(pipe, "rb") as file:
        told = file.read()
    return Outcome(**json.loads(told)) if told else Outcome("traceback", "the process died")


def _reset_peak() -> int:
    """Start the peak anew; returns the memory held now, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each kind of input how many cases ended how."""
    table = []
    for kind in sorted({row["kind"] for row in rows}):
        own = [row for row in rows if row["kind"] == kind]
        faults = ("traceback", "hang", "growth", "files left", "long message")
        table.append(
            {"input": kind, "cases": len(own)}
            | {end: sum(r["outcome"] == end for r in own) for end in ("accepted", "refused")}
            | {fault: sum(fault in row["faults"] for row in own) for fault in faults}
            | {"slowest_s": max(row["seconds"] for row in own),
               "largest_growth_mb": max(row["growth"] for row in own) / 1e6}
        )  # fmt: skip
    return table


def row(kind: str, what: str, outcome: Outcome, size: int) -> dict[str, Any]:
    """A case for the record."""
    told = asdict(outcome)
    return {"kind": kind, "case": what, "outcome": told.pop("kind"), **told,
            "faults": outcome.faults(size)}  # fmt: skip
