"""What a task is: a head on the tokens, a loss, and a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from ..backbones import Tokens
from ..backbones.base import BackboneConfig
from ..backbones.tokens import GLOBALS, POOLS
from ..core.errors import ConfigError, UnknownNameError
from ..core.fields import build
from ..core.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from ..data import Clouds


@dataclass(frozen=True)
class Names:
    """What a task's labels are called, and what it is given of each point.

    Attributes:
        classes: of whole clouds.
        parts: of points; empty for tasks that label none.
        features: of each point besides its coordinates; empty for tasks that take none.
    """

    classes: tuple[str, ...]
    parts: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


class Head(nn.Module):
    """Base of all heads: tokens in, task output out.

    Attributes:
        blocks: numbers of the blocks, from 0 and without the last, whose tokens it needs besides
            the final ones; they come as ``tokens.hidden``.
    """

    blocks: tuple[int, ...] = ()

    def forward(
        self, tokens: Tokens, points: Tensor | None = None, category: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Logits, (B, classes) of clouds or (B, N, names) of points.

        Args:
            tokens: of the backbone, G of them patches.
            points: (B, N, 3) the clouds as the backbone saw them.
            category: (B,) class of each cloud, for tasks that are told it.
            features: (B, N, C) of the points, for tasks whose names have features.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Task:
    """Base of all tasks. Options are fields."""

    name: ClassVar[str] = ""
    metric: ClassVar[str] = ""  # the key of the score that selection maximises
    head_inputs: ClassVar[tuple[str, ...]] = ()  # default inputs of its head; empty: the method's
    per_point: ClassVar[bool] = False  # it labels points, not clouds
    batch: ClassVar[int] = 64  # clouds that are predicted at a time

    @property
    def given_class(self) -> bool:
        """Whether the head is told the class of each cloud."""
        return False

    def names(
        self, classes: Sequence[str], parts: Sequence[str] = (), features: Sequence[str] = ()
    ) -> Names:
        """The names this task needs, of those that the data give.

        Raises:
            DataLayoutError: the data are not labelled as the task needs it.
        """
        del parts, features
        return Names(tuple(classes))

    def make_head(self, config: BackboneConfig, inputs: Sequence[str], names: Names) -> Head:
        """A new head for the tokens of a backbone of this size."""
        raise NotImplementedError

    def target(self, clouds: Clouds) -> np.ndarray:
        """The true labels, (n,) of clouds or (n, N) of points."""
        return clouds.labels

    def fitted(self, clouds: Clouds) -> Task:
        """The task with what its loss has to know of the training clouds; most need nothing."""
        del clouds
        return self

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar training loss."""
        raise NotImplementedError

    def accuracy(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar share of the labels that the output gets right, for the training log."""
        return (output.argmax(dim=-1) == target).float().mean()

    def predict(self, probabilities: Tensor, category: Tensor | None, names: Names) -> Tensor:
        """What is kept of a batch's probabilities for :meth:`score`: by default all of them.

        Labels of points are -1 where the probabilities are NaN.

        Args:
            probabilities: (B, classes) or (B, N, names), softmax of the head's output.
            category: (B,) class of each cloud, where it is known.
            names: as :meth:`names` gave them.
        """
        del category, names
        return probabilities

    def competing(self, probabilities: Tensor, category: Tensor | None, names: Names) -> Tensor:
        """The probabilities that confidence is read from: of the labels that :meth:`predict` may
        choose, summing to 1. Arguments as there; by default all labels compete.
        """
        del category, names
        return probabilities

    def score(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> dict[str, Any]:
        """Metrics over a whole split; ``predicted`` is :meth:`predict`'s, all batches together."""
        raise NotImplementedError

    def cloud_scores(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> Tensor:
        """(n,) how well each cloud does, in percent, to find the worst: here its points right.

        Args:
            predicted: (n, N) labels of points.
            target: (n, N) the true ones; -1 where that is not known.
            names: as :meth:`names` gave them.
            category: (n,) class of each cloud.
        """
        del names, category
        known = target >= 0
        right = ((predicted == target) & known).double().sum(dim=1)
        return 100 * right / known.sum(dim=1).clamp(min=1)


def check_inputs(inputs: Sequence[str]) -> tuple[str, ...]:
    """``inputs`` of a head, if each is a pooling of tokens.

    Raises:
        ConfigError, UnknownNameError: there is none, or an unknown one.
    """
    if not inputs:
        raise ConfigError(f"a head needs at least one input: choose among {', '.join(POOLS)}")
    for name in inputs:
        if name not in (*POOLS, *GLOBALS):
            raise UnknownNameError("head input", name, (*POOLS, *GLOBALS))
    return tuple(inputs)


TASKS: Registry[Task] = Registry("task", "pointadapt.tasks")


def make_task(name: str, options: Mapping[str, Any] | None = None) -> Task:
    """The task called ``name`` with ``options``; strings are converted to the field's type.

    Raises:
        UnknownNameError: no such task or option.
        ConfigError: a value of the wrong type.
    """
    return build(TASKS[name], options or {}, f"task {name!r}")
