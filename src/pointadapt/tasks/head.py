"""What all heads promise, and the check of what they are to be fed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..backbones import Tokens
from ..core.errors import ConfigError
from .forest import Forest
from .frozen_fit import FrozenFit
from .inputs import parse_inputs

if TYPE_CHECKING:
    import numpy as np

NO_LINEAR_FORM = (
    "only a head that is a linear map of its inputs, or has one beside it, can be fitted: use "
    "--task classification, with --task-options hidden=0 or linear=true"
)


class Head(nn.Module):
    """Base of all heads: tokens in, task output out.

    Attributes:
        blocks: numbers of the blocks, from 0 and without the last, whose tokens it needs besides
            the final ones; they come as ``tokens.hidden``.
        takes_traits: it needs the traits of the clouds, see :mod:`pointadapt.ops.traits`.
        kinds: of what :meth:`rows` puts side by side: width, and whether it is traits.
        row_names: what each of those is called.
        pairs: :meth:`begin_at` takes a number for each pair of classes, not for each class.
        forest: answers beside the network once :meth:`learn` fitted it; None for most heads.
        frozen_fit: answers beside it from what the frozen backbone says, which the model gives it;
            None for most heads.
    """

    blocks: tuple[int, ...] = ()
    takes_traits: bool = False
    kinds: tuple[tuple[int, bool], ...] = ()
    row_names: tuple[str, ...] = ()
    pairs: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.forest: Forest | None = None
        self.frozen_fit: FrozenFit | None = None

    def see(self, traits: Tensor) -> None:
        """Look at the traits (n, T) of the training clouds, before training."""
        if self.frozen_fit is not None:
            self.frozen_fit.given.see(traits)

    def learn(self, features: np.ndarray, labels: np.ndarray, seed: int) -> None:
        """Fit the forest, before training.

        Args:
            features: of the training points (n, N, C), or the traits (n, T) of the clouds.
            labels: (n, N), or (n,).
            seed: fixes it.
        """

    def sizes(self) -> tuple[float, float] | None:
        """Least and largest log radius of the training clouds; None where it is not told them."""
        return None

    def rows(self, tokens: Tokens, traits: Tensor | None = None) -> Tensor:
        """(B, width) the inputs that :meth:`begin_at` takes a linear map of."""
        raise ConfigError(NO_LINEAR_FORM)

    def from_rows(self, rows: Tensor) -> Tensor:
        """The output for what :meth:`rows` gave; only heads with ``row_names`` have it."""
        raise NotImplementedError

    def begin_at(self, weight: Tensor, bias: Tensor) -> None:
        """Become a linear map of :meth:`rows`: weight (outputs, width) and bias (outputs,).

        Raises:
            ConfigError: the head has no such form.
        """
        raise ConfigError(NO_LINEAR_FORM)

    def forward(
        self, tokens: Tokens, points: Tensor | None = None, category: Tensor | None = None,
        features: Tensor | None = None, traits: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The output of the task, (B, …) of clouds or (B, N, …) of points, before activation.

        Args:
            tokens: of the backbone, G of them patches.
            points: (B, N, 3) the clouds as the backbone saw them.
            category: (B,) class of each cloud, for tasks that are told it.
            features: (B, N, C) of the points, for tasks whose names have features.
            traits: (B, T) of the clouds as they came, for heads that take them.
        """
        raise NotImplementedError


def check_inputs(inputs: Sequence[str]) -> tuple[str, ...]:
    """``inputs`` of a head, if there is each of them; see :mod:`pointadapt.tasks.inputs`.

    Raises:
        ConfigError, UnknownNameError: there is none, or an unknown one.
    """
    return tuple(item.name for item in parse_inputs(inputs))
