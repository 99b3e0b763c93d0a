"""The load that ``pointadapt serve`` holds: one backbone, 1 to 1,000 adapters.

    python benchmarks/serving.py [--adapters 1 10 100 1000] [--requests 300] [--clients 16]

One real server process for each number of adapters, and clients on loopback in this process, each
of which sends its next cloud when it has the answer. Sent are

- "one": all clouds to one adapter, which is in memory;
- "first": the next cloud always to an adapter that was not asked for yet, so that each is read;
- "mixed": to all adapters in turn, all of which are in memory;
- "mixed, most 100": the same with room for 100 adapters, so that of 1,000 each is read again.

``clouds_per_s`` and the times are what clients see; ``server_ms`` is the processor time of the
server for a cloud, which other work on the machine hardly changes. The shares are of the time of
all steps, as the server's own metrics tell it; ``batch`` is the mean of clouds predicted together.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil

from _measure import TOY, parser, report, start
from _server import Client, Server, cloud_files, serving, write_adapters

POINTS = 64 if TOY else 1024
STEPS = ("receive", "read", "sample", "group", "network", "load")
ROOM = 100
Names = Iterable[str]


def drive(server: Server, names: Names, files: list[bytes], clients: int) -> list[float]:
    """Send a cloud to each adapter of ``names`` by so many clients; seconds of each answer."""
    todo, lock, took = enumerate(names), threading.Lock(), []

    def one_client(_: int) -> None:
        with Client(server.address) as client:
            while True:
                with lock:
                    k, name = next(todo, (-1, ""))
                if k < 0:
                    return
                began = time.perf_counter()
                status, told = client.send(name, "a.npy", files[k % len(files)])
                took.append(time.perf_counter() - began)
                if status != 200:
                    raise SystemExit(f"status {status}: {told}")

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one_client, range(clients)))
    return took


def measured(server: Server, names: Names, files: list[bytes], clients: int) -> dict[str, Any]:
    """What clients see meanwhile, and what the server tells of its work."""
    process = psutil.Process(server.process.pid)
    counts, used, began = server.metrics(), process.cpu_times(), time.perf_counter()
    took = drive(server, names, files, clients)
    seconds, now, after = time.perf_counter() - began, process.cpu_times(), server.metrics()
    gain = {key: value - counts.get(key, 0.0) for key, value in after.items()}
    spent = {s: gain.get(f'pointadapt_work_seconds_sum{{step="{s}"}}', 0.0) for s in STEPS}
    marks = statistics.quantiles(took, n=100)
    worked = (now.user + now.system) - (used.user + used.system)
    return {
        "requests": len(took), "clouds_per_s": len(took) / seconds,
        **{f"p{q}_ms": 1e3 * marks[q - 1] for q in (50, 95, 99)},
        "server_ms": 1e3 * worked / len(took),
        "batch": gain["pointadapt_batch_clouds_sum"] / gain["pointadapt_batch_clouds_count"],
        **{f"{step}_%": 100 * value / sum(spent.values()) for step, value in spent.items()},
        "loaded": int(after["pointadapt_loaded_adapters"]),
        "memory_mb": process.memory_info().rss / 1e6,
    }  # fmt: skip


def rows(work: Path, count: int, args: Any) -> Iterator[dict[str, Any]]:
    """All that is measured with so many adapters."""
    files, names = cloud_files(32, POINTS), [str(k) for k in range(count)]
    folder = work / f"served-{count}"
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(work / "adapters" / name)
    loads = {
        "one": ["0"] * args.requests, "first": names[1:],
        "mixed": [*islice(cycle(names), args.requests)],
    }  # fmt: skip
    with serving(work, folder, "--threads", "1", "--most", count) as server:
        drive(server, ["0"] * 2, files, 1)
        for what, asked in loads.items():
            if what == "one" or count > 1:
                found = measured(server, asked, files, args.clients)
                yield {"adapters": count, "sent": what, **found}
    if count > ROOM:
        with serving(work, folder, "--threads", "1", "--most", ROOM) as server:
            drive(server, names[-2:], files, 1)
            found = measured(server, loads["mixed"], files, args.clients)
            yield {"adapters": count, "sent": f"mixed, most {ROOM}", **found}


def main() -> None:
    own = parser(__doc__, seconds=0)
    own.add_argument(
        "--adapters", type=int, nargs="+", default=[1, 3] if TOY else [1, 10, 100, 1000]
    )
    own.add_argument("--requests", type=int, default=6 if TOY else 300)
    own.add_argument("--clients", type=int, default=2 if TOY else 16)
    args = own.parse_args()
    start(args)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_adapters(work / "adapters", max(args.adapters), POINTS)
        table = []
        for count in args.adapters:
            for row in rows(work, count, args):
                print(json.dumps(row), flush=True)  # all of them take minutes
                table.append(row)
    for row in table:
        row["ratio"] = row["server_ms"] / table[0]["server_ms"]
    report("serving", "Clouds served", table, args, {"points": POINTS})


if __name__ == "__main__":
    main()
