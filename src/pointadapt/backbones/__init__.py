"""Frozen networks that methods adapt, one family a file. See :mod:`pointadapt.backbones.base`."""

from .base import BACKBONES, Backbone, BackboneConfig, Scene
from .folding import Folding
from .taps import BlockTaps, Taps
from .tokens import Tokens

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
