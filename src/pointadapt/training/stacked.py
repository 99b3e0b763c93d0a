"""Models of one kind as one: their own tensors stacked, all others shared.

What trains, what moves and what differs from model to model is (K, …), and each model has its row
of it as a view, so that an optimizer, a score or a file of one model needs to know nothing. The
forward pass goes through all of them at once (``torch.func.vmap``): products with shared weights
are one, and those with the models' own are batched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..adapters.model import PointModel

Loss = Callable[[Tensor, Tensor], Tensor]


class Stacked(nn.Module):
    """``models`` whose tensors have the same names and shapes, from now on views of common ones.

    They keep "all" for the backward: what is computed again does not go through vmap.
    """

    def __init__(self, models: Sequence[PointModel]) -> None:
        super().__init__()
        self.models = tuple(models)  # no children: their parameters are views
        self.own: dict[str, Tensor] = {}
        each = [dict(tensors(model)) for model in models]
        for name, first in each[0].items():
            self._join(name, first, [of[name] for of in each])
        for model in models:
            model.keep = "all"
        self.training_names = [name for name, x in self.own.items() if x.requires_grad]
        self.trained = [[of[name] for name in self.training_names] for of in each]

    def _join(self, name: str, first: Tensor, each: Sequence[Tensor]) -> None:
        moves = first.requires_grad or not isinstance(first, nn.Parameter)
        if not moves and all(torch.equal(first, x) for x in each[1:]):
            for x in each[1:]:
                x.data = first.data
            return
        whole = torch.stack([x.detach() for x in each])
        for x, row in zip(each, whole, strict=True):
            x.data = row
        self.own[name] = whole.requires_grad_(first.requires_grad)

    def release(self) -> None:
        """Give each model's tensors memory of their own again."""
        for model in self.models:
            for name, x in tensors(model):
                if name in self.own:
                    x.data = x.data.clone()
        self.own = {}

    def losses(
        self, loss: Loss, points: Tensor, target: Tensor, told: Mapping[str, Tensor],
        autocast: Callable[..., AbstractContextManager[Any]],
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The loss (K,) and the output (K, B, …) of each model for its own batch.

        Args:
            loss: of an output and a target, the same for all.
            points: (K, B, N, 3).
            target: (K, B, …).
            told: what else the models are given, by name, (K, B, …).
            autocast: the number format of the forward pass.
        """
        net = self.models[0]

        def one(
            own: dict[str, Tensor], points: Tensor, target: Tensor, told: dict[str, Tensor]
        ) -> tuple[Tensor, Tensor]:
            with autocast():
                output = functional_call(net, own, (points,), told)
            return loss(output, target), output

        # Each model draws its own dropout.
        go = torch.func.vmap(one, randomness="different")
        return go(self.own, points, target, dict(told))

    def backward(self, losses: Tensor) -> None:
        """The gradients of each model's loss, as its own parameters have them."""
        whole = [self.own[name] for name in self.training_names]
        # Not autograd.grad: a fused optimizer wants gradients laid out as their parameters are.
        losses.sum().backward(inputs=whole)
        for k, parameters in enumerate(self.trained):
            for parameter, one in zip(parameters, whole, strict=True):
                parameter.grad = None if one.grad is None else one.grad[k]
        for one in whole:
            one.grad = None


def tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters and buffers by name."""
    yield from model.named_parameters()
    yield from model.named_buffers()


__all__ = ["Loss", "Stacked", "tensors"]
