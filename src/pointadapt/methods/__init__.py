"""Ways to adapt a backbone, one paper a file. See :mod:`pointadapt.methods.base`."""

from .base import METHODS, Method, make_method

__all__ = ["METHODS", "Method", "make_method"]
