"""Stem and adapters: an adapter in every block, and the patch encoder, biases and norms trained.

A mix of known parts, chosen by measuring what full fine-tuning has and DAPT lacks in short runs:
AdaptFormer's bottleneck beside the MLP (Chen et al., NeurIPS 2022), the biases (BitFit, Zaken et
al., ACL 2022), the norms (LN-Tune, Basu et al., AAAI 2024), and the network's stem, which turns a
patch of points into a token: it is what meets a new sensor first, and it is small.
"""

from __future__ import annotations

from dataclasses import dataclass

from .adaptformer import AdaptFormer
from .base import METHODS
from .norm import is_norm

STEMS = ("encoder.", "net.stem.")  # of patches, of voxels


@METHODS.register("stem_adapter")
@dataclass(frozen=True)
class StemAdapter(AdaptFormer):
    """AdaptFormer's adapters, and the backbone's stem, biases and norms.

    Trainable on ``small`` with 15 classes: the patch encoder 494,464, the other biases 37,760, the
    scales of 25 LayerNorms 9,600, 12 adapters of 2 D r + r + D = 24,992 make 299,904, CLS and its
    position 768, the head 267,535; in all 1,110,031, 4.96 % of the network with its adapters.

    Attributes:
        rank: width of the adapters.
        scale: of what the adapters add.
        dropout: on the adapters' hidden layer.
        stem: train the patch encoder.
        biases: train every bias of the backbone.
        norms: train the scales of every LayerNorm.
    """

    title = "Stem and adapters"
    trains_together = True
    paper = "this project; the adapters: Chen et al., AdaptFormer, NeurIPS 2022, arXiv 2205.13535"
    stacks = True

    rank: int = 32
    scale: float = 0.1
    dropout: float = 0.0
    stem: bool = True
    biases: bool = True
    norms: bool = True

    def trainable(self, name: str) -> bool:
        if super().trainable(name):
            return True
        if name.startswith(STEMS):
            return self.stem or (self.biases and name.endswith(".bias"))
        return self.biases if name.endswith(".bias") else self.norms and is_norm(name)
