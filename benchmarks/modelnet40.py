"""ModelNet40 from the bundled backbone: the laptop recipes and the presets, one table, one record.

    python benchmarks/modelnet40.py --root DIR
    python benchmarks/modelnet40.py --root DIR --only instant-folder

Runs that are finished under ``--runs`` are not repeated, so it may be stopped and started again.
On two cores it takes some hours; ``--threads 1`` and two calls with ``--only`` keep both busy.
In the record a new row takes the place of the one with the same command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

OWN = "--data modelnet40 --points 1024"  # what a recipe for own files is told besides
RECIPES = {
    "linear-probe-laptop": "",
    "dapt-laptop": "",
    "full-laptop": "",
    "instant-folder": OWN,
    "stem-adapter-folder": f"{OWN} --epochs 20",
}
RESULTS = Path("benchmarks/results/modelnet40_tiny.json")
KEPT = (
    "method", "accuracy", "class_accuracy", "trainable_parameters", "total_parameters", "seconds",
    "peak_memory_bytes", "adapter_bytes", "protocol", "machine", "config", "per_class",
)  # fmt: skip


def run(recipe: str, args: argparse.Namespace) -> None:
    """Train one recipe unless its results are there; an interrupted run goes on."""
    out = args.runs / recipe
    if (out / "results.json").exists():
        return
    resume = ["--resume"] if (out / "checkpoint.pt").exists() else []
    command = [sys.executable, "-m", "pointadapt", "train", "--recipe", recipe, "--root", args.root]
    command += ["--threads", args.threads, "--out", out, "--no-tensorboard", *resume]
    command += [*RECIPES[recipe].split(), *args.more.split()]
    subprocess.run([str(part) for part in command], check=True)


def collect(recipe: str, args: argparse.Namespace) -> dict:
    """The results of a finished run, with the command and the commit that give them."""
    results = json.loads((args.runs / recipe / "results.json").read_text())
    flags = ["--recipe", recipe, *RECIPES[recipe].split(), *args.more.split()]
    command = f"pointadapt train {' '.join(flags)} --root DIR --threads {args.threads}"
    results["config"] |= {"root": "DIR/modelnet40", "out": f"runs/{recipe}"}
    return {"recipe": recipe, "command": command, "commit": args.commit} | {
        key: results[key] for key in KEPT
    }


def record(rows: list[dict], path: Path) -> None:
    """Write the rows beside those of earlier calls, which may have other commands."""
    new = {row["command"] for row in rows}
    old = json.loads(path.read_text()) if path.exists() else []
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [row for row in old if row["command"] not in new]
    path.write_text(json.dumps([*kept, *rows], indent=1) + "\n")


def show(rows: list[dict]) -> None:
    table = Table("recipe", "accuracy %", "class accuracy %", "trained", "minutes", "peak MB")
    for r in rows:
        table.add_row(
            r["recipe"], f"{r['accuracy']:.2f}", f"{r['class_accuracy']:.2f}",
            f"{r['trainable_parameters']:,}", f"{r['seconds'] / 60:.1f}",
            f"{r['peak_memory_bytes'] / 1e6:.0f}",
        )  # fmt: skip
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--more", default="", help="other flags of train, for a trial")
    parser.add_argument("--commit", default="", help="of the code; by default the current one")
    args = parser.parse_args()
    git = ["git", "rev-parse", "--short", "HEAD"]
    args.commit = args.commit or subprocess.check_output(git, text=True).strip()
    for recipe in args.only:
        run(recipe, args)
    rows = [collect(recipe, args) for recipe in args.only]
    show(rows)
    record(rows, args.json)


if __name__ == "__main__":
    main()
