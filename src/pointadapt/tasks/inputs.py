"""What a head is given of each cloud: pooled tokens, of any block, and traits of the cloud.

A pooling is written as it is called (``patch_max``), and with the number of a block, from 0, where
the tokens after that block are meant instead of the final ones (``patch_max@2``); ``@mid`` is the
block in the middle. ``size``, ``shape`` and ``profile`` are the traits of the
whole cloud as it came, in its own unit: see :mod:`pointadapt.ops.traits`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..backbones import Tokens
from ..backbones.tokens import GLOBALS, POOLS
from ..core.errors import ConfigError, UnknownNameError
from ..ops.traits import NAMES, TRAITS, columns

MIDDLE = "mid"
RADIUS = NAMES.index("radius")
FAR = 5.0  # times as large or small as any training cloud: worth a word
CLIP = 5.0  # standard deviations: a trait further out is taken as that far


@dataclass(frozen=True)
class HeadInput:
    """One input of a head.

    Attributes:
        name: as it was asked for.
        source: the pooling, or the group of traits.
        block: of the tokens: "" for the final ones, ``MIDDLE``, or a number.
    """

    name: str
    source: str
    block: str = ""

    @property
    def of_cloud(self) -> bool:
        """Whether it is traits of the cloud, not tokens."""
        return self.source in TRAITS

    def number(self, depth: int) -> int | None:
        """The block whose tokens it takes, of ``depth``; None for the last one.

        Raises:
            ConfigError: there is no such block.
        """
        if not self.block:
            return None
        number = (depth - 1) // 2 if self.block == MIDDLE else int(self.block)
        if number >= depth:
            raise ConfigError(f"head input {self.name!r}: the blocks are 0 to {depth - 1}")
        return number if number < depth - 1 else None


def parse_inputs(names: Sequence[str]) -> tuple[HeadInput, ...]:
    """The inputs called ``names``.

    Raises:
        ConfigError: there is none, one is there twice, or what follows "@" is no block.
        UnknownNameError: an unknown pooling.
    """
    known = (*POOLS, *GLOBALS, *TRAITS)
    if not names:
        raise ConfigError(f"a head needs at least one input: choose among {', '.join(known)}")
    found = []
    for name in names:
        source, at, block = name.partition("@")
        if source not in known:
            raise UnknownNameError("head input", source, known)
        if at and (source in TRAITS or not (block == MIDDLE or block.isdecimal())):
            raise ConfigError(
                f"head input {name!r}: write a pooling and a block's number, such as patch_max@2"
            )
        found.append(HeadInput(name, source, block))
    if len(set(names)) < len(found):
        raise ConfigError(f"head inputs {' '.join(names)}: one is there twice")
    return tuple(found)


def pooled_inputs(names: Sequence[str]) -> tuple[str, ...]:
    """``names``, if all are poolings of the final tokens, which is all that some heads take.

    Raises:
        ConfigError, UnknownNameError: another one.
    """
    for item in parse_inputs(names):
        if item.of_cloud or item.block:
            raise ConfigError(
                f"a head that labels points takes poolings of tokens, not {item.name!r}: "
                f"choose among {', '.join(POOLS)}"
            )
    return tuple(names)


def size_range(traits: np.ndarray) -> tuple[float, float]:
    """Least and largest log radius of clouds with these (n, 29) traits."""
    return float(traits[:, RADIUS].min()), float(traits[:, RADIUS].max())


def size_doubts(traits: Tensor, sizes: tuple[float, float] | None) -> list[str]:
    """A line on each cloud that is far larger or smaller than all training clouds, or "".

    Args:
        traits: (B, 29) of the clouds.
        sizes: least and largest log radius of the training clouds; None if they are not known.
    """
    if sizes is None:
        return [""] * len(traits)
    return [_doubt(radius, *sizes) for radius in traits[:, RADIUS].tolist()]


def _doubt(radius: float, low: float, high: float) -> str:
    """The line on a cloud of this log radius; training clouds have ``low`` to ``high``."""
    beyond = max(radius - high, low - radius)
    if beyond < math.log(FAR):
        return ""
    sizes = " to ".join(f"{2 * math.exp(x):.3g}" for x in (low, high))
    what = "large" if radius > high else "small"
    return (
        f"{2 * math.exp(radius):.3g} across, {math.exp(beyond):,.0f} times as {what} as any "
        f"training cloud ({sizes}): in another unit?"
    )


def needed(traits: Tensor | None, wanted: str) -> Tensor:
    """``traits`` of clouds, for what is ``wanted`` of them.

    Raises:
        ConfigError: they are not given.
    """
    if traits is None:
        raise ConfigError(
            f"this model takes {wanted} of each cloud, which normalised points do not show: "
            "model(points, traits=pointadapt.ops.cloud_traits(clouds as they came))"
        )
    return traits


class HeadInputs(nn.Module):
    """The inputs of a head side by side, (B, width).

    Traits are brought to mean 0 and deviation 1 over the training clouds (:meth:`see`), and
    clipped at five deviations, so that a cloud in another unit cannot outweigh all else. Their
    mean, deviation and range are buffers, saved with the adapter.

    Args:
        names: of the inputs.
        dim: token width D.
        depth: blocks of the backbone.
    """

    mean: Tensor
    deviation: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, names: Sequence[str], dim: int, depth: int = 1) -> None:
        super().__init__()
        self.items = parse_inputs(names)
        self.numbers = [item.number(depth) for item in self.items]
        self.blocks = tuple(sorted({n for n in self.numbers if n is not None}))
        self.kinds = tuple(
            (len(TRAITS[i.source]) if i.of_cloud else dim, i.of_cloud) for i in self.items
        )
        self.width = sum(width for width, _ in self.kinds)
        self.takes_traits = any(item.of_cloud for item in self.items)
        if self.takes_traits:
            for name, value in (
                ("mean", 0.0),
                ("deviation", 1.0),
                ("lowest", 0.0),
                ("highest", 0.0),
            ):
                self.register_buffer(name, torch.full((len(NAMES),), value))

    @torch.no_grad()
    def see(self, traits: Tensor) -> None:
        """Take mean, deviation and range from the traits (n, 29) of the training clouds."""
        if not self.takes_traits:
            return
        wide = traits.double()
        deviation = wide.std(dim=0, unbiased=False)
        self.mean.copy_(wide.mean(dim=0))
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))
        self.lowest.copy_(traits.amin(dim=0))
        self.highest.copy_(traits.amax(dim=0))

    def sizes(self) -> tuple[float, float] | None:
        """Least and largest log radius of the training clouds; None where it is not told them."""
        if not any(item.source == "size" for item in self.items):
            return None
        return float(self.lowest[RADIUS]), float(self.highest[RADIUS])

    def forward(self, tokens: Tokens, traits: Tensor | None = None) -> Tensor:
        """(B, width) of the tokens of a forward with ``Taps.wanted`` set to :attr:`blocks`.

        Raises:
            ConfigError: traits are needed and not given, or there are no such tokens.
        """
        return torch.cat(list(self._each(tokens, traits)), dim=-1)

    def _each(self, tokens: Tokens, traits: Tensor | None) -> Iterator[Tensor]:
        levels = dict(zip(self.blocks, tokens.hidden, strict=False))
        scaled = self._scaled(traits) if self.takes_traits else None
        for item, number in zip(self.items, self.numbers, strict=True):
            if scaled is not None and item.of_cloud:
                yield scaled[:, columns(item.source)].to(tokens.x.dtype)
            else:
                yield (tokens if number is None else levels[number]).pool(item.source)

    def _scaled(self, traits: Tensor | None) -> Tensor:
        wanted = ", ".join(item.name for item in self.items if item.of_cloud)
        scaled = (needed(traits, wanted).to(self.mean) - self.mean) / self.deviation
        return scaled.clamp(-CLIP, CLIP)
