"""What a task is: a head on the tokens, a loss, and a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ..backbones import Tokens
from ..options import build
from ..registry import Registry


class Head(nn.Module):
    """Base of all heads: tokens in, task output out."""

    def forward(self, tokens: Tokens) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Task:
    """Base of all tasks. Options are fields."""

    name: ClassVar[str] = ""
    metric: ClassVar[str] = ""  # the key of the score that selection maximises

    def make_head(self, dim: int, inputs: Sequence[str], classes: int) -> Head:
        """A new head for tokens of width ``dim``."""
        raise NotImplementedError

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar training loss."""
        raise NotImplementedError

    def score(self, output: Tensor, target: Tensor, classes: Sequence[str]) -> dict[str, Any]:
        """Metrics over a whole split; ``output`` are probabilities."""
        raise NotImplementedError


TASKS: Registry[Task] = Registry("task", "pointadapt.tasks")


def make_task(name: str, options: Mapping[str, Any] | None = None) -> Task:
    """The task called ``name`` with ``options``; strings are converted to the field's type.

    Raises:
        UnknownNameError: no such task or option.
        ConfigError: a value of the wrong type.
    """
    return build(TASKS[name], options or {}, f"task {name!r}")
