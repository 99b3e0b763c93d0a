"""The networks and steps that the benchmarks time: `small` as in the recipe of PB_T50_RS."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from _measure import TOY
from _plain import logits as plain_logits
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones.memory import Keep
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES = tuple(f"class {i}" for i in range(15))
POINTS = 64 if TOY else 2048
MICRO = {"dim": 24, "depth": 2, "heads": 2, "groups": 8, "group_size": 8}


def clouds(batch: int, device: str = "cpu", seed: int = 0, n: int = POINTS) -> Tensor:
    """(batch, n, 3) random points in the unit ball; they cost what real ones do."""
    n = min(n, POINTS) if TOY else n
    points = torch.randn(batch, n, 3, generator=torch.Generator().manual_seed(seed))
    return (points / points.norm(dim=2).amax(dim=1)[:, None, None]).to(device)


def labels(batch: int, device: str = "cpu", seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(len(CLASSES), (batch,), generator=draw).to(device)


def half(precision: str, device: str) -> AbstractContextManager[object]:
    """Autocast to bfloat16, or nothing."""
    kind = device.partition(":")[0]
    return torch.autocast(kind, torch.bfloat16) if precision == "bf16" else nullcontext()


def make_model(
    name: str, dropout: float = 0.2, device: str = "cpu", size: str = "point_vit:small",
    groups: int = 128, head: Sequence[str] = (), **options: object,
) -> PointModel:  # fmt: skip
    """A model in training mode, with ``dropout`` in the method and as DropPath."""
    torch.manual_seed(0)
    net = load_backbone(size, **({"groups": groups} | (MICRO if TOY else {})))
    net.set_drop_path(dropout)
    options = {"dropout": dropout, **options} if name == "dapt" else options
    task = make_task("classification", {"dropout": 0.5 if dropout else 0.0})
    adapter = Adapter(net, make_method(name, options), task, CLASSES, head)
    return PointModel(net, adapter).to(device).train()


class Step:
    """One variant of a training step: a model, its optimizer, how its forward pass is computed.

    A step is forward, loss, backward, gradient clipping and AdamW.
    """

    def __init__(
        self, model: PointModel, precision: str, plain: bool = False, keep: Keep = "lean"
    ) -> None:
        self.model, self.precision, self.plain = model, precision, plain
        model.keep = keep
        if plain:  # what is in the graph costs its activations, whether or not it is trained
            model.backbone.encoder.requires_grad_(True)
        groups = model.parameter_groups(0.05)
        if plain:
            own = {id(p) for p in model.backbone.encoder.parameters()}
            for group in groups:
                group["params"] = [p for p in group["params"] if id(p) not in own]
        self.optimizer = torch.optim.AdamW(groups, lr=5e-4, fused=not plain)

    def loss(self, points: Tensor, target: Tensor) -> Tensor:
        with half(self.precision, points.device.type):
            out = plain_logits(self.model, points) if self.plain else self.model(points)
        return F.cross_entropy(out.float(), target)

    def __call__(self, points: Tensor, target: Tensor) -> Tensor:
        loss = self.loss(points, target)
        loss.backward()
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, 10.0)
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)
        return loss.detach()
