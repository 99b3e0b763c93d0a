"""What masked autoencoding gives, and the losses of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..core.errors import ConfigError
from ..ops import chamfer_distance
from .contrast import contrast


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
