"""What is known of a made-up cloud besides its class: its parts, and how it is put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .primitives import BALL_SOLID, SQUIRCLE, Piece
from .sketch import RECIPES

MOST_COPIES, MOST_GROUPS = 6, 9  # more count as that many
CURVE_NAMES = ("line", "circle", "triangle", "square", "hexagon", "squircle", "other")
CLASSES = tuple(sorted(RECIPES))
PARTS = tuple(f"{name}/{part}" for name in CLASSES for part in RECIPES[name].parts)
MAKE_UP = (
    *(f"has a section that is a {curve}" for curve in CURVE_NAMES),
    *(f"has a body of kind {solid}" for solid in range(BALL_SOLID + 1)),
    *(f"has {n} pieces alike" for n in range(1, MOST_COPIES + 1)),
    *(f"has {n} kinds of pieces" for n in range(1, MOST_GROUPS + 1)),
    "has a piece cut out",
)
ATTRIBUTES = (*PARTS, *MAKE_UP)
_FIRST = {name: PARTS.index(f"{name}/{RECIPES[name].parts[0]}") for name in CLASSES}


def attributes(pieces: Sequence[Piece], name: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``ATTRIBUTES`` a cloud has, and of which it is known.

    The pieces of one part, or of one group of an assembly, count as alike.

    Args:
        pieces: what the cloud is drawn from.
        name: its class; None for an assembly, whose pieces are no named parts.

    Returns:
        two (attributes,) bool arrays.
    """
    has, known = np.zeros((2, len(ATTRIBUTES)), dtype=bool)
    known[len(PARTS) :] = True
    if name is not None:
        known[: len(PARTS)] = True
        has[[_FIRST[name] + piece.part for piece in pieces if piece.part >= 0]] = True
    make_up = has[len(PARTS) :]
    curves, bodies = make_up[:7], make_up[7:11]
    copies, groups = make_up[11 : 11 + MOST_COPIES], make_up[11 + MOST_COPIES : -1]
    for piece in pieces:
        curves[min(piece.shape.curve, SQUIRCLE + 1)] = True
        bodies[piece.shape.solid] = True
    counts = Counter(piece.part for piece in pieces if piece.part >= 0)
    for count in counts.values():
        copies[min(count, MOST_COPIES) - 1] = True
    groups[min(len(counts), MOST_GROUPS) - 1] = True
    make_up[-1] = any(piece.part < 0 for piece in pieces)
    return has, known


__all__ = ["ATTRIBUTES", "CLASSES", "PARTS", "attributes"]
