"""Time and memory of one training step of `small`: ours against plain eager DAPT and full tuning.

    python benchmarks/train_step.py [--batch 32] [--seconds 120] [--json FILE]

The recipe of PB_T50_RS (2,048 points, 128 groups, 15 classes, rank 64, DropPath .2, dropout .2) on
random clouds, which cost what real ones do. The variants take turns; times are ratios to the first:

- "plain": `_plain.py`, float32, the patch encoder in the graph,
- DAPT and full fine-tuning by `pointadapt`, float32 and bfloat16.

A step is forward, loss, backward, gradient clipping and AdamW. Before timing, the plain and our
losses are compared over ``--check`` steps from the same start, dropout off. "saved" is what
autograd keeps for the backward besides the parameters. As a user's run does, it calls
`keep_large_blocks`; ``--allocator default`` leaves glibc's malloc alone, for all variants alike.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from _measure import in_turns, report, saved_bytes
from _plain import logits as plain_logits
from pointadapt.backbones._weights import load_backbone
from pointadapt.methods import make_method
from pointadapt.model import Adapter, PointModel
from pointadapt.runtime import keep_large_blocks
from pointadapt.tasks import make_task

MIB = 2.0**20
CLASSES = tuple(f"class {i}" for i in range(15))


def make_model(name: str, dropout: float = 0.2, **options: object) -> PointModel:
    torch.manual_seed(0)
    net = load_backbone("point_vit:small", groups=128)
    net.set_drop_path(dropout)
    options = {"dropout": dropout, **options} if name == "dapt" else options
    task = make_task("classification", {"dropout": 0.5 if dropout else 0.0})
    adapter = Adapter(net, make_method(name, options), task, CLASSES)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return PointModel(net, adapter).to(device).train()


class Step:
    """One variant: a model, its optimizer, and how its forward pass is computed."""

    def __init__(self, model: PointModel, precision: str, plain: bool = False) -> None:
        self.model, self.precision, self.plain = model, precision, plain
        if plain:  # what is in the graph costs its activations, whether or not it is trained
            model.backbone.encoder.requires_grad_(True)
        groups = model.parameter_groups(0.05)
        if plain:
            own = {id(p) for p in model.backbone.encoder.parameters()}
            for group in groups:
                group["params"] = [p for p in group["params"] if id(p) not in own]
        self.optimizer = torch.optim.AdamW(groups, lr=5e-4, fused=not plain)

    def loss(self, points: Tensor, labels: Tensor) -> Tensor:
        half = self.precision == "bf16"
        with torch.autocast(points.device.type, torch.bfloat16) if half else nullcontext():
            out = plain_logits(self.model, points) if self.plain else self.model(points)
        return F.cross_entropy(out.float(), labels)

    def __call__(self, points: Tensor, labels: Tensor) -> float:
        loss = self.loss(points, labels)
        loss.backward()
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, 10.0)
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)
        return float(loss.detach())


def compare_losses(steps: int, draw: Callable[[int], tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Largest relative difference of the losses, ours and plain: in float32, and in bfloat16."""
    model = make_model("dapt", dropout=0.0)
    variants = [
        Step(copy.deepcopy(model), "fp32", plain=True),
        Step(copy.deepcopy(model), "fp32"),
        Step(model, "bf16"),
    ]
    worst = [0.0, 0.0]
    for i in range(steps):
        batch = draw(i)
        plain, *others = (variant(*batch) for variant in variants)
        for k, other in enumerate(others):
            worst[k] = max(worst[k], abs(other - plain) / plain)
    return worst[0], worst[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--check", type=int, default=0, help="steps over which losses are compared")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--allocator", choices=["ours", "default"], default="ours")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.allocator == "ours":
        keep_large_blocks()
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def draw(i: int) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(i)
        points = torch.randn(args.batch, 2048, 3, generator=g)
        points /= points.norm(dim=2).amax(dim=1)[:, None, None]
        return points.to(device), torch.randint(15, (args.batch,), generator=g).to(device)

    settings: dict[str, object] = {k: str(v) for k, v in vars(args).items() if k != "json"}
    if args.check:
        fp32, bf16 = compare_losses(args.check, draw)
        settings["worst_relative_difference_of_losses"] = {"fp32": fp32, "bf16": bf16}
        print(f"losses over {args.check} steps, against plain: fp32 {fp32:.1e}, bf16 {bf16:.1e}")
    steps = {
        "plain DAPT, fp32": Step(make_model("dapt"), "fp32", plain=True),
        "DAPT, fp32": Step(make_model("dapt"), "fp32"),
        "DAPT, bf16": Step(make_model("dapt"), "bf16"),
        "full, fp32": Step(make_model("full"), "fp32"),
        "full, bf16": Step(make_model("full"), "bf16"),
    }
    batch = draw(0)
    saved = {name: saved_bytes(lambda s=step: s.loss(*batch)) for name, step in steps.items()}
    times = in_turns({n: lambda s=s: s(*batch) for n, s in steps.items()}, args.seconds)
    rows = []
    for name, t in times.items():
        full = saved[f"full, {name.split(', ')[1]}"]
        rows.append(
            {
                "variant": name,
                "median_s": t.median,
                "best_s": t.best,
                "time_ratio": t.ratio,
                "saved_MiB": saved[name] / MIB,
                "saved_against_full": saved[name] / full,
                "clouds_per_s": args.batch / t.median,
                "runs": t.runs,
            }
        )
    report(f"One training step, small, batch {args.batch}", rows, settings, args.json)


if __name__ == "__main__":
    main()
