"""What a backbone is: points in, :class:`Tokens` out, with taps on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..core.errors import ConfigError
from ..core.fields import at_least
from ..core.plain import shown
from ..core.registry import Registry
from .memory import again, instead
from .taps import Taps
from .tokens import CloudView, Tokens

SPARSE = 512  # points of a cloud, from which on a backbone's own patches are used
SITES = ("points_in", "patch_out", "tokens_in", "norm_out", "tokens_out")  # outside blocks


@dataclass(frozen=True)
class BackboneConfig:
    """Size and grouping of a backbone; written beside its weights.

    Attributes:
        dim: token width D.
        depth: number of transformer blocks.
        heads: attention heads; must divide ``dim``.
        groups: number of patches G of a cloud.
        group_size: points k of a patch.
        sampling_rule: farthest point sampling as defined ("plain"), or with the CUDA kernel's
            skipping of points near the origin ("pointnet2"), as most published weights are trained.
        qkv_bias: the attention's joint projection has a bias, which pre-training had not: folding
            adds it where a method shifts queries, keys or values.
        patch_sign: patch tokens are multiplied by a sign a channel, which folding adds where a
            factor is negative, since a maximum comes before it.
    """

    dim: int = 384
    depth: int = 12
    heads: int = 6
    groups: int = 128
    group_size: int = 32
    sampling_rule: Literal["plain", "pointnet2"] = "pointnet2"
    qkv_bias: bool = False
    patch_sign: bool = False

    def __post_init__(self) -> None:
        at_least(self, 1, "dim", "depth", "heads", "groups", "group_size")
        widths = getattr(self, "encoder_widths", ())  # of those that have our patch encoder
        if min(widths, default=1) < 1:
            raise ConfigError(f"encoder_widths must be at least 1, not {shown(widths)}")
        if self.dim % self.heads:
            raise ConfigError(f"{self.heads} heads do not divide a width of {self.dim}")

    @property
    def hidden(self) -> int:
        """Width before the second layer of a block's MLP, 4 D in most families."""
        return 4 * self.dim

    @property
    def fc1(self) -> int:
        """Width of the output of an MLP's first layer, more than ``hidden`` where it is gated."""
        return self.hidden

    def check_points(self, points: int) -> None:
        """Refuse clouds of ``points`` points if they cannot be cut into these patches.

        Raises:
            ConfigError: there are more patches, or more points in one, than that.
        """
        if points < max(self.groups, self.group_size):
            raise ConfigError(
                f"clouds of {points} points are too small for {self.groups} patches of "
                f"{self.group_size}: raise --points, or lower --groups and --group-size"
            )


