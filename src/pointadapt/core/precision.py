"""Number formats: which one this machine computes in.

Many processors only imitate bfloat16, which takes tens of times as long as float32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from .config.words import Precision
from .notes import note

C = TypeVar("C")


def computes_bf16() -> bool:
    """Whether the GPU that is there, or else the processor, computes in bfloat16."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def best_precision() -> Precision:
    """bfloat16 where the device computes in it, else float32."""
    return "bf16" if computes_bf16() else "fp32"


def chosen(asked: Precision) -> Precision:
    """What is computed in: "auto" is :func:`best_precision`; a slow choice is noted."""
    if asked == "auto":
        return best_precision()
    if asked == "bf16" and not computes_bf16():
        note(
            "this device only imitates bfloat16, which is much slower than float32: use "
            "--precision auto or fp32"
        )
    return asked


def at_hand(trained: Precision) -> Precision:
    """The format of a training run for a model that is used here: float32 where it is imitated."""
    return "fp32" if trained == "bf16" and not computes_bf16() else chosen(trained)


def settled(config: C) -> C:
    """``config`` with a :func:`chosen` precision, if it has one: what a run records."""
    asked: Any = getattr(config, "precision", None)
    if asked is None or (precision := chosen(asked)) == asked:
        return config
    return replace(config, precision=precision)  # type: ignore[type-var]
