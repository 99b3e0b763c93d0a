"""Frozen networks that methods adapt, one family a file. See :mod:`pointadapt.backbones.base`."""

from .base import BACKBONES, Backbone, BackboneConfig, Scene, Tokens
from .folding import Folding
from .taps import BlockTaps, Taps

__all__ = [
    "BACKBONES",
    "Backbone",
    "BackboneConfig",
    "BlockTaps",
    "Folding",
    "Scene",
    "Taps",
    "Tokens",
]
