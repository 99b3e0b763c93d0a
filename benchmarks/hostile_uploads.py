"""Damaged and harmful files, sent to a real server process.

    python benchmarks/hostile_uploads.py [--cases 1200] [--seed 0] [--json FILE]

The files of ``fuzz_files.py``, JSON that is no cloud, and uploads that break off are sent over
loopback to one ``pointadapt serve`` process: to an adapter for whole clouds, one for parts and one
for scenes. A case is held if its answer is 200, or 4xx with one line that names no path of the
server. Everything else is a fault: another status, a lost connection, a line on standard error, a
file left in the server's temporary folder, or memory beyond the first answers' by more than 1 GiB.
At the end the same process must still give a good file the answer that it gave before, and stop
when it is told to.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from _damaged_files import whole_files
from _measure import RESULTS, TOY, commit, print_table
from _models import MICRO
from _server import BROKEN, Client, Server, serving
from fuzz_files import make_cases
from pointadapt.backbones.folder import save_backbone
from pointadapt.cli.main import main as command
from pointadapt.core.machine import describe_machine
from pointadapt.pretrained.load import load_backbone

GROWTH = 2**30
LONGEST = 600  # characters of an answer that refuses
SCENE = Path(__file__).with_name("scene.py")
ADAPTERS = ("shapes", "parts", "scenes")
JSON = (
    b"", b"{", b"[" * 200_000, b"{}", b"[]", b"null", b'{"points": null}', b'{"points": []}',
    b'{"points": [[]]}', b'{"points": [[1, 2], [3]]}', b'{"points": "x"}', b'{"points": {"a": 1}}',
    b'{"points": [[NaN, 1, 2]]}', b'{"points": [[1e999, 1, 2]]}', b'{"points": [["a", "b", "c"]]}',
    b'{"points": [[' + b"9" * 5000 + b", 1, 2]]}", b'{"points": [[[1, 2, 3]]]}', b"\xff\xfe\x00",
    b'{"points": [' + b"[1, 2, 3], " * 50_000 + b"[1, 2, 3]]}", b'{"points": [[true, null, 3]]}',
    b'{"points": ' + b"[" * 900 + b"]" * 900 + b"}",
)  # fmt: skip
Ask = Callable[[str, bytes, str], tuple[int, bytes]]  # path, body, content type; status, body


@dataclass(frozen=True)
class Upload:
    """What is sent: name, ending and way for the record, and the bytes."""

    name: str
    form: str
    way: str
    data: bytes
    kind: str = "application/octet-stream"


@dataclass
class Sent:
    """What became of an upload for one adapter."""

    upload: Upload
    adapter: str
    outcome: str  # "answered", "refused", or a fault
    detail: str = ""
    seconds: float = 0.0


def uploads(folder: Path, number: int, seed: int, harm: bool = True) -> Iterator[Upload]:
    """The readers' cases that can be sent, and JSON."""
    for case in make_cases(folder, number, seed, harm):
        if case.path.is_file():
            yield Upload(case.path.name, case.form, case.way, case.path.read_bytes())
    for k, text in enumerate(JSON):
        yield Upload(f"{k}.json", ".json", "no cloud", text, "application/json")


def own_files(args: Any) -> Iterator[Upload]:
    """The files of ``--also``."""
    for path in sorted(args.also.iterdir()) if args.also else ():
        yield Upload(path.name, path.suffix, "given", path.read_bytes())


def sent(ask: Ask, upload: Upload, adapter: str, hidden: Sequence[str]) -> Sent:
    """Send it, and judge the answer; no word of ``hidden`` may be in it."""
    began = time.monotonic()
    try:
        status, said = ask(address(adapter, upload.name), upload.data, upload.kind)
    except BROKEN as error:
        return Sent(upload, adapter, "lost", repr(error), time.monotonic() - began)
    outcome, detail = judged(status, said, hidden)
    return Sent(upload, adapter, outcome, detail, time.monotonic() - began)


def address(adapter: str, file: str) -> str:
    """Where a file is sent; parts are told what they are parts of."""
    return f"/predict/{adapter}/{file}" + ("?category=chair" if adapter == "parts" else "")


def judged(status: int, said: bytes, hidden: Sequence[str]) -> tuple[str, str]:
    """Whether it was "answered" or "refused", or what is wrong; and what it says."""
    if status == 200:
        return "answered", ""
    text = said.decode(errors="replace")
    if not 400 <= status < 500:
        return f"status {status}", text[:LONGEST]
    try:
        line = json.loads(text)["error"]
    except (ValueError, TypeError, KeyError):
        return "no line", text[:LONGEST]
    if not isinstance(line, str) or not line or "\n" in line or len(line) > LONGEST:
        return "no line", text[:LONGEST]
    told = next((word for word in hidden if word in line), None)
    return ("refused", line) if told is None else ("names a path", line)


