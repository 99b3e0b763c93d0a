"""Words that several configurations choose among."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

Precision = Literal["auto", "fp32", "bf16", "fp16"]  # auto: bf16 where it is computed, not imitated
Augmentation = Literal[
    "scale_shift", "rotate_z", "rotate", "jitter", "noise", "drop", "crop", "one_side", "rings",
    "sparse", "sensor",
]  # fmt: skip
Voting = Literal["probabilities", "released"]

# A number that "auto" leaves to us; a configuration holds 0 for it, so the code sees numbers alone.
if TYPE_CHECKING:
    Fitting = int
else:
    Fitting = int | Literal["auto"]


def votes_text(stated: Mapping[str, Any]) -> str:
    """How results with ``votes`` and ``voting`` came about: "10 votes (mean of probabilities)"."""
    if not stated["votes"]:
        return "no voting"
    means = {
        "probabilities": " (mean of probabilities)",
        "released": " (the released way: points drawn anew, mean of logits)",
    }
    return f"{stated['votes']} votes{means.get(stated.get('voting', ''), '')}"


def together_text(stated: Mapping[str, Any]) -> str:
    """How many runs took the same steps, after other words: ", trained together: 5"; or ""."""
    count = stated.get("trained_together", 1)
    return f", trained together: {count}" if count > 1 else ""
