"""Kill runs at random moments, let them go on, and compare what they give with uninterrupted ones.

    python benchmarks/kills.py [--kills 72] [--seed 0] [--only NAME ...]

Training with and without the cache of points, pre-training, few-shot, comparison, cross-validation,
the labelling of a scene, and a download (from a slow server on loopback), at a toy size on one
thread. Each is run to its end once. Then, so many times in turn, it is started in a new folder and
killed (SIGKILL, of the command's own process alone) once it has used a random share of the
processor time that it needs, every other time at the next moment at which a file is half written;
now and then it is killed a second time on the way. What saves when it is told to stop (SIGTERM) is
stopped that way every fourth time. Then the command is given again, with ``--resume``
where there is a checkpoint, and runs to its end.

A kill is "held" if every file is there with the same content (adapters' tensors bit for bit, the
numbers of results), nothing else is left (half-written files, locks), no process outlives the
command's by more than 20 s, there is no traceback, and what was stopped with work left says so in
its last line: see :func:`_situations.outcome`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count as count_from
from pathlib import Path
from typing import Any

import psutil

from _measure import TOY, parser, report, start
from _situations import Situation, differences, outcome, published, situations

LONGEST = 900.0  # seconds of a run, on a busy machine
OUTLIVE = 20.0  # seconds that workers may need to notice that they are alone


class Run:
    """A command under way, with all processes that belong to it."""

    def __init__(self, situation: Situation, out: Path, again: bool = False) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.command, self.out = situation.command(out, again), out
        own = {"OMP_NUM_THREADS": "1", "POINTADAPT_CACHE": str(out.parent / "cache")}
        env = {**os.environ, **own, **situation.env(out)}
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.child = subprocess.Popen(
            self.command, env=env, stdout=subprocess.DEVNULL, stderr=self.said
        )
        self.family: dict[int, psutil.Process] = {}
        self.used: dict[int, float] = {}  # processor time of each, as far as it was seen
        self.began = time.monotonic()

    def look(self) -> float:
        """Processor time of all processes so far; of a download, whose server is slow, all time."""
        with suppress(psutil.Error):
            own = psutil.Process(self.child.pid)
            for process in (own, *own.children(recursive=True)):
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    self.family[process.pid] = process
                    self.used[process.pid] = times.user + times.system
        return sum(self.used.values())

    def finish(self) -> int:
        while self.child.poll() is None:
            self.look()
            if time.monotonic() - self.began > LONGEST:
                self.child.kill()
            time.sleep(0.3)
        return self.child.returncode

    def end_at(self, share: float, needed: float, number: int, writing: bool) -> bool:
        """Signal the command once it has used ``share`` of ``needed``; whether it was not over."""
        while self.child.poll() is None and self.look() < share * needed:
            time.sleep(0.1)
        until = time.monotonic() + 2.0
        while writing and time.monotonic() < until and self.child.poll() is None:
            if any(self.out.rglob("*.part")):
                break
            time.sleep(0.002)
        self.look()
        self.child.send_signal(number)
        return self.child.wait(LONGEST) in (-number, 128 + number)

    def outliving(self) -> float:
        """Seconds until no process of the command is left; more than ``OUTLIVE`` if some stay."""
        began = time.monotonic()
        while any(alive(process) for process in self.family.values()):
            if time.monotonic() - began > OUTLIVE:
                break
            time.sleep(0.02)
        return time.monotonic() - began

    def message(self) -> str:
        self.said.seek(0)
        text = self.said.read()
        self.said.close()
        return text


def alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def whole(situation: Situation, out: Path) -> tuple[dict[str, Any], float]:
    """What an uninterrupted run leaves, and the processor time that it needs."""
    note = out.with_suffix(".json")
    if not note.exists():
        shutil.rmtree(out, ignore_errors=True)
        run = Run(situation, out)
        if run.finish():
            raise SystemExit(f"{situation.name} does not run at all:\n{run.message()[-3000:]}")
        waits = situation.name == "fetch"
        needed = time.monotonic() - run.began if waits else sum(run.used.values())
        note.write_text(json.dumps(needed))
    return outcome(out), json.loads(note.read_text())


def one(
    situation: Situation, out: Path, want: dict[str, Any], needed: float, luck: random.Random,
    number: int, count: int,
) -> dict[str, Any]:  # fmt: skip
    """Kill a run once or twice, let it go on to its end, and say what became of it."""
    row: dict[str, Any] = {"situation": situation.name, "signal": signal.Signals(number).name}
    shares, wrong, outlived, hit = [], [], 0.0, 0
    for k in range(count):
        shares.append(round(luck.uniform(0.02, 1.0), 3))
        run = Run(situation, out, again=k > 0)
        if situation.name == "fetch":  # it waits for its server
            run.look = lambda run=run: time.monotonic() - run.began  # type: ignore[method-assign]
        ended = run.end_at(shares[-1], needed, number, writing=luck.random() < 0.5)
        hit += ended
        text = run.message()
        stopped = ended and number == signal.SIGTERM and not says_so(text)
        if stopped and differences(want, outcome(out)):
            wrong.append(f"said: {text[-500:]}")
        if "Traceback" in text:
            wrong.append(f"traceback: {text[-500:]}")
        if luck.random() < 0.5:  # otherwise the next one starts while workers may still be there
            outlived = max(outlived, run.outliving())
    last = Run(situation, out, again=True)
    if status := last.finish():
        wrong.append(f"status {status} when it went on: {last.message()[-500:]}")
    else:
        wrong += differences(want, outcome(out))
    outlived = max(outlived, run.outliving(), last.outliving())
    if outlived > OUTLIVE:
        wrong.append(f"processes that live on after {OUTLIVE:.0f} s")
    return {**row, "moments": shares, "hit": hit, "outlived_s": round(outlived, 2), "wrong": wrong}


def says_so(text: str) -> bool:
    """Whether the last line says that the run was stopped; notes may stand before it."""
    return (text.strip().splitlines() or [""])[-1].startswith("pointadapt: error: stopped")


def campaign(args: argparse.Namespace, place: Path) -> list[dict[str, Any]]:
    """Every kill, those of an earlier campaign in ``place`` that was cut off included.

    The moments of a kill depend on the seed and its number alone.
    """
    with published(place) as server:
        chosen = [s for s in situations(place, server) if not args.only or s.name in args.only]
        found = {s.name: whole(s, place / s.name.replace(" ", "_") / "whole") for s in chosen}
        log = place / "kills.jsonl"
        kills = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        for turn, (lap, situation) in enumerate(turns(chosen)):
            if sum(kill["hit"] for kill in kills) >= args.kills:
                break
            if turn < len(kills):
                continue
            luck = random.Random(f"{args.seed} {turn}")
            number, count = signal.SIGKILL, 2 if luck.random() < 1 / 6 else 1
            if situation.saves and lap % 4 == 3:
                number, count = signal.SIGTERM, 1
            out = place / situation.name.replace(" ", "_") / str(turn)
            shutil.rmtree(out, ignore_errors=True)
            kills.append(one(situation, out, *found[situation.name], luck, number, count))
            with log.open("a") as lines:
                lines.write(json.dumps(kills[-1]) + "\n")
            print(turn, kills[-1], flush=True)
            if not kills[-1]["wrong"]:
                shutil.rmtree(out)
    return kills


def turns(chosen: list[Situation]) -> Iterator[tuple[int, Situation]]:
    """(how often it has been before, situation), without end."""
    been = Counter[str]()
    for lap in count_from(0):
        for situation in chosen:
            if not situation.long or lap % 3 == 0 or len(chosen) == 1:
                yield been[situation.name], situation
                been[situation.name] += 1


def rows_of(kills: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for key in dict.fromkeys((kill["situation"], kill["signal"]) for kill in kills):
        of = [kill for kill in kills if (kill["situation"], kill["signal"]) == key]
        rows.append({
            "situation": key[0], "signal": key[1], "runs": len(of),
            "killed": sum(kill["hit"] for kill in of),
            "held": sum(not kill["wrong"] for kill in of),
            "longest_outliving_s": max(kill["outlived_s"] for kill in of),
        })  # fmt: skip
    return rows


def main() -> int:
    own = parser(__doc__, seconds=0)
    own.add_argument("--kills", type=int, default=1 if TOY else 72, help="signals that hit a run")
    own.add_argument("--seed", type=int, default=0, help="of the moments")
    own.add_argument("--only", nargs="*", default=["train"] if TOY else [])
    own.add_argument("--keep", default="", help="work in this folder, and go on there if cut off")
    args = own.parse_args()
    args.threads = 1
    start(args)
    place = Path(args.keep or tempfile.mkdtemp(prefix="kills-")).resolve()
    place.mkdir(parents=True, exist_ok=True)
    kills = campaign(args, place)
    failed = [kill for kill in kills if kill["wrong"]]
    args.json = args.json or str(Path(__file__).parent / "results/kills.json")
    report("kills", "killed and gone on", rows_of(kills), args, {"kills": kills})
    for kill in failed:
        print("NOT HELD", kill)
    if not args.keep:
        shutil.rmtree(place, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
