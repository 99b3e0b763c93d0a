"""Many requests while the workers of a server are killed: nothing may be lost.

    python benchmarks/soak.py [--requests 20000] [--workers 2] [--kill-every 15]

``pointadapt serve --workers N`` answers small clouds for several adapters over loopback, with a
backbone of two narrow blocks, since loss is measured here and not speed. Clients keep their
connections. Now and then a worker is killed (SIGKILL), at a random moment. A client whose
connection breaks sends its file again, as curl --retry and load balancers do: asking twice changes
nothing. Held means:

- every request is answered in the end, with status 200, and with the answer of a single process:
  the same label, and probabilities within 1e-5 (clouds share batches with others, whose products
  round otherwise);
- each killed worker is replaced, and the counts of all are still told;
- at the end SIGTERM stops all with status 0, nothing is on standard error, no process, no file is
  left, and nobody listens on the port.
"""

from __future__ import annotations

import random
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from _measure import TOY, parser, report, start
from _server import Client, Server, cloud_files, serving, write_adapters

POINTS = 64 if TOY else 128
ADAPTERS, FILES, CLIENTS = (2, 3, 2) if TOY else (4, 16, 16)
NEAR = 1e-5

Told = dict[tuple[int, int], dict[str, Any]]


def expected(work: Path, files: list[bytes]) -> Told:
    """What a single process says of each file by each adapter."""
    with (
        serving(work, work / "adapters", "--threads", "1") as server,
        Client(server.address) as one,
    ):
        return {
            (a, f): one.send(str(a), f"{f}.npy", body)[1]
            for a in range(ADAPTERS)
            for f, body in enumerate(files)
        }


def same(got: dict[str, Any], want: dict[str, Any]) -> bool:
    pairs = zip(got.get("top", ()), want["top"], strict=True)
    return got.get("label") == want["label"] and all(
        a == b and abs(p - q) < NEAR for (a, p), (b, q) in pairs
    )


class Killer(threading.Thread):
    """Kills a worker now and then, once all of them are there."""

    def __init__(self, server: Server, workers: int, every: float, most: int) -> None:
        super().__init__(daemon=True)
        self.server, self.workers, self.every, self.most = server, workers, every, most
        self.over, self.killed, self.luck = threading.Event(), 0, random.Random(0)

    def run(self) -> None:
        while self.killed < self.most and not self.over.wait(
            self.every * self.luck.uniform(0.5, 1.5)
        ):
            there = self.server.workers()
            if len(there) == self.workers:
                self.luck.choice(there).kill()
                self.killed += 1


def soak(server: Server, files: list[bytes], want: Told, requests: int) -> dict[str, Any]:
    """Send them all; what came of it."""
    numbers, lock, outcome, took = count(), threading.Lock(), Counter[str](), []
    again: Counter[str] = Counter()

    def one_client(_: int) -> None:
        with Client(server.address) as client:
            while True:
                with lock:
                    k = next(numbers)
                if k >= requests:
                    again.update(client.again)
                    return
                a, f = k % ADAPTERS, (k // ADAPTERS) % FILES
                began = time.perf_counter()
                status, told = client.send(str(a), f"{f}.npy", files[f])
                took.append(time.perf_counter() - began)
                good = status == 200 and same(told, want[a, f])
                outcome["right" if good else f"status {status}: {str(told)[:200]}"] += 1

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one_client, range(CLIENTS)))
    seconds = time.perf_counter() - began
    marks = statistics.quantiles(took, n=100)
    return {
        "requests": requests, "right": outcome.pop("right", 0), "wrong": dict(outcome),
        "sent again": dict(again), "seconds": seconds, "clouds_per_s": requests / seconds,
        "p50_ms": 1e3 * marks[49], "p95_ms": 1e3 * marks[94], "p99_ms": 1e3 * marks[98],
        "longest_ms": 1e3 * max(took),
    }  # fmt: skip


def left(server: Server, family: list[psutil.Process]) -> list[str]:
    """What a stopped server left behind."""
    found = [f"process {p.pid}" for p in family if p.is_running()]
    found += [f"file {p.relative_to(server.temp)}" for p in server.temp.iterdir()]
    found += [f"said {server.errors.read_text()[-500:]!r}"] if server.errors.stat().st_size else []
    place = urlsplit(server.address)
    with socket.socket() as line:
        if line.connect_ex((place.hostname, place.port)) == 0:
            found.append("the port")
    return found


def run(args: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        work, files = Path(name), cloud_files(FILES, POINTS)
        write_adapters(work / "adapters", ADAPTERS, POINTS, micro=True)
        want = expected(work, files)
        flags = ("--workers", args.workers, "--wait", "5")
        with serving(work, work / "adapters", *flags) as server:
            killer = Killer(server, args.workers, args.kill_every, args.most_kills)
            killer.start()
            found = soak(server, files, want, args.requests)
            killer.over.set()
            killer.join()
            counts, family = server.metrics(), server.workers()
            status = server.stop()
            return {
                "workers": args.workers, "killed": killer.killed, **found,
                "answered_by_all": sum(
                    int(value) for key, value in counts.items()
                    if key.startswith("pointadapt_requests_total") and 'status="200"' in key
                ),
                "workers_started": int(counts["pointadapt_worker_starts_total"]),
                "exit_status": status, "left": left(server, family),
            }  # fmt: skip


def main() -> int:
    own = parser(__doc__, seconds=0)
    own.add_argument("--requests", type=int, default=150 if TOY else 20_000)
    own.add_argument("--workers", type=int, default=2)
    own.add_argument("--kill-every", type=float, default=0.2 if TOY else 15.0, help="seconds")
    own.add_argument("--most-kills", type=int, default=1 if TOY else 10_000)
    args = own.parse_args()
    start(args)
    row = run(args)
    report("soak", "Requests while workers are killed", [row], args)
    held = row["right"] == args.requests and not row["left"] and row["exit_status"] == 0
    return int(not held or not row["killed"])


if __name__ == "__main__":
    raise SystemExit(main())
