"""Sizes and forms of the Point Transformer V3 family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...core.errors import ConfigError


@dataclass(frozen=True)
class PTv3Config:
    """Constructor of a network of the family; the published names say the same in other words.

    Attributes:
        in_channels: columns of a voxel's features.
        depths: blocks of each encoder stage, finest first.
        channels: width of each.
        heads: attention heads of each.
        patch_sizes: voxels that attend together in each.
        decoder_depths: blocks of each decoder stage, finest first, one fewer; () for an encoder.
        decoder_channels, decoder_heads, decoder_patch_sizes: as for the encoder.
        form: "sonata": linear stem, LayerNorm, cells pooled by coordinates (Sonata, Concerto,
            Utonia); "ptv3": convolution as stem, BatchNorm, cells pooled along the curve.
        arithmetic: of "ptv3": "v1.6" is Pointcept's from v1.6.0 on, "v1.5.1" that of the published
            weights: the convolution of a block but a stage's first reads the MLP branch of the
            block before, and codes have as few bits as the coordinates.
        relative_positions: a table of biases by the difference of coordinates (RPE).
        rope_base: base of rotary embeddings of the real coordinates (Utonia: 10); 0 for none.
        layer_scale: start value of a factor a channel after each branch; 0 for none.
        mask_token: the stem has one, for pre-training.
        conditions: how many sets of norms there are (PPT trains one a data set); 0 for plain norms.
        classes: outputs of a linear layer on the decoder (``seg_head``); 0 for none.
        mlp_ratio: hidden width of an MLP over its width.
        shuffle: blocks take the four curves in an order drawn anew each time, in evaluation too, as
            released; else in the fixed order, so that the same input gives the same features.
        patch_rule: "each": clouds smaller than a patch are one patch, as with flash attention, with
            which the published weights were trained; "min": patches are as small as the smallest
            cloud, as the released code does without it.
    """

    in_channels: int = 9
    depths: tuple[int, ...] = (3, 3, 3, 12, 3)
    channels: tuple[int, ...] = (48, 96, 192, 384, 512)
    heads: tuple[int, ...] = (3, 6, 12, 24, 32)
    patch_sizes: tuple[int, ...] = (1024, 1024, 1024, 1024, 1024)
    decoder_depths: tuple[int, ...] = ()
    decoder_channels: tuple[int, ...] = ()
    decoder_heads: tuple[int, ...] = ()
    decoder_patch_sizes: tuple[int, ...] = ()
    form: Literal["sonata", "ptv3"] = "sonata"
    arithmetic: Literal["v1.6", "v1.5.1"] = "v1.6"
    relative_positions: bool = False
    rope_base: float = 0.0
    layer_scale: float = 0.0
    mask_token: bool = False
    conditions: int = 0
    classes: int = 0
    mlp_ratio: int = 4
    shuffle: bool = False
    patch_rule: Literal["each", "min"] = "each"

    def __post_init__(self) -> None:
        encoder = (self.depths, self.channels, self.heads, self.patch_sizes)
        decoder = (self.decoder_depths, self.decoder_channels, self.decoder_heads,
                   self.decoder_patch_sizes)  # fmt: skip
        _equally_long("", encoder)
        _equally_long("decoder_", decoder)
        if not self.depths or len(self.decoder_depths) not in (0, len(self.depths) - 1):
            raise ConfigError(
                f"{len(self.depths)} encoder stages go with none or one fewer decoder stages, "
                f"not with {len(self.decoder_depths)}"
            )
        if min(self.in_channels, *(min(part, default=1) for part in (*encoder, *decoder))) < 1:
            raise ConfigError("widths, depths, heads and patch sizes must be at least 1")
        pairs = zip((*self.channels, *self.decoder_channels), (*self.heads, *self.decoder_heads),
                    strict=True)  # fmt: skip
        for width, heads in pairs:
            step = 6 * heads if self.rope_base else heads
            if width % step:
                raise ConfigError(f"a width of {width} for {heads} heads: {step} must divide it")

    @property
    def depth_rule(self) -> Literal["next", "own"]:
        """Of the bits of a code, see :func:`.levels.first_level`."""
        return "own" if self.arithmetic == "v1.5.1" else "next"


def _equally_long(start: str, parts: tuple[tuple[int, ...], ...]) -> None:
    if len({len(part) for part in parts}) != 1:
        raise ConfigError(
            f"{start}depths, {start}channels, {start}heads and {start}patch_sizes name one number "
            f"a stage, but are {', '.join(str(len(part)) for part in parts)} long"
        )
