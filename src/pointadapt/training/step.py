"""A step of adapting a model: which losses, and how it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from accelerate import Accelerator
from torch import Tensor, nn

from ..adapters.model import PointModel
from ..core.errors import ConfigError
from ..tasks import Task
from .capture import GraphStep, Losses, Result, Step, why_not_capture
from .compiling import REPAYS, Compiled, why_not_compile

How = Literal["eager", "graph", "compile", "auto"]


class TaskLosses:
    """The loss of a task, and the network's output.

    Args:
        net: what accelerate made of ``model``.
        model: whose adapter decides which operations there are.
        task: gives the loss.
        acc: accelerate's engine.

    Attributes:
        forward: what gives the output: ``net``, or what it was compiled to.
    """

    def __init__(self, net: nn.Module, model: PointModel, task: Task, acc: Accelerator) -> None:
        self.net, self.model, self.task, self.acc = net, model, task, acc
        self.forward: Callable[..., Tensor] = net

    def __call__(self, points: Tensor, target: Tensor, **told: Tensor) -> Result:
        """The loss and the output.

        Args:
            points: (B, N, 3).
            target: as the task wants it.
            told: what else the model is given, by name.
        """
        with self.acc.autocast():
            output = self.forward(points, **told)
        return self.task.loss(output, target), output

    def compile(self, must: bool) -> None:
        """Compile the network; the task's loss stays as it is."""
        self.forward = Compiled(self.net, self.model, must)

    def deciding(self) -> Any:
        return self.model.adapter.taps.deciding()


def why_not_this(model: PointModel) -> str:
    """Why no step of this model can be a CUDA graph, or stacked; "" if it can."""
    if model.backbone.stage_views():
        return f"{model.backbone.name} asks how many voxels each batch has"
    return ""


def make_step(
    how: How, model: PointModel, net: nn.Module, optimizer: Any, acc: Accelerator, *,
    clip: float, accumulate: int = 1, task: Task | None = None, clouds: int = 0,
) -> Step:  # fmt: skip
    """The step that ``how`` asks for, see :func:`step_of`.

    ``task`` gives the loss where it knows more of the data than the model's own.

    Raises:
        ConfigError: a captured step is asked for, and cannot be.
    """
    losses = TaskLosses(net, model, task or model.adapter.task, acc)
    why_not = why_not_capture(acc, accumulate, model.keep) or why_not_this(model)
    return step_of(how, losses, net, optimizer, acc, clip, why_not, clouds)


def step_of(
    how: How, losses: Losses, net: nn.Module, optimizer: Any, acc: Accelerator, clip: float,
    why_not: str, clouds: int,
) -> Step:  # fmt: skip
    """The step that ``how`` asks for.

    "auto" captures where it can, and compiles as well where the ``clouds`` of the whole run repay
    it (:data:`~.compiling.REPAYS`) and the compiler works.

    Args:
        how: as the option says.
        losses: as :class:`~.capture.Step` wants them.
        net: the same.
        optimizer: the same.
        acc: the same.
        clip: the same.
        why_not: why it cannot be captured; "" if it can.
        clouds: of all steps together.

    Raises:
        ConfigError: a captured step is asked for, and cannot be.
    """
    if how == "graph" and why_not:
        raise ConfigError(f"--step graph: {why_not}; or use --step eager")
    captured = not why_not and how != "eager"
    step = (GraphStep if captured else Step)(losses, net, optimizer, acc, clip)
    if how == "compile":
        losses.compile(must=True)
    elif how == "auto" and captured and clouds >= REPAYS and not why_not_compile():
        losses.compile(must=False)
    return step


__all__ = ["GraphStep", "How", "Step", "TaskLosses", "make_step", "step_of", "why_not_this"]
