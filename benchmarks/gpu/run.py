"""One command for each stage of README.md, on a machine with a GPU, from the repository's root.

    . benchmarks/gpu/setup.sh && python3 benchmarks/gpu/run.py STAGE [--minutes 9] [--rehearse]

Stages: tests, speed, compiled, rates and pretrain, variants, conv, scenes, modelnet40, few-shot,
promise. Results go to $OUT as JSON, at most eight files. `--rehearse` runs the same code at toy
size, on whatever device there is. What a stage leaves for its next call lies in $GPU_HOME
(~/pointadapt-gpu).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from _pretraining import pretrain, rates, scenes, variants
from _stage import OUT, Args
from _studies import METHODS, few_shot, modelnet40, promise
from _timing import compiled, conv, speed, tests, together

STAGES: dict[str, Callable[[Args], None]] = {
    "tests": tests, "speed": speed, "compiled": compiled, "rates": rates, "pretrain": pretrain,
    "variants": variants, "conv": conv, "together": together, "scenes": scenes,
    "modelnet40": modelnet40, "few-shot": few_shot, "promise": promise,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--minutes", type=float, default=9.0, help="how long this call may run")
    parser.add_argument("--rehearse", action="store_true", help="toy size, any device")
    parser.add_argument("--jobs", type=int, default=4, help="runs at a time")
    parser.add_argument("--only", default="", choices=["", *METHODS], help="one method alone")
    parser.add_argument("--backbone", default="weights/small")
    parser.add_argument("--step", default="auto", help="eager, graph, compile or auto")
    parser.add_argument("--steps", type=int, default=0, help="of pretrain, instead of its rates'")
    parser.add_argument(
        "--without", nargs="*", default=[], help="variants, or sets, that are left out"
    )
    parser.add_argument(
        "--compile", action="store_true", help="speed: also torch.compile (minutes)"
    )
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    STAGES[args.stage](args)


if __name__ == "__main__":
    main()
