"""Encoder and decoder of the Point Transformer V3 family (Wu et al., CVPR 2024).

Sonata (CVPR 2025), Concerto (NeurIPS 2025) and Utonia are encoders of this form that were
pre-trained without labels; Pointcept's segmentor is encoder, decoder and a linear layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..layers import DropPath
from ..taps import Taps
from .attention import PatchAttention
from .blocks import ConditionNorm, ConvStem, Down, LinearStem, Norms, Up, VoxelBlock
from .config import PTv3Config
from .levels import Draw, Level, Voxels, first_level, fixed, pool_cells, pool_curve, shuffled


@dataclass(frozen=True)
class Pyramid:
    """Features of all stages.

    Attributes:
        levels: of each encoder stage, finest first.
        features: (N_s, C_s) of each.
        decoded: (N, C) of the finest level after the decoder; None without one.
    """

    levels: tuple[Level, ...]
    features: tuple[Tensor, ...]
    decoded: Tensor | None = None

    def upcast(self, stages: int | None = None) -> Tensor:
        """Features of the input's voxels: each stage's beside those of the coarser ones.

        Args:
            stages: how many finer stages join the last one (the papers' demos take 2), all by
                default; above these, features are handed down only.

        Returns:
            (N, the sum of their widths), finer stages first.
        """
        out = self.features[-1]
        steps = len(self.features) - 1
        joined = steps if stages is None else stages
        for step, stage in enumerate(range(steps, 0, -1)):
            pool = self.levels[stage].pool
            assert pool is not None
            out = out.index_select(0, pool.cluster)
            if step < joined:
                out = torch.cat([self.features[stage - 1].to(out.dtype), out], dim=1)
        return out


class Stage(nn.Module):
    """Blocks of one resolution; block j follows curve j mod 4.

    Args:
        blocks: of this stage.
        down: pooling before them, none in the first encoder stage.
        up: unpooling before them, in a decoder.
        reads_branch: see ``arithmetic`` of :class:`PTv3Config`.
    """

    def __init__(
        self, blocks: Iterable[VoxelBlock], *, down: Down | None = None, up: Up | None = None,
        reads_branch: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.down, self.up = down, up
        self.blocks, self.reads_branch = nn.ModuleList(blocks), reads_branch

    def forward(
        self, x: Tensor, level: Level, taps: Taps | None = None, seen: Tensor | None = None
    ) -> Tensor:
        """(N, C) features through all blocks; the first one's convolution reads ``seen``.

        To the taps, a stage is a backbone: ``patch_out`` sees what enters its blocks, ``norm_out``
        what leaves them.
        """
        taps = taps if taps is not None else Taps(len(self.blocks))
        x = taps.patch_out(x.unsqueeze(0)).squeeze(0)
        for j, (block, own) in enumerate(zip(self.blocks, taps.blocks, strict=True)):
            x, branch = block(x, level, j % 4, own, seen)
            seen = branch if self.reads_branch else None
        return taps.norm_out(x.unsqueeze(0)).squeeze(0)


class PTv3(nn.Module):
    """The network of a :class:`PTv3Config`."""

    def __init__(self, config: PTv3Config) -> None:
        super().__init__()
        self.config = c = config
        sonata = c.form == "sonata"
        norms = Norms(batch=not sonata, conditions=c.conditions)
        first = c.channels[0]
        self.stem = (
            LinearStem(c.in_channels, first, c.mask_token)
            if sonata else ConvStem(c.in_channels, first, norms)
        )  # fmt: skip
        self.stages: Any = nn.ModuleList()
        self.decoder: Any = nn.ModuleList()
        for s, dim in enumerate(c.channels):
            down = Down(c.channels[s - 1], dim, norms) if s else None
            own = _blocks(c, norms, c.depths[s], dim, c.heads[s], c.patch_sizes[s])
            self.stages.append(Stage(own, down=down, reads_branch=c.arithmetic == "v1.5.1"))
        coarser = (*c.decoder_channels, c.channels[-1])
        for s, (dim, coarse) in enumerate(pairwise(coarser)):
            up = Up(coarse, c.channels[s], dim, norms)
            own = _blocks(c, norms, c.decoder_depths[s], dim, c.decoder_heads[s],
                          c.decoder_patch_sizes[s])  # fmt: skip
            self.decoder.append(Stage(own, up=up, reads_branch=c.arithmetic == "v1.5.1"))
        width = c.decoder_channels[0] if c.decoder_channels else c.channels[-1]
        self.head = nn.Linear(width, c.classes) if c.classes else None

    def forward(
        self, voxels: Voxels, taps: Iterable[Any] | None = None, mask: Tensor | None = None,
        draw: Draw | None = None,
    ) -> Pyramid:  # fmt: skip
        """Features of all stages.

        Args:
            voxels: the input.
            taps: :class:`Taps` of each stage, the encoder's, then the decoder's from the coarsest.
            mask: (N,) bool, where the stem's mask token takes the features' place.
            draw: in which order blocks take the curves; as the configuration says by default.
        """
        c, draw = self.config, draw or (shuffled if self.config.shuffle else fixed)
        own = repeat(None) if taps is None else iter(taps)
        level = first_level(voxels, c.depth_rule, draw)
        x = self.stem(voxels.features, level, mask)
        levels, features = [], []
        for stage in self.stages:
            if stage.down is not None:
                level = self.coarser(level, draw)
                x = stage.down(x, level.pool)
            x = stage(x, level, next(own))
            levels.append(level)
            features.append(x)
        decoded = self.decode(levels, features, own) if len(self.decoder) else None
        return Pyramid(tuple(levels), tuple(features), decoded)

    def coarser(self, level: Level, draw: Draw) -> Level:
        """The next level."""
        if self.config.form == "sonata":
            return pool_cells(level, self.config.depth_rule, draw)
        return pool_curve(level, draw)

    def decode(
        self, levels: list[Level], features: list[Tensor], taps: Iterator[Taps | None]
    ) -> Tensor:
        """Features (N, C) of the finest level, from those of all stages.

        In the form "ptv3" the first convolution of a stage reads the skip half alone: so does the
        released code.
        """
        x = features[-1]
        for s in range(len(self.decoder) - 1, -1, -1):
            stage = self.decoder[s]
            x, skip = stage.up(x, features[s], levels[s + 1].pool)
            x = stage(x, levels[s], next(taps), skip if self.config.form == "ptv3" else None)
        return x

    def logits(self, pyramid: Pyramid) -> Tensor:
        """(N, classes) of the decoder's features, or of the last stage's without one."""
        assert self.head is not None
        return self.head(pyramid.features[-1] if pyramid.decoded is None else pyramid.decoded)

    def set_condition(self, number: int) -> None:
        """Use the norms of condition ``number`` (see ``conditions`` of :class:`PTv3Config`)."""
        for module in self.modules():
            if isinstance(module, ConditionNorm):
                module.chosen = number

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth: from 0 at the encoder's first block to ``rate`` at its last, and so in
        the decoder, whose last block is its finest one's first.
        """
        for stages, ends in ((self.stages, (0, rate)), (self.decoder, (0, rate))):
            blocks = [block for stage in stages for block in stage.blocks]
            for block, value in zip(blocks, np.linspace(*ends, len(blocks)).tolist(), strict=True):
                for module in block.modules():
                    if isinstance(module, DropPath):
                        module.rate = value


def _blocks(
    c: PTv3Config, norms: Norms, depth: int, dim: int, heads: int, size: int
) -> list[VoxelBlock]:
    def one() -> VoxelBlock:
        attn = PatchAttention(
            dim, heads, size, relative=c.relative_positions, rope_base=c.rope_base,
            smallest=c.patch_rule == "min",
        )  # fmt: skip
        return VoxelBlock(dim, attn, c.mlp_ratio * dim, norms, c.layer_scale)

    return [one() for _ in range(depth)]
