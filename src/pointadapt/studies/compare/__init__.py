"""The board: many methods under one protocol on one machine, in one table and one picture."""

from ...core.config.compare import CompareConfig
from .run import compare

__all__ = ["CompareConfig", "compare"]
