"""A step of pre-training: eager, captured or compiled, by what training has for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from ..core.config import PretrainConfig
from ..core.errors import ConfigError
from ..training.capture import Result, Step, several, why_not_capture
from ..training.compiling import CompiledFunction
from ..training.step import step_of
from .objectives import Objective


class ObjectiveLosses:
    """The losses of an objective, all of which are compiled if the network is.

    Args:
        objective: what is minimised.
        net: its network, maybe shared by processes.
    """

    def __init__(self, objective: Objective, net: nn.Module) -> None:
        self.objective = objective

        def losses(**inputs: Tensor) -> Result:
            return objective.losses(net, **inputs)

        self.losses: Callable[..., Result] = losses

    def __call__(self, **inputs: Tensor) -> Result:
        return self.losses(**inputs)

    def compile(self, must: bool) -> None:
        name = f"pre-training of {self.objective.net.backbone.name}"
        self.losses = CompiledFunction(self.losses, name, must)

    def deciding(self) -> None:
        """Nothing changes which operations a step has."""


def make_step(
    config: PretrainConfig, objective: Objective, net: nn.Module, optimizer: Any, acc: Accelerator
) -> Step:
    """The step that ``config.step`` asks for, as training's.

    Raises:
        ConfigError: a captured or compiled step is asked for, and cannot be.
    """
    why_not = objective.why_not_capture or several(acc)
    if config.step == "compile" and why_not:
        raise ConfigError(f"--step compile: {why_not}; or use --step eager")
    return step_of(
        config.step, ObjectiveLosses(objective, net), net, optimizer, acc, config.clip,
        why_not or why_not_capture(acc), clouds=config.steps * config.batch_size,
    )  # fmt: skip
