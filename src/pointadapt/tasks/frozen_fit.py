"""What a linear map makes of the frozen backbone, beside the network that was trained.

Training fits a network to few clouds, and what it moves is no longer what pre-training found. A
linear map of the frozen features errs on other clouds than the network does, and takes seconds to
fit, so that both together are right more often than either
(``docs/decisions/three-voices.md``).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, Taps, Tokens
from ..backbones.base import BackboneConfig
from ..methods.instant import Instant
from .inputs import HeadInputs
from .pairs import voting


class FrozenFit(nn.Module):
    """The map that the method ``instant`` fits, as buffers: nothing in it trains by gradients.

    All classes are as likely before :meth:`become`.

    Buffers: ``weight`` (outputs, inputs) and ``bias`` (outputs,), where outputs are pairs of
    classes, or classes if there are many.

    Args:
        config: size of the backbone.
        classes: how many.
        share: how much it counts in :meth:`join`, 0 to 1.
    """

    weight: Tensor
    bias: Tensor
    method = Instant()

    def __init__(self, config: BackboneConfig, classes: int, share: float) -> None:
        super().__init__()
        self.given = HeadInputs(self.method.head_inputs, config.dim, config.depth)
        self.depth, self.share = config.depth, share
        votes = voting(classes)
        outputs = classes if votes is None else votes.pairs
        self.pairs, self.votes = votes is not None, votes if votes is not None else nn.Identity()
        self.register_buffer("weight", torch.zeros(outputs, self.given.width))
        self.register_buffer("bias", torch.zeros(outputs))

    @torch.no_grad()
    def become(self, weight: Tensor, bias: Tensor) -> None:
        """Take a map of :meth:`rows`."""
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def rows(self, frozen: Backbone, points: Tensor, traits: Tensor | None) -> Tensor:
        """(B, inputs) of prepared points (B, N, 3) and the traits (B, T) of the clouds."""
        taps = Taps(self.depth)
        taps.wanted = self.given.blocks
        tokens: Tokens = frozen(points, taps)
        return self.given(tokens, traits)

    def join(self, output: Tensor, rows: Tensor) -> Tensor:
        """Logarithms of its probabilities and an output's (B, classes), averaged, for rows.

        Probabilities, not logarithms: a fit to few clouds may be very sure of all it says, and
        would outvote the others.
        """
        own = self.votes(F.linear(rows.float(), self.weight, self.bias)).log_softmax(dim=-1)
        rest = output.float().log_softmax(dim=-1)
        return torch.logaddexp(own + math.log(self.share), rest + math.log(1 - self.share))
