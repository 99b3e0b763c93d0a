"""A look inside an adapter: what its scale, its blocks, its prompts and its head's inputs do."""

from .run import inspect, run

__all__ = ["inspect", "run"]