def small_patches(points: int) -> dict[str, int]:
    """Patches for clouds of fewer than :data:`SPARSE` points; nothing for others, or unknown ones.

    16 of a quarter of the points, 32 at most (docs/decisions/points-of-small-clouds.md).
    """
    return {"groups": 16, "group_size": min(points // 4, 32)} if 0 < points < SPARSE else {}


class Backbone(nn.Module):
    """Base of all backbones.

    Class attributes:
        name: the family's name in the registry.
        config_class: its configuration dataclass.
        sizes: size name -> configuration.
        optional: tensors that a weights file may lack, since pre-training has none.
        fold_layers: site -> the frozen layer whose output the site's tap sees, for folding; "{}"
            stands for the block's number. Empty where what follows such a layer is not its tap.
        positions_enter: how the position embedding enters whatever a method asks for; "" where
            ``Taps.position`` says it.
        sites: sites outside blocks that it calls, or each of its stages does; those of a block all
            families have.
        pointwise: a token for each point, whose ``centers`` are the points as heads take them.

    Attributes:
        config: the configuration.
        takes: names of the features of points that it is given besides coordinates, as data sets
            call them.
        metric: its coordinates keep their unit, metres; else they are prepared as data sets say.
        base_keys: names of the tensors that came from its weights file, all when random. Others
            (a CLS token that pre-training did not have) belong to each adapter.
        seed: what fixed the tensors that came from no file.
        fingerprint: sha256 over those tensors; an adapter fits one fingerprint only.
    """

    name: ClassVar[str] = ""
    config_class: ClassVar[type[BackboneConfig]] = BackboneConfig
    sizes: ClassVar[dict[str, Any]] = {}
    optional: ClassVar[tuple[str, ...]] = ()
    positions_enter: ClassVar[Literal["", "once"]] = ""
    sites: ClassVar[tuple[str, ...]] = SITES
    pointwise: ClassVar[bool] = False
    takes: tuple[str, ...] = ()
    metric: bool = False
    fold_layers: ClassVar[Mapping[str, str]] = {
        "patch_out": "encoder.linear4", "norm_out": "norm",
        "norm1": "blocks.{}.norm1", "qkv": "blocks.{}.attn.qkv", "proj": "blocks.{}.attn.proj",
        "norm2": "blocks.{}.norm2", "fc1": "blocks.{}.mlp.fc1", "fc2": "blocks.{}.mlp.fc2",
    }  # fmt: skip

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config: Any = config
        self.base_keys: tuple[str, ...] = ()
        self.fingerprint = ""
        self.seed = 0

    def stage_views(self) -> Sequence[Any]:
        """Its stages as backbones of one width each, in the order of the forward.

        Empty for a family of one width, which is a backbone itself.
        """
        return ()

    def check_one_width(self, what: str) -> None:
        """Refuse ``what`` for a family of stages.

        Raises:
            ConfigError: it is one.
        """
        if self.stage_views():
            raise ConfigError(
                f"{what} is written for backbones of one width and a fixed number of tokens, which "
                f"{self.name} has not"
            )

    def fold_layer(self, site: str) -> str:
        """Of ``fold_layers``, "" where there is none."""
        return self.fold_layers.get(site, "")

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth of ``rate`` at the last block, 0 at the first."""
        raise NotImplementedError

    def position(self, centers: Tensor) -> Tensor:
        """Position embedding of places (B, G, 3), which need be no patch's centres: (B, G, D)."""
        raise NotImplementedError

    def patches(self, points: Tensor, groups: int, group_size: int) -> Tokens:
        """(B, N, 3) points cut into ``groups`` patches of ``group_size`` points, embedded.

        No prefix, and position embeddings not yet added.
        """
        raise NotImplementedError

    def embed(self, points: Tensor, taps: Taps) -> Tokens:
        """(B, N, 3) points to the whole sequence, before positions are added."""
        raise NotImplementedError

    def begin(self, points: Tensor, taps: Taps) -> Tokens:
        """What every forward starts with: the taps of the cloud, ``embed``, those of the tokens."""
        points, memo = taps.points_in(points)
        tokens = replace(self.embed(points, taps), most_prompts=taps.most_prompts)
        return taps.tokens_in(tokens, CloudView(self, points, memo))

    def forward(
        self, points: Tensor, taps: Taps | None = None, features: Tensor | None = None
    ) -> Tokens:
        """Tokens after the last LayerNorm.

        Args:
            points: (B, N, 3), N at least the number of groups and the group size.
            taps: what a method adds; nothing when None.
            features: (B, N, F) what it ``takes`` of each point; families that take nothing are not
                given any.
        """
        del features
        taps = taps if taps is not None else Taps(self.config.depth)
        return self.encode(self.begin(points, taps), taps)

    def __call__(
        self, points: Tensor, taps: Taps | None = None, features: Tensor | None = None
    ) -> Tokens:
        """:meth:`forward`, on the network that the taps name."""
        net = self if taps is None else taps.host(self)
        given = () if features is None else (features,)
        return super(Backbone, net).__call__(points, taps, *given)

    def normalised(self, x: Tensor) -> Tensor:
        """(B, T, D) features of a block as its LayerNorm after the last block gives them."""
        return self.norm(x)  # type: ignore[operator]

    def encode(self, tokens: Tokens, taps: Taps) -> Tokens:
        """What every forward ends with: positions, all blocks, the final LayerNorm.

        The tokens after the blocks of ``taps.wanted`` come back as ``hidden``, each through the
        same LayerNorm and tap, as segmentation heads take them.
        """
        kept = []
        position = self.positions_enter or taps.position
        if position == "once":
            tokens = replace(tokens, x=tokens.x + tokens.pos, pos=tokens.pos[..., :0])
        blocks: Any = self.blocks
        for number, (block, block_taps) in enumerate(zip(blocks, taps.blocks, strict=True)):
            if position == "every_block":
                x = tokens.x + tokens.pos
                instead(tokens.x, torch.sub, x, tokens.pos)
                tokens = tokens.with_x(x)
            tokens = block(tokens, block_taps)
            if number in taps.wanted:
                kept.append(tokens)
        *hidden, last = (
            t.with_x(taps.norm_out(again(self.normalised, t.x))) for t in (*kept, tokens)
        )
        return taps.tokens_out(replace(last, hidden=tuple(hidden)))

    def seal(self, base_keys: Iterable[str] | None = None) -> Backbone:
        """Note which tensors are the backbone's own, and take their fingerprint."""
        self.base_keys = tuple(sorted(base_keys if base_keys is not None else self.state_dict()))
        self.fingerprint = self.sha256()
        return self

    def sha256(self) -> str:
        """sha256 over the backbone's own tensors as they are now."""
        state = self.state_dict()
        return tensors_sha256({key: state[key] for key in self.base_keys})


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and values (float32 bytes), whatever the file's layout."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu()
        value = value.float() if value.is_floating_point() else value.long()
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


BACKBONES: Registry[Backbone] = Registry(
    "backbone", "pointadapt.backbones", "pointadapt.backbones", "pointadapt.backbones.published"
)
