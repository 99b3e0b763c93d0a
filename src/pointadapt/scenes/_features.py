"""What the network is told of each point besides its place: colours, height, any column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import FileFormatError
from ..io.columns import COLORS, XYZ
from ..ops.point_traits import POINT_TRAITS
from ._source import Source

RGB = COLORS[0]


@dataclass(frozen=True)
class Channels:
    """The features that a model takes, and where a file has them.

    "red", "green" and "blue" run from 0 to 1; "x", "y" and "z" are the place within the scene, from
    0 to 1 along each axis; traits of points (:mod:`pointadapt.ops.point_traits`) are made of the
    points around; any other name is a column of the file, as stored.

    Attributes:
        names: the features in the model's order.
        columns: what is read of the file; of colours always all three, which have one scale.
        places: of each feature, its place among the columns, or from -3 that among x, y, z, or
            below that the one among the traits (-4 is the first).
        whole: whether the file has whole numbers as colours, which then end at 255 or 65535.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    places: tuple[int, ...]
    whole: bool

    @classmethod
    def of(cls, names: Sequence[str], source: Source) -> Channels:
        """Find the features ``names`` in a file.

        Raises:
            FileFormatError: it does not have one of them.
        """
        usual = next((t for t in COLORS if set(t) <= set(source.names)), RGB)
        called = {**{name: name for name in names}, **dict(zip(RGB, usual, strict=True))}
        colours = usual if set(names) & set(RGB) else ()
        others = (name for name in names if name not in (*RGB, *XYZ, *POINT_TRAITS))
        columns = tuple(dict.fromkeys((*colours, *others)))
        missing = [name for name in columns if name not in source.names]
        if missing:
            raise FileFormatError(
                f"has no {', '.join(missing)}, which this adapter was trained with; it has: "
                f"{', '.join(source.names) or 'coordinates only'}; add it, or train without it "
                "(--data-options features=NAME,NAME, or features=none)"
            )
        places = (
            XYZ.index(n) - 3 if n in XYZ else -4 - POINT_TRAITS.index(n) if n in POINT_TRAITS
            else columns.index(called[n]) for n in names
        )  # fmt: skip
        return cls(tuple(names), columns, tuple(places), set(usual) <= source.whole)

    @property
    def takes_traits(self) -> bool:
        """Whether traits of points are among the features."""
        return min(self.places, default=0) < -len(XYZ)

    def tops(self, peaks: np.ndarray) -> np.ndarray:
        """(columns,) what each column is divided by, from its largest value: colours to 0..1."""
        colours = [any(name in triple for triple in COLORS) for name in self.columns]
        peak = float(peaks[colours].max(initial=0.0))
        top = 65535.0 if peak > 255 else 255.0 if peak > 1 or self.whole else 1.0
        return np.where(colours, top, 1.0).astype(np.float32)

    def make(
        self, read: np.ndarray, within: np.ndarray, traits: np.ndarray | None = None
    ) -> np.ndarray:
        """(m, C) float32 from the columns (m, columns), the place in the scene (m, 3), and the
        traits (m, T) if any is a feature.
        """
        out = np.empty((len(read), len(self.names)), np.float32)
        for k, place in enumerate(self.places):
            if place < -len(XYZ):
                assert traits is not None
                out[:, k] = traits[:, -4 - place]
            else:
                out[:, k] = within[:, place] if place < 0 else read[:, place]
        return out
