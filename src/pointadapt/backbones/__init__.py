"""Frozen networks that methods adapt, one family a file. See :mod:`pointadapt.backbones.base`."""

from .base import BACKBONES, Backbone, BackboneConfig
from .folding import Folding
from .taps import BlockTaps, Taps
from .tokens import CloudView, Tokens

__all__ = [
    "BACKBONES",
    "Backbone",
    "BackboneConfig",
    "BlockTaps",
    "CloudView",
    "Folding",
    "Taps",
    "Tokens",
]
