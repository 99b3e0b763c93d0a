"""The board: many methods under one protocol on one machine, in one table and one picture."""

from .run import CompareConfig, compare

__all__ = ["CompareConfig", "compare"]
