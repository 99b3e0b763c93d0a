"""Words that several configurations choose among."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
Augmentation = Literal["scale_shift", "rotate_z", "rotate", "jitter", "drop"]
