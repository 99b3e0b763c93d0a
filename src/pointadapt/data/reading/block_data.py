"""Data sets of scenes: what they share is how blocks are drawn from the scenes of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ...core.errors import ConfigError, DataLayoutError
from ..base import Clouds, Dataset
from .benchmark import SPLITS, check_choice
from .blocks import (
    CHUNK,
    Block,
    Scene,
    SceneFile,
    draw_blocks,
    generator,
    grid_blocks,
    join,
    shares,
    to_clouds,
)
from .widths import METRE, Width


@dataclass
class BlockData(Dataset):
    """Base of the data sets of scenes. A subclass says where its scenes lie; this cuts them.

    Training blocks lie at random places and are drawn once, when the data are loaded. Test blocks
    lie on a grid, of which ``test_blocks`` are taken at random: the score at the end of training is
    that of a sample, block by block. :meth:`whole_scenes` gives whole scenes.

    A block of 4,096 points takes 80 kB of memory, and 16 kB more for each four features: 1,000
    blocks of s3dis are 180 MB, and while they are joined twice that.

    Attributes:
        points: points of a block.
        block: width of a block in metres.
        stride: from one test block to the next, in metres; half a block lets two to four blocks
            vote for each point.
        blocks: training blocks, shared among scenes by their numbers of points; 0 is the field's
            rule, one for every ``points`` points of the scenes.
        test_blocks: at most so many test blocks of the grids, shared like ``blocks``; 0 takes all.
        least: a training block has more points than this.
    """

    points: int = 4096
    block: Width = METRE
    stride: float = 1.0
    blocks: int = 2000
    test_blocks: int = 1000
    least: int = 1024

    def scenes(self, split: str) -> Sequence[SceneFile]:
        """The scenes of ``split``, not yet read."""
        raise NotImplementedError

    def label_names(self) -> tuple[str, ...]:
        """What labels are called; known once :meth:`scenes` has been asked."""
        raise NotImplementedError

    def feature_names(self) -> tuple[str, ...]:
        """What features are called; known once :meth:`scenes` has been asked."""
        raise NotImplementedError

    def load(self, split: str) -> Clouds:
        """Blocks of ``split`` ("train" or "test") with ``parts``, the label of each point.

        Raises:
            DataLayoutError: something needed is missing under ``root``.
            FileFormatError: a file is damaged, of the wrong kind, or has a label out of range.
            PointCloudError: NaN or infinite coordinates, or a scene too sparse for its blocks.
            ConfigError, UnknownNameError: an option or split that does not exist.
        """
        files = self._found(split)
        total = sum(file.count for file in files)
        train = split == "train"
        most = (self.blocks or max(1, total // self.points)) if train else self.test_blocks
        counts = shares([file.count for file in files], most) if most else [0] * len(files)
        parts = []
        for file, count in zip(files, counts, strict=True):
            scene = file.open()
            rng = generator(self.seed, SPLITS.index(split), scene.name)
            if train:
                blocks = draw_blocks(scene, count, self.points, self.block, self.least, rng)
            else:
                blocks = list(grid_blocks(scene, self.points, self.block, self.stride, rng, count))
            parts.append(self._clouds(scene, blocks))
        return join(parts)

    def whole_scenes(
        self, split: str
    ) -> Iterator[tuple[Scene, Iterator[tuple[np.ndarray, Clouds]]]]:
        """Each scene of ``split`` with blocks that together hold all its points.

        The blocks come some at a time, with the indices (b, N) of their points in the scene, so
        that memory is bounded by the largest scene.
        """
        for file in self._found(split):
            scene = file.open()
            rng = generator(self.seed, SPLITS.index(split), scene.name)
            yield scene, self._some(scene, rng)

    def _some(self, scene: Scene, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, Clouds]]:
        every = grid_blocks(scene, self.points, self.block, self.stride, rng)
        while blocks := list(islice(every, CHUNK)):
            yield np.stack([block.index for block in blocks]), self._clouds(scene, blocks)

    def _clouds(self, scene: Scene, blocks: Sequence[Block]) -> Clouds:
        return to_clouds(scene, blocks, self.label_names(), self.feature_names())

    def _found(self, split: str) -> Sequence[SceneFile]:
        check_choice("split", split, SPLITS)
        if min(self.points, self.seed + 1, self.blocks + 1, self.test_blocks + 1, self.least) < 1:
            raise ConfigError(
                f"points={self.points}, seed={self.seed}, blocks={self.blocks}, test_blocks="
                f"{self.test_blocks}, least={self.least}: none below 0, points and least from 1"
            )
        self._check_width()
        files = self.scenes(split)
        if not files:
            raise DataLayoutError(f"{self.root}: no scene for the split {split!r}. {self.where}")
        return files

    def _check_width(self) -> None:
        if not (self.block > 0 and 0 < self.stride <= self.block):
            raise ConfigError(
                f"block={self.block:g}, stride={self.stride:g}: metres above 0, and a stride no "
                "longer than a block, or points would be left out"
            )
