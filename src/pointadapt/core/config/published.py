"""What a published checkpoint cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Published:
    """What a checkpoint cannot tell; None takes the paper's value for its kind.

    Attributes:
        heads: attention heads; one for every 64 channels when not given, as in all that we know.
        groups: patches of a cloud: 128 on ScanObjectNN (64 of Point-BERT and MaskPoint), 64 on
            ModelNet40 and in pre-training; 512 of Uni3D.
        group_size: points of a patch: 64 of Uni3D, 32 otherwise.
        points: points of a cloud: 2048 on ScanObjectNN (1024 of these two), 1024 otherwise.
        data: benchmark it was fine-tuned on; told by the number of classes when not given, which is
            40 in files of Point-BERT and MaskPoint for ScanObjectNN, too.
        layout: whose names its tensors have, such as maskpoint; told by them when not given. A
            fine-tuned MaskPoint has Point-BERT's names and other centres.
        head: inputs of the head.
        classes: names of the classes; numbered when not given and not a known benchmark's.
    """

    heads: int | None = None
    groups: int | None = None
    group_size: int | None = None
    points: int | None = None
    data: Literal["", "modelnet40", "scanobjectnn"] = ""
    layout: str = ""
    head: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
