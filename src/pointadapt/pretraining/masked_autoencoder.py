"""Masked autoencoding of point clouds (Point-MAE, Pang et al., ECCV 2022, §3): the network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import BlockTaps, Tokens
from ..backbones.layers import Block, init_weights, position_mlp
from ..backbones.point_vit import PointViT
from ..core.errors import ConfigError
from ..core.machine import upload
from ..ops import chamfer_distance, group


@dataclass
class Reconstruction:
    """What masked autoencoding gives: H hidden patches of k points, relative to their centres.

    Attributes:
        predicted: (B, H, k, 3).
        target: (B, H, k, 3).
        centers: (B, H, 3).
        visible: (B, G - H, k, 3) points of the visible patches, where they are in the cloud.
        logits: (B, classes + attributes), where these are learned too.
        classes: how many of the logits are those of classes.
    """

    predicted: Tensor
    target: Tensor
    centers: Tensor
    visible: Tensor
    logits: Tensor | None
    classes: int = 0

    def chamfer(self) -> Tensor:
        """Chamfer-L2 distance, mean over all hidden patches (Point-MAE, Eq. 3)."""
        return chamfer_distance(self.predicted.flatten(0, 1), self.target.flatten(0, 1), norm="l2")

    def label_loss(self, labels: Tensor, count: Tensor | float | None = None) -> Tensor:
        """Cross-entropy over the clouds that have a label; those with -1 have none.

        Args:
            labels: (B,) classes.
            count: what the sum is divided by; by default the number of labels. Where processes
                share a batch, the mean of these numbers makes the mean of their losses that of
                the batch.
        """
        if self.logits is None or not self.classes:
            raise ConfigError("this autoencoder was built without classes, so it has no label loss")
        logits = self.logits[:, : self.classes]
        total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        return total / ((labels >= 0).sum().clamp(min=1) if count is None else count)

    def attribute_loss(self, has: Tensor, known: Tensor) -> Tensor:
        """Binary cross-entropy, summed over the attributes that are known, mean over the clouds.

        Args:
            has: (B, attributes) bool.
            known: (B, attributes) bool.
        """
        if self.logits is None or self.logits.shape[1] == self.classes:
            raise ConfigError(
                "this autoencoder was built without attributes, so it has no such loss"
            )
        logits = self.logits[:, self.classes :]
        each = F.binary_cross_entropy_with_logits(logits, has.to(logits.dtype), reduction="none")
        return (each * known).sum(dim=1).mean()


class MaskedAutoencoder(nn.Module):
    """A backbone, a mask token and a light decoder that reconstructs the hidden patches (§3).

    Only visible patches pass the patch encoder: the hidden ones' tokens would be thrown away. The
    published code embeds all first, which differs in BatchNorm's batch statistics alone.

    Args:
        backbone: what is pre-trained.
        mask_ratio: share of patches that are hidden.
        decoder_depth: blocks of the decoder.
        classes: more than 0 adds a second task, naming the class from the CLS token and the visible
            patches; 0 is Point-MAE, in which the CLS token takes no part.
        attributes: more than 0 adds a third, telling from the same which attributes a cloud has.
        mask_spread: the ratio of each step is drawn from ``mask_ratio`` ± this.

    Raises:
        ConfigError: the mask ratio hides no patch, or all.
    """

    def __init__(
        self, backbone: PointViT, mask_ratio: float = 0.6, decoder_depth: int = 4,
        classes: int = 0, attributes: int = 0, mask_spread: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        c = backbone.config
        self.mask_ratio, self.mask_spread = mask_ratio, mask_spread
        for ratio in (mask_ratio - mask_spread, mask_ratio + mask_spread):
            if not 0 < int(ratio * c.groups) < c.groups:
                raise ConfigError(
                    f"a mask ratio of {ratio} hides {int(ratio * c.groups)} of {c.groups} patches"
                )
        self.backbone = backbone
        self.mask_token = nn.Parameter(torch.zeros(1, 1, c.dim))
        self.decoder_pos = position_mlp(c.dim)
        self.decoder = nn.ModuleList(Block(c.dim, c.heads) for _ in range(decoder_depth))
        self.decoder_norm = nn.LayerNorm(c.dim)
        self.predict = nn.Linear(c.dim, 3 * c.group_size)
        self.classes = classes
        told = classes + attributes
        self.classify = nn.Linear(2 * c.dim, told) if told else None
        self.identity = BlockTaps()
        for name, module in self.named_children():
            if name != "backbone":
                module.apply(init_weights)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(
        self, points: Tensor, generator: torch.Generator, part: int = 0, parts: int = 1
    ) -> Reconstruction:
        """Hide patches, and reconstruct them from the others.

        Args:
            points: (B, N, 3).
            generator: draws the masks.
            part: which part of a batch of ``parts`` · B clouds these are: the masks of all are
                drawn, so that sharing a batch changes none.
            parts: in how many parts that batch is.
        """
        c = self.backbone.config
        centers, groups = group(points, c.groups, c.group_size, rule=c.sampling_rule, check=False)
        count = int(self._ratio(generator) * c.groups)
        luck = torch.rand(parts * len(points), c.groups, generator=generator)
        order = luck.chunk(parts)[part].argsort(dim=1)
        order = upload(order, points.device)
        seen, hidden = order[:, count:], order[:, :count]
        rows = torch.arange(len(points), device=points.device).unsqueeze(1)
        x, logits = self._encode(groups[rows, seen], centers[rows, seen])
        mask = self.mask_token.expand(len(points), count, -1).to(x.dtype)
        pos = self.decoder_pos(centers[rows, torch.cat([seen, hidden], dim=1)])
        x = self._blocks(self.decoder, torch.cat([x, mask], dim=1), pos)
        x = self.predict(self.decoder_norm(x[:, -count:])).float()
        return Reconstruction(
            predicted=x.reshape(len(points), count, c.group_size, 3),
            target=groups[rows, hidden],
            centers=centers[rows, hidden],
            visible=groups[rows, seen] + centers[rows, seen].unsqueeze(2),
            logits=logits,
            classes=self.classes,
        )

    def _ratio(self, generator: torch.Generator) -> float:
        if not self.mask_spread:
            return self.mask_ratio
        draw = 2 * float(torch.rand((), generator=generator)) - 1
        return self.mask_ratio + draw * self.mask_spread

    def _encode(self, groups: Tensor, centers: Tensor) -> tuple[Tensor, Tensor | None]:
        """Tokens of the visible patches, and class logits where classes are learned."""
        net = self.backbone
        x, pos = net.reduce_dim(net.encoder(groups)), net.pos_embed(centers)
        if self.classify is None:
            return net.norm(self._blocks(net.blocks, x, pos)), None
        x, pos = net.prepend_cls(x, pos)
        x = net.norm(self._blocks(net.blocks, x, pos))
        cls, patches = x[:, 0], x[:, 1:]
        logits = self.classify(torch.cat([cls, patches.max(dim=1).values], dim=1))
        return patches, logits.float()

    def _blocks(self, blocks: Iterable[nn.Module], x: Tensor, pos: Tensor) -> Tensor:
        for block in blocks:
            x = block(Tokens(x=x + pos, centers=pos, pos=pos), self.identity).x
        return x