def write_served(work: Path) -> Path:
    """Adapters for whole clouds, parts and scenes, trained for a moment; their folder."""
    net = save_backbone(load_backbone("point_vit:tiny", **MICRO), work / "net")
    make = runpy.run_path(str(SCENE))["make_scene"]
    for name, seed in (("train", 1), ("test", 2)):
        (work / "data" / name).mkdir(parents=True)
        make(work / "data" / name / "a.las", 5000, seed, labelled=True)
    shapes = ["--data", "shapes", "--data-options", "size=64", "test_size=32"]
    scenes = ["--data", "folder_segmentation", "--root", str(work / "data"), "--data-options",
              "block=20", "blocks=4", "test_blocks=2", "least=16"]  # fmt: skip
    flags = {
        "shapes": [*shapes, "--method", "dapt", "--options", "rank=4"],
        "parts": [*shapes, "--task", "part_segmentation", "--task-options", "width=16",
                  "hidden=16,8"],
        "scenes": [*scenes, "--task", "scene_segmentation", "--method", "linear_probe"],
    }  # fmt: skip
    common = ["--backbone", str(net), "--points", "64", "--epochs", "1", "--batch-size", "4",
              "--no-summary", "--no-tensorboard"]  # fmt: skip
    for name, own in flags.items():
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
            if command(["train", "--out", str(work / "adapters" / name), *common, *own]):
                raise SystemExit(said.getvalue())
    return work / "adapters"


def broken_off(server: Server, data: bytes) -> None:
    """An upload that promises more than it sends, and ends."""
    with Client(server.address) as client, suppress(*BROKEN):
        client.half("/predict/shapes/a.ply", data)


def campaign(server: Server, every: Sequence[Upload]) -> tuple[list[Sent], dict[str, Any]]:
    """Send all of them for each adapter; what became of them, and of the server."""
    hidden = (str(server.temp), "upload.", "Traceback")
    good = Upload("good.las", ".las", "whole", whole_files()["las"][1])
    found: list[Sent] = []
    with Client(server.address) as client:

        def ask(path: str, body: bytes, kind: str) -> tuple[int, bytes]:
            return client.once("PUT", path, body, kind)

        before = [ask(address(name, good.name), good.data, good.kind)
                  for name in ADAPTERS]  # fmt: skip
        memory = server.memory()
        for upload in every:
            for adapter in ADAPTERS:
                one = sent(ask, upload, adapter, hidden)
                if one.outcome in ("answered", "refused") and server.files():
                    one.outcome, one.detail = "left over", str(server.files())
                found.append(one)
        for k in range(0, len(good.data), 97):
            broken_off(server, good.data[:k])
        after = [ask(address(name, good.name), good.data, good.kind)
                 for name in ADAPTERS]  # fmt: skip
    state = {
        "broken_off": len(range(0, len(good.data), 97)),
"same_answer_at_the_end": before == after and all(status == 200 for status, _ in after),
        "growth_bytes": server.memory() - memory,
        "files_left": [*map(str, server.files())], "exit_status": server.stop(),
        "said": server.errors.read_text()[-2000:],
        "left_when_stopped": [path.name for path in server.temp.iterdir()],
    }  # fmt: skip
    return found, state


def held(found: Sequence[Sent], state: dict[str, Any]) -> bool:
    """Whether nothing went wrong."""
    return (
        all(one.outcome in ("answered", "refused") for one in found)
        and state["same_answer_at_the_end"] and state["growth_bytes"] < GROWTH
        and not (state["files_left"] or state["said"] or state["left_when_stopped"])
        and state["exit_status"] == 0
    )  # fmt: skip


def record(found: Sequence[Sent], state: dict[str, Any], args: Any) -> dict[str, Any]:
    rows = []
    for form in sorted({one.upload.form for one in found}):
        own = [one for one in found if one.upload.form == form]
        count = Counter(one.outcome for one in own)
        row = {"ending": form, "files": len({one.upload.name for one in own}), "sent": len(own)}
        row |= {key: count.pop(key, 0) for key in ("answered", "refused")}
        rows.append(row | {"faults": sum(count.values())})
    faults = [
        {"file": one.upload.name, "way": one.upload.way, "adapter": one.adapter,
         "outcome": one.outcome, "detail": one.detail}
        for one in found if one.outcome not in ("answered", "refused")
    ]  # fmt: skip
    return {
        "command": " ".join(["python", *sys.argv]), "commit": commit(), "seed": args.seed,
        "files": sum(row["files"] for row in rows), "sent": len(found),
        "slowest_seconds": round(max(one.seconds for one in found), 2), **state,
        "machine": describe_machine(), "results": rows, "faults": faults,
    }  # fmt: skip


def main() -> int:
    own = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own.add_argument("--cases", type=int, default=30 if TOY else 1200)
    own.add_argument("--seed", type=int, default=0)
    own.add_argument("--json", default=str(RESULTS / "hostile_uploads.json"), help='or "no"')
    own.add_argument("--also", type=Path, default=None, help="folder of more files to send")
    own.add_argument("--keep", type=Path, default=None, help="folder for faulty files")
    args = own.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "files").mkdir()
        every = [*uploads(work / "files", args.cases, args.seed, harm=not TOY), *own_files(args)]
        with serving(work, write_served(work), "--threads", "1") as server:
            found, state = campaign(server, every)
    told = record(found, state, args)
    print_table("Hostile uploads", told["results"])
    print(json.dumps({key: told[key] for key in (*state, "slowest_seconds", "faults")}, indent=1))
    for one in found:
        if args.keep is not None and one.outcome not in ("answered", "refused"):
            args.keep.mkdir(parents=True, exist_ok=True)
            (args.keep / one.upload.name).write_bytes(one.upload.data)
    if args.json != "no":
        Path(args.json).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return int(not held(found, state))


if __name__ == "__main__":
    sys.exit(main())
