"""Masked autoencoding of point clouds (Point-MAE, Pang et al., ECCV 2022, §3): the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..backbones import BlockTaps, Tokens
from ..backbones.base import small_patches
from ..backbones.layers import Block, init_weights, position_mlp
from ..backbones.point_vit import PointViT
from ..core.errors import ConfigError
from ..core.machine import upload
from ..ops import group
from .contrast import projector
from .reconstruction import Reconstruction

SHOWN = 16  # patches of a second view that are seen


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

    def masks(
        self, clouds: int, generator: torch.Generator, part: int = 0, parts: int = 1,
        view_points: int = 0,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Draw which patches are seen, and which are hidden: what :meth:`forward` takes by name.

        Drawn on the CPU, so that one seed gives the same masks on any device.

        Args:
            clouds: B.
            generator: draws.
            part: which part of a batch of ``parts`` · B clouds these are: the masks of all are
                drawn, so that sharing a batch changes none.
            parts: in how many parts that batch is.
            view_points: of another view; 0 for none.
        """
        c = self.backbone.config
        count = int(self._ratio(generator) * c.groups)
        draw, device = (generator, part, parts), self.mask_token.device
        order = _order(clouds, c.groups, *draw)
        out = {"seen": order[:, count:], "hidden": order[:, :count]}
        if view_points:
            out["view_seen"] = _order(clouds, self._of_view(view_points)[0], *draw)[:, :SHOWN]
        return {name: upload(some.contiguous(), device) for name, some in out.items()}

    def forward(
        self, points: Tensor, seen: Tensor, hidden: Tensor, view: Tensor | None = None,
        view_seen: Tensor | None = None,
    ) -> Reconstruction:  # fmt: skip
        """Reconstruct the hidden patches from the others.

        Args:
            points: (B, N, 3).
            seen: (B, G - H) the patches that are shown, as :meth:`masks` draws them.
            hidden: (B, H) the others.
            view: (B, n, 3) another view of the clouds, n at most N.
            view_seen: (B, SHOWN or fewer) the patches of it that are shown.
        """
        c = self.backbone.config
        centers, groups = group(points, c.groups, c.group_size, rule=c.sampling_rule, check=False)
        rows, count = _rows(points), hidden.shape[1]
        shown = [(groups[rows, seen], centers[rows, seen])]
        if view is not None and view_seen is not None:
            shown.append(self._shown_of_view(view, view_seen))
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

    def _of_view(self, points: int) -> list[int]:
        """How many patches a view of so many points has, and of how many points."""
        c, small = self.backbone.config, small_patches(points)
        return [min(small.get(k, 10**6), getattr(c, k)) for k in ("groups", "group_size")]

    def _shown_of_view(self, view: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """The patches ``seen`` of a view, and their centres.

        Small patches are filled with copies, which change no token, so that all pass the patch
        encoder together: its BatchNorm sees both views at once, as it must serve both later.
        """
        c = self.backbone.config
        many, size = self._of_view(view.shape[1])
        centers, groups = group(view, many, size, rule=c.sampling_rule, check=False)
        copies = torch.arange(c.group_size, device=view.device) % size
        return groups[_rows(view), seen][:, :, copies], centers[_rows(view), seen]

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


def _rows(x: Tensor) -> Tensor:
    """(B, 1) the clouds of (B, ...), to index beside patches (B, P)."""
    return torch.arange(len(x), device=x.device).unsqueeze(1)


def _order(
    count: int, patches: int, generator: torch.Generator, part: int, parts: int
) -> Tensor:  # fmt: skip
    """(``count``, patches) a random order of the patches of each cloud of this part of a batch."""
    luck = torch.rand(parts * count, patches, generator=generator)
    return luck.chunk(parts)[part].argsort(dim=1)
