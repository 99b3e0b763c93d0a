"""What a published checkpoint cannot tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """What a checkpoint cannot tell; None takes the paper's value for its kind.

    Attributes:
        heads: attention heads; one for every 64 channels when not given, as in all that we know.
        groups: patches of a cloud: 128 on ScanObjectNN, 64 on ModelNet40 and in pre-training.
        group_size: points of a patch.
        points: points of a cloud: 2048 on ScanObjectNN, 1024 otherwise.
        head: inputs of the head.
        classes: names of the classes; numbered when not given and not a known benchmark's.
    """

    heads: int | None = None
    groups: int | None = None
    group_size: int = 32
    points: int | None = None
    head: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
