"""Many adapters on one backbone: choosing, loading, threads, and batches for different ones.

    python benchmarks/many_adapters.py [--size tiny] [--loaded 2 200 1000] [--methods dapt lora ...]

- "use": choosing another adapter, with so many loaded; "load_into": reading one more from its
  folder. Milliseconds of processor time, the median, so that a busy machine counts less.
- "threads": 8 threads that ask 100 adapters at will, each answer compared bit for bit with what one
  thread got. The adapters have their own CLS tokens, BatchNorm statistics and, one in five, whole
  backbones.
- "mixed": 32 clouds for 32 adapters (``PointModel.mixed``) against 32 clouds for one of them, in
  turns: the ratio is the cost of mixing. The ratio of
  processor time says it also where the machine is busy.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from _measure import TOY, in_turns, parser, processor_ms, report, start
from _models import CLASSES, MICRO, clouds
from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones.folder import save_backbone
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLOUDS, THREADS, ASKED = (4, 2, 5) if TOY else (32, 8, 100)
REPEATS = 2 if TOY else 200
KINDS = ("dapt", "lora", "linear_probe", "bitfit", "full")


def build(size: str, device: str) -> PointModel:
    """A model with one adapter, called "default"."""
    torch.manual_seed(0)
    changes = MICRO if TOY else {}
    net = load_backbone("point_vit:tiny" if TOY else size, **changes)
    return PointModel(net, adapter(net, "dapt")).to(device).eval()


def adapter(net: Any, method: str) -> Adapter:
    return Adapter(net, make_method(method), make_task("classification"), CLASSES)


@torch.no_grad()
def add_moved(model: PointModel, name: str, method: str) -> None:
    """One more adapter, with tensors of the backbone that differ from all others'."""
    model.add(name, adapter(model.backbone, method))
    own = model.called(name)
    for key, value in own.places().items():
        if key.startswith("backbone.") and value.is_floating_point():
            value.add_(0.02 * torch.randn_like(value))
            if key.endswith("running_var"):
                value.abs_()


def many_rows(args: Any) -> list[dict[str, Any]]:
    """What choosing and loading take, with more and more adapters loaded."""
    model, rows = build(args.size, args.device), []
    with tempfile.TemporaryDirectory() as scratch:
        net = save_backbone(model.backbone, f"{scratch}/net") if TOY else args.size
        folder = f"{scratch}/adapter"
        adapter_folder.save_adapter(model, folder, backbone=str(net), points=1024)
        for count in sorted(args.loaded):
            while len(model.adapters) < count:
                model.add(f"n{len(model.adapters)}", adapter(model.backbone, "dapt"))
            names = cycle(model.adapters)
            use = statistics.median(
                processor_ms(lambda names=names: model.use(next(names)), REPEATS)
            )
            load = statistics.median(
                processor_ms(lambda: load_one(model, folder), min(REPEATS, 20))
            )
            rows += [
                {"what": "use", "loaded": count, "processor_ms": use},
                {"what": "load_into", "loaded": count, "processor_ms": load},
            ]
            drop(model)
    return rows


def load_one(model: PointModel, folder: str) -> None:
    drop(model)
    adapter_folder.load_into(model, folder, "new")


def drop(model: PointModel) -> None:
    if "new" in model.adapters:
        model.use("default")
        del model.adapters["new"]


@torch.no_grad()
def thread_row(args: Any) -> dict[str, Any]:
    """Answers of several threads against those of one."""
    model, points = build(args.size, args.device), clouds(1, args.device, n=1024)
    for k in range(ASKED):
        add_moved(model, f"n{k}", KINDS[k % len(KINDS)])
    names = [f"n{k}" for k in range(ASKED)]
    want = {name: model.use(name)(points) for name in names}
    different = len({tuple(answer.flatten().tolist()) for answer in want.values()})

    def ask(order: Sequence[str]) -> int:
        with torch.no_grad():
            return sum(not torch.equal(model.use(n)(points), want[n]) for n in order)

    orders = [names[k:] + names[:k] for k in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        wrong = sum(pool.map(ask, orders))
    return {"what": "threads", "loaded": ASKED + 1, "threads": THREADS, "different": different,
            "answers": THREADS * ASKED, "wrong": wrong}  # fmt: skip


def mixed_rows(args: Any) -> list[dict[str, Any]]:
    """What clouds for different adapters take against clouds for one."""
    rows, points = [], clouds(CLOUDS, args.device, n=1024)
    for method in args.methods:
        model = build(args.size, args.device)
        names = [f"n{k}" for k in range(CLOUDS)]
        for name in names:
            add_moved(model, name, method)
        calls = {
            "one adapter": lambda m=model, n=names: m(points, adapter=n[0]),
            "mixed": lambda m=model, n=names: m.mixed(points, n),
        }
        with torch.no_grad():
            times = in_turns(calls, args.seconds, device=args.device)
            used = in_processor_ms(calls)
            differ = largest_difference(model, points, names)
        rows += [
            {"what": what, "method": method, "clouds": CLOUDS, **found.columns(),
             "processor_ms": used[what], "processor_ratio": used[what] / used["one adapter"],
             "difference": differ if what == "mixed" else 0.0}
            for what, found in times.items()
        ]  # fmt: skip
    return rows


def in_processor_ms(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median of processor time, the calls taking turns."""
    times = [{name: processor_ms(call, 1)[0] for name, call in calls.items()} for _ in range(5)]
    return {name: statistics.median(turn[name] for turn in times) for name in calls}


def largest_difference(model: PointModel, points: Tensor, names: Sequence[str]) -> float:
    """The largest difference between a mixed batch's answers and those of the adapters alone."""
    both = zip(names, model.mixed(points, names), strict=True)
    return max(
        float((model(points[row : row + 1], adapter=name)[0] - answer).abs().max())
        for row, (name, answer) in enumerate(both)
    )


def main() -> None:
    own = parser(__doc__, seconds=20)
    own.add_argument("--size", default="tiny")
    own.add_argument("--loaded", type=int, nargs="+", default=[2, 200, 1000])
    own.add_argument("--methods", nargs="*", default=list(KINDS))
    args = own.parse_args()
    start(args)
    rows = [*many_rows(args), thread_row(args), *mixed_rows(args)]
    report("many_adapters_{}", f"Many adapters on one backbone, {args.size}", rows, args)


if __name__ == "__main__":
    main()
