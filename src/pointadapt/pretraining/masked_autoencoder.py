"""Masked autoencoding of point clouds (Point-MAE, Pang et al., ECCV 2022, §3): the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import BlockTaps, Tokens
from ..backbones.base import small_patches
from ..backbones.layers import Block, init_weights, position_mlp
from ..backbones.point_vit import PointViT
from ..core.errors import ConfigError
from ..core.machine import upload
from ..ops import chamfer_distance, group
from .contrast import contrast, projector

SHOWN = 16  # patches of a second view that are seen


@dataclass
class Reconstruction:
    """What masked autoencoding gives: H hidden patches of k points, relative to their centres.

    Attributes:
        predicted: (B, H, k, 3).
        target: (B, H, k, 3).
        centers: (B, H, 3).
        visible: (B, G - H, k, 3) points of the visible patches, where they are in the cloud.
        logits: (B, classes + attributes), where these are learned too; of two views (2 B, ...).
        classes: how many of the logits are those of classes.
        projected: (2 B, C) features of two views to compare, where views are contrasted.
    """

    predicted: Tensor
    target: Tensor
    centers: Tensor
    visible: Tensor
    logits: Tensor | None
    classes: int = 0
    projected: Tensor | None = None

    def chamfer(self) -> Tensor:
        """Chamfer-L2 distance, mean over all hidden patches (Point-MAE, Eq. 3)."""
        return chamfer_distance(self.predicted.flatten(0, 1), self.target.flatten(0, 1), norm="l2")

    def label_loss(self, labels: Tensor, count: Tensor | float | None = None) -> Tensor:
        """Cross-entropy over the clouds that have a label; those with -1 have none.

        Of two views it is the mean.

        Args:
            labels: (B,) classes.
            count: what the sum is divided by; by default the number of labels. Where processes
                share a batch, the mean of these numbers makes the mean of their losses that of
                the batch.
        """
        if self.logits is None or not self.classes:
            raise ConfigError("this autoencoder was built without classes, so it has no label loss")
        logits = self.logits[:, : self.classes]
        views = len(logits) // len(labels)
        total = F.cross_entropy(logits, labels.repeat(views), ignore_index=-1, reduction="sum")
        return total / views / ((labels >= 0).sum().clamp(min=1) if count is None else count)

    def attribute_loss(self, has: Tensor, known: Tensor) -> Tensor:
        """Binary cross-entropy, summed over the attributes that are known, mean over the clouds.

        Of two views it is the mean.

        Args:
            has: (B, attributes) bool.
            known: (B, attributes) bool.
        """
        if self.logits is None or self.logits.shape[1] == self.classes:
            raise ConfigError(
                "this autoencoder was built without attributes, so it has no such loss"
            )
        logits = self.logits[:, self.classes :]
        views = len(logits) // len(known)
        has, known = has.repeat(views, 1), known.repeat(views, 1)
        each = F.binary_cross_entropy_with_logits(logits, has.to(logits.dtype), reduction="none")
        return (each * known).sum(dim=1).mean()

    def contrast_loss(self) -> Tensor:
        """How badly each view finds its cloud's other one, see :func:`contrast`."""
        if self.projected is None:
            raise ConfigError("this autoencoder compares no views, so it has no contrast loss")
        return contrast(self.projected)


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
        compare: add a fourth, which compares two views of each cloud.

    Raises:
        ConfigError: the mask ratio hides no patch, or all.
    """

    def __init__(
        self, backbone: PointViT, mask_ratio: float = 0.6, decoder_depth: int = 4,
        classes: int = 0, attributes: int = 0, mask_spread: float = 0.0, compare: bool = False,
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
        self.project = projector(2 * c.dim) if compare else None
        self.identity = BlockTaps()
        for name, module in self.named_children():
            if name != "backbone":
                module.apply(init_weights)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(
        self, points: Tensor, generator: torch.Generator, part: int = 0, parts: int = 1,
        view: Tensor | None = None,
    ) -> Reconstruction:  # fmt: skip
        """Hide patches, and reconstruct them from the others.

        Args:
            points: (B, N, 3).
            generator: draws the masks.
            part: which part of a batch of ``parts`` · B clouds these are: the masks of all are
                drawn, so that sharing a batch changes none.
            parts: in how many parts that batch is.
            view: (B, n, 3) another view of the clouds, n at most N.
        """
        c = self.backbone.config
        centers, groups = group(points, c.groups, c.group_size, rule=c.sampling_rule, check=False)
        count = int(self._ratio(generator) * c.groups)
        draw = (generator, part, parts)
        order = _order(len(points), c.groups, points.device, *draw)
        seen, hidden = order[:, count:], order[:, :count]
        rows = torch.arange(len(points), device=points.device).unsqueeze(1)
        shown = [(groups[rows, seen], centers[rows, seen])]
        if view is not None:
            shown.append(self._of_view(view, *draw))
        x, told = self._encode(shown)
        mask = self.mask_token.expand(len(points), count, -1).to(x.dtype)
        pos = self.decoder_pos(centers[rows, torch.cat([seen, hidden], dim=1)])
        x = self._blocks(self.decoder, torch.cat([x, mask], dim=1), pos)
        x = self.predict(self.decoder_norm(x[:, -count:])).float()
        return Reconstruction(
            predicted=x.reshape(len(points), count, c.group_size, 3),
            target=groups[rows, hidden],
            centers=centers[rows, hidden],
            visible=groups[rows, seen] + centers[rows, seen].unsqueeze(2),
            logits=None if self.classify is None else self.classify(told).float(),
            classes=self.classes,
            projected=None if self.project is None or view is None else self.project(told).float(),
        )

    @property
    def tells(self) -> bool:
        """Whether anything is learned from the CLS token."""
        return self.classify is not None or self.project is not None

    def _ratio(self, generator: torch.Generator) -> float:
        if not self.mask_spread:
            return self.mask_ratio
        draw = 2 * float(torch.rand((), generator=generator)) - 1
        return self.mask_ratio + draw * self.mask_spread

    def _of_view(
        self, view: Tensor, generator: torch.Generator, part: int, parts: int
    ) -> tuple[Tensor, Tensor]:
        """Patches of a view and their centres: :data:`SHOWN` of them, smaller ones if it is small.

        Small patches are filled with copies, which change no token, so that all pass the patch
        encoder together: its BatchNorm sees both views at once, as it must serve both later.
        """
        c = self.backbone.config
        small = small_patches(view.shape[1])
        many, size = (min(small.get(k, 10**6), getattr(c, k)) for k in ("groups", "group_size"))
        centers, groups = group(view, many, size, rule=c.sampling_rule, check=False)
        order = _order(len(view), many, view.device, generator, part, parts)[:, :SHOWN]
        rows = torch.arange(len(view), device=view.device).unsqueeze(1)
        copies = torch.arange(c.group_size, device=view.device) % size
        return groups[rows, order][:, :, copies], centers[rows, order]

    def _encode(self, shown: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor | None]:
        """Tokens of the first view's patches, and (views · B, 2 D) what is told of all views.

        That is the CLS token and the maximum of the patches, where something is learned from it.
        """
        net = self.backbone
        x = net.reduce_dim(net.encoder(torch.cat([groups for groups, _ in shown], dim=1)))
        each = x.split([centers.shape[1] for _, centers in shown], dim=1)
        places = [net.pos_embed(centers) for _, centers in shown]
        if not self.tells:
            return net.norm(self._blocks(net.blocks, each[0], places[0])), None
        out = []
        for pair in zip(each, places, strict=True):
            out.append(net.norm(self._blocks(net.blocks, *net.prepend_cls(*pair))))
        told = [torch.cat([x[:, 0], x[:, 1:].max(dim=1).values], dim=1) for x in out]
        return out[0][:, 1:], torch.cat(told)

    def _blocks(self, blocks: Iterable[nn.Module], x: Tensor, pos: Tensor) -> Tensor:
        for block in blocks:
            x = block(Tokens(x=x + pos, centers=pos, pos=pos), self.identity).x
        return x


def _order(
    count: int, patches: int, device: torch.device, generator: torch.Generator, part: int,
    parts: int,
) -> Tensor:  # fmt: skip
    """(``count``, patches) a random order of the patches of each cloud of this part of a batch."""
    luck = torch.rand(parts * count, patches, generator=generator)
    return upload(luck.chunk(parts)[part].argsort(dim=1), device)
