"""Frozen networks that methods adapt, one family a file. See :mod:`pointadapt.backbones._base`."""

from ._base import BACKBONES, Backbone, BackboneConfig, Tokens
from ._fold import Folding
from ._taps import BlockTaps, Taps

__all__ = ["BACKBONES", "Backbone", "BackboneConfig", "BlockTaps", "Folding", "Taps", "Tokens"]
