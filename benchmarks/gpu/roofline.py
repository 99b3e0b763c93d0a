"""How fast a training step could be at most, worked out from shapes: needs no GPU.

    python benchmarks/gpu/roofline.py [--batches 32 512] [--bytes 4.3e12] [--flops 724e12]

Forward and backward of `small` (2,048 points, 128 patches, 15 classes, bfloat16; DAPT of rank 64)
run on tensors without values, as the recipe of PB_T50_RS has them; and those of pre-training (1,024
points, 64 patches, with the losses of labels and attributes). Of each operation it notes what
it multiplies and which tensors it reads and writes, once each. A kernel takes at least the longer
of operations ÷ ``--flops`` and bytes ÷ ``--bytes``. Three sums of that, in milliseconds:

- "as written": every operation is a kernel of its own,
- "merged": operations element by element (and copies, casts, sums of gradients) cost nothing, as
  though all were merged into the products, attentions, norms and maxima beside them,
- "products": those of matrices and attentions alone, at full rate.

Sampling and grouping are left out (0.3 ms at batch 32); the optimizer reads or writes seven numbers
a trained parameter. The ratio is to full fine-tuning, counted in the same way.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

sys.path.insert(0, str(Path(__file__).parents[1]))

import _models
from _measure import TOY, report
from pointadapt.backbones import layers, point_vit
from pointadapt.core.config import PretrainConfig
from pointadapt.core.machine import make_accelerator
from pointadapt.pretraining import masked_autoencoder
from pointadapt.pretraining.objectives import make_objective

STAY = ("layer_norm", "batch_norm", "max", "amax")  # kernels that are left when all is merged

VARIANTS = {
    "full": ("full", "all"), "DAPT, keep all": ("dapt", "all"), "DAPT, lean": ("dapt", "lean"),
}  # fmt: skip


class Kernels(TorchDispatchMode):
    """Operations and bytes of everything that runs inside, by the operation's name."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, float, float]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        out = func(*args, **(kwargs or {}))
        tensors = {id(x): x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)}
        name = func.overloadpacket.__name__
        moves = func.namespace == "aten" and not func.is_view
        if tensors and moves and "empty" not in name and name != "_unsafe_view":
            count = flop_registry.get(func.overloadpacket)
            flops = count(*args, **(kwargs or {}), out_val=out) if count else 0
            moved = sum(map(size, tensors.values()))
            self.seen.append((name, flops, moved))
        return out


def size(x: Tensor) -> int:
    """Bytes of a tensor's numbers, those that are the same ones along an axis once."""
    axes = (n for n, stride in zip(x.shape, x.stride(), strict=True) if stride)
    return math.prod(axes) * x.element_size()


@contextmanager
def without_values(batch: int, groups: int, where: Any = point_vit) -> Iterator[FakeTensorMode]:
    """Tensors without values, given patches, and the attention kernel that a GPU takes."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        patches = torch.empty(batch, groups, 3), torch.empty(batch, groups, 32, 3)
        with (
            patch.object(where, "group", lambda *_, **__: patches),
            patch.object(
                layers, "attend", lambda q, k, v, **_: F.scaled_dot_product_attention(q, k, v)
            ),
        ):
            yield mode


def kernels(method: str, batch: int, keep: Any) -> list[tuple[str, float, float]]:
    """Name, operations and bytes of each kernel of a step."""
    model = _models.make_model(method)
    model.keep = keep
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    with without_values(batch, 128), Kernels() as found:
        with _models.half("bf16", "cpu"):
            out = model(torch.empty(batch, 2048, 3))
        F.cross_entropy(out.float(), torch.zeros(batch, dtype=torch.int64)).backward()
    return [*found.seen, ("optimizer", 0, 7 * 4 * trained)]


def of_pretraining(batch: int) -> list[tuple[str, float, float]]:
    """The same of a step of pre-training."""
    config = PretrainConfig(
        size="tiny" if TOY else "small", groups=64, batch_size=batch, precision="bf16",
        label_weight=0.03, attribute_weight=0.005,
    )  # fmt: skip
    objective = make_objective(config, make_accelerator("fp32"))
    net = objective.net.train()
    masks = net.masks(batch, torch.Generator())
    with without_values(batch, 64, masked_autoencoder), Kernels() as found:
        inputs = {name: torch.empty_like(mask) for name, mask in masks.items()}
        inputs |= {"labels": torch.zeros(batch, dtype=torch.int64), "count": torch.ones(())}
        inputs["has"] = torch.empty(batch, objective.source.attributes, dtype=torch.bool)
        points = torch.empty(batch, 1024, 3)
        loss, _ = objective.losses(net, points, known=inputs["has"], **inputs)
        loss.backward()
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return [*found.seen, ("optimizer", 0, 7 * 4 * trained)]


def sums(found: list[tuple[str, float, float]], args: argparse.Namespace) -> dict[str, float]:
    """The three sums, in milliseconds."""
    total: dict[str, float] = defaultdict(float)
    for name, flops, moved in found:
        least = 1e3 * max(flops / args.flops, moved / args.bytes)
        total["as_written_ms"] += least
        if flops or name.startswith("optimizer") or any(part in name for part in STAY):
            total["merged_ms"] += least
        total["products_ms"] += 1e3 * flops / args.flops
    return dict(total)


def by_name(
    found: list[tuple[str, float, float]], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """What the longest kinds of kernels take at least, all of a kind together."""
    rows: dict[str, dict[str, Any]] = {}
    for name, flops, moved in found:
        row = rows.setdefault(
            name, {"kernel": name, "count": 0, "gflop": 0.0, "MiB": 0.0, "ms": 0.0}
        )
        row["count"] += 1
        row["gflop"] += flops / 1e9
        row["MiB"] += moved / 2**20
        row["ms"] += 1e3 * max(flops / args.flops, moved / args.bytes)
    return sorted(rows.values(), key=lambda row: -row["ms"])[:12]


def main() -> None:
    own = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own.add_argument("--batches", type=int, nargs="+", default=[32, 512])
    own.add_argument("--bytes", type=float, default=4.3e12, help="a second, as copied on an H200")
    own.add_argument(
        "--flops", type=float, default=724e12, help="a second, bf16, as measured there"
    )
    own.add_argument("--json", default="", help='file, or "no"; default: benchmarks/results/gpu')
    args = own.parse_args()
    args.device = "cuda"
    rows: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    for batch in args.batches:
        for name, (method, keep) in VARIANTS.items():
            found = kernels(method, batch, keep)
            row: dict[str, Any] = {"variant": name, "batch": batch, **sums(found, args)}
            base = next((r for r in rows if r["batch"] == batch), row)
            row |= {
                key.replace("_ms", "_ratio"): row[key] / base[key]
                for key in list(row)
                if "_ms" in key
            }
            rows.append(row)
            details[f"{name}, batch {batch}"] = by_name(found, args)
        found = of_pretraining(batch)
        rows.append({"variant": "pre-training", "batch": batch, **sums(found, args)})
        details[f"pre-training, batch {batch}"] = by_name(found, args)
    report("gpu/roofline", "Least time of a step, small, bf16", rows, args, {"kernels": details})


if __name__ == "__main__":
    main()
