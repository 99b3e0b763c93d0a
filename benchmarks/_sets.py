"""What benchmarks on folders of your own share: how sets are named, and the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _measure import commit
from pointadapt.core.machine import describe_machine


def parse(text: str) -> tuple[str, dict[str, str]]:
    """NAME=DIR,key=value to the name and options."""
    name, _, rest = text.partition("=")
    root, *options = rest.split(",")
    return name, {"root": root, **dict(option.split("=", 1) for option in options)}


def write_record(
    path: Path, script: str, sets: Sequence[str], results: list[dict[str, Any]], more: str = "",
    **facts: Any,
) -> None:  # fmt: skip
    """The results with the command, its folders left out, the commit, and the machine."""
    shown = " ".join(
        f"{name}=DIR" + "".join(f",{k}={v}" for k, v in options.items() if k != "root")
        for name, options in map(parse, sets)
    )
    record = {
        "command": f"python benchmarks/{script} --sets {shown}{more}", "commit": commit(),
        **facts, "machine": describe_machine(), "results": results,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
