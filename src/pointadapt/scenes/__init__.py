"""Labelling scenes of millions of points: read in pieces, cut into tiles, written back whole.

>>> result = label_scene("city.las", "labelled.las", predict, ("ground", "building", "tree"))
"""

from ._features import Channels
from ._grid import Grid
from ._label import SUFFIXES, SceneLabels, Tiling, label_scene, open_scene
from ._source import SOURCES, Source, source

__all__ = [
    "SOURCES",
    "SUFFIXES",
    "Channels",
    "Grid",
    "SceneLabels",
    "Source",
    "Tiling",
    "label_scene",
    "open_scene",
    "source",
]
