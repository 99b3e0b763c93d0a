"""Time and memory of one training step of `small`: ours against plain eager DAPT and full tuning.

    python benchmarks/train_step.py [--batch 32] [--seconds 60] [--check 50] [--device cuda]

The recipe of PB_T50_RS (2,048 points, 128 groups, 15 classes, rank 64, DropPath .2, dropout .2) on
random clouds, which cost what real ones do. The variants take turns; times are ratios to the first:

- "plain": `_plain.py`, float32, the patch encoder in the graph,
- DAPT and full fine-tuning by `pointadapt`, float32 and bfloat16; DAPT as it is by default
  (lean), keeping all, and keeping blocks' inputs alone.

Before timing, the plain and our losses are compared over ``--check`` steps from the same start,
dropout off, beside what rounding alone makes of the plain ones. "saved" is what autograd keeps for
the backward besides the parameters; peaks of the process are in `memory.py`. As a user's run does,
it calls `keep_large_blocks`; ``--allocator default`` leaves glibc's malloc alone, for all variants
alike. ``--few`` leaves out what keeps all and what recomputes (batch 32 is slow).
"""

from __future__ import annotations

import copy

import torch

from _measure import MIB, in_turns, parser, report, saved_bytes, start
from _models import Step, clouds, labels, make_model


def compare_losses(steps: int, batch: int, device: str) -> dict[str, float]:
    """Largest relative difference of the losses to the plain step's, from the same start.

    The last is the plain step itself from trained tensors moved by one part in ten million, which
    is what rounding alone comes to: AdamW's first steps have the size of the learning rate however
    small a gradient is, so that differences grow from step to step.
    """
    model = make_model("dapt", dropout=0.0, device=device)
    nearby = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in nearby.parameters():
            if parameter.requires_grad:
                parameter.mul_(1 + 1e-7 * torch.randn_like(parameter))
    plain, *others = (
        Step(copy.deepcopy(model), "fp32", plain=True),
        Step(copy.deepcopy(model), "fp32"),
        Step(model, "bf16"),
        Step(nearby, "fp32", plain=True),
    )
    worst = dict.fromkeys(("fp32", "bf16", "plain, moved by 1e-7"), 0.0)
    for i in range(steps):
        data = clouds(batch, device, i), labels(batch, device, i)
        base = float(plain(*data))
        for name, other in zip(worst, others, strict=True):
            worst[name] = max(worst[name], abs(float(other(*data)) - base) / base)
    return worst


def variants(device: str, few: bool) -> dict[str, Step]:
    some = {
        "plain DAPT, fp32": Step(make_model("dapt", device=device), "fp32", plain=True),
        "DAPT, fp32": Step(make_model("dapt", device=device), "fp32"),
        "DAPT, bf16": Step(make_model("dapt", device=device), "bf16"),
        "full, fp32": Step(make_model("full", device=device), "fp32"),
        "full, bf16": Step(make_model("full", device=device), "bf16"),
    }
    if few:
        return some
    return some | {
        "DAPT, keep all, fp32": Step(make_model("dapt", device=device), "fp32", keep="all"),
        "DAPT, keep all, bf16": Step(make_model("dapt", device=device), "bf16", keep="all"),
        "DAPT, recompute, fp32": Step(make_model("dapt", device=device), "fp32", keep="recompute"),
        "DAPT, recompute, bf16": Step(make_model("dapt", device=device), "bf16", keep="recompute"),
    }


def main() -> None:
    own = parser(__doc__, seconds=60)
    own.add_argument("--batch", type=int, default=8)
    own.add_argument("--check", type=int, default=0, help="steps over which losses are compared")
    own.add_argument("--few", action="store_true", help="plain, DAPT and full alone")
    args = own.parse_args()
    start(args)
    settings: dict[str, object] = {}
    if args.check:
        worst = compare_losses(args.check, args.batch, args.device)
        settings["worst_relative_difference_of_losses"] = worst
        found = ", ".join(f"{name} {value:.1e}" for name, value in worst.items())
        print(f"losses over {args.check} steps, against plain: {found}")
    steps = variants(args.device, args.few)
    data = clouds(args.batch, args.device), labels(args.batch, args.device)
    saved = {
        name: saved_bytes(lambda s=step: s.loss(*data), args.device) for name, step in steps.items()
    }
    calls = {name: lambda s=step: s(*data) for name, step in steps.items()}
    rows = [
        {
            "variant": name,
            **time.columns(),
            "saved_MiB": saved[name] / MIB,
            "saved_against_full": saved[name] / saved[f"full, {name.split(', ')[-1]}"],
            "clouds_per_s": args.batch / time.median,
        }
        for name, time in in_turns(calls, args.seconds, device=args.device).items()
    ]
    for row in rows:
        other = row["variant"].replace("DAPT,", "DAPT, keep all,")
        base = next((r for r in rows if r["variant"] == other and r is not row), None)
        row["against_keep_all"] = row["median_ms"] / base["median_ms"] if base else ""
    title = f"One training step, small, batch {args.batch}, {args.device}"
    report(f"train_step_{{}}_b{args.batch}", title, rows, args, settings)


if __name__ == "__main__":
    main()
