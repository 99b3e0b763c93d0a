"""Uni3D (Zhou et al., ICLR 2024, arXiv 2310.06773): clouds in the space of CLIP's images and texts.

Patches of coordinates and colours go through a mini-PointNet, then through an image transformer
(EVA, EVA-02) that was trained on with them. A linear layer takes the CLS token to the width of the
text embeddings, so that names alone classify (``pointadapt predict --zero-shot``).

In the released code positions are added once, LayerNorms have ε = 1e-6, and keys have no bias. Here
queries, keys and values are one layer, whose bias is zero for the keys, and the two halves of a
gated MLP are one. The parts of the image transformer that clouds never pass are not built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ConfigError, PointCloudError
from ..ops import farthest_point_sample, gather_points, group, knn
from .base import BACKBONES
from .layers import Block, Mlp, PatchEncoder
from .memory import again
from .point_vit import PointViT, PointViTConfig
from .published.layouts import ENCODER, Layout, add_layouts, sizes, starting, swap, width, widths
from .published.tags import Tag, add_tags
from .taps import BlockTaps
from .tokens import Tokens

if TYPE_CHECKING:
    from ..core.config import Published

GREY = 0.4  # the colour of clouds without one, in evaluation and in half of training
EPSILON = 1e-6


@dataclass(frozen=True)
class Uni3DConfig(PointViTConfig):
    """Adds what the image transformers differ in.

    Attributes:
        mlp: "swiglu": SiLU(u) ⊙ w of the first layer's halves u and w; "swiglu_norm": that, then a
            LayerNorm; "gelu": GELU.
        mlp_hidden: width before the MLP's second layer; 0 for ⌊8 D / 3⌋.
        embedding: width of the embeddings of clouds and texts.
    """

    groups: int = 512
    group_size: int = 64
    encoder_widths: tuple[int, int, int] = (128, 256, 512)
    encoder_dim: int = 512
    qkv_bias: bool = True
    mlp: Literal["swiglu", "swiglu_norm", "gelu"] = "swiglu"
    mlp_hidden: int = 0
    embedding: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder_dim < 1 or self.embedding < 1 or self.mlp_hidden < 0:
            raise ConfigError(
                "encoder_dim and embedding must be at least 1 and mlp_hidden at least 0, not "
                f"{self.encoder_dim}, {self.embedding} and {self.mlp_hidden}"
            )

    @property
    def hidden(self) -> int:
        return self.mlp_hidden or int(self.dim * 8 / 3)

    @property
    def fc1(self) -> int:
        return self.hidden if self.mlp == "gelu" else 2 * self.hidden


class GatedMlp(nn.Module):
    """Linear to two halves, SiLU(u) ⊙ w, a LayerNorm in some sizes, Linear."""

    def __init__(self, dim: int, hidden: int, norm: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 2 * hidden), nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(hidden, eps=EPSILON) if norm else nn.Identity()

    def gated(self, x: Tensor) -> Tensor:
        """(B, T, 2 hidden) to (B, T, hidden)."""
        u, w = x.chunk(2, dim=-1)
        return self.norm(F.silu(u) * w)

    def forward(self, x: Tensor, taps: BlockTaps) -> Tensor:
        hidden = taps.act(again(self.gated, taps.after_linear("fc1", self.fc1, x)))
        return taps.after_linear("fc2", self.fc2, hidden)


class EvaBlock(Block):
    """Pre-norm block of EVA and EVA-02, without rotary embedding, as Uni3D calls it."""

    def __init__(self, config: Uni3DConfig) -> None:
        super().__init__(config.dim, config.heads, qkv_bias=config.qkv_bias)
        self.norm1 = nn.LayerNorm(config.dim, eps=EPSILON)
        self.norm2 = nn.LayerNorm(config.dim, eps=EPSILON)
        gelu, norm = config.mlp == "gelu", config.mlp == "swiglu_norm"
        self.mlp: Any = (
            Mlp(config.dim, config.hidden) if gelu else GatedMlp(config.dim, config.hidden, norm)
        )


class TextSpace(nn.Module):
    """The linear layer to the space of texts. No head of ours reads it, so it never trains.

    Attributes:
        weight, bias: (E, D) and (E,), buffers.
        logit_scale: logarithm of what pre-training multiplied cosines by.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(out, dim) * dim**-0.5)
        self.register_buffer("bias", torch.zeros(out))
        self.register_buffer("logit_scale", torch.tensor(1 / 0.07).log())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@BACKBONES.register("uni3d")
class Uni3D(PointViT):
    """Uni3D's point encoder.

    Sizes as published, without the parts of the image transformer that clouds never pass: 6.0 M
    (``ti``), 22.1 M (``s``), 86.2 M (``b``), 303.6 M (``l``) and 1.0 B (``g``). Published clouds
    have 10,000 points, in the unit sphere, y up. Points of three columns are grey; those of six are
    coordinates and colours in 0 to 1.
    """

    config_class = Uni3DConfig
    optional = ()
    positions_enter = "once"
    sizes: ClassVar[dict[str, Any]] = {
        "ti": Uni3DConfig(dim=192, heads=3),
        "s": Uni3DConfig(dim=384, heads=6),
        "b": Uni3DConfig(dim=768, heads=12, mlp="swiglu_norm"),
        "l": Uni3DConfig(dim=1024, depth=24, heads=16, mlp="swiglu_norm"),
        "g": Uni3DConfig(dim=1408, depth=40, heads=16, mlp="gelu", mlp_hidden=6144),
    }

    def __init__(self, config: Uni3DConfig) -> None:
        super().__init__(config)
        self.encoder = PatchEncoder(
            config.encoder_dim, config.encoder_widths, config.patch_sign, columns=6
        )
        self.blocks = nn.ModuleList(EvaBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=EPSILON)
        self.text_space = TextSpace(config.dim, config.embedding)

    def patches(self, points: Tensor, groups: int, group_size: int) -> Tokens:
        """(B, N, 3 or 6) points cut into patches and embedded; no prefix, no position added."""
        centers, local = grouped(points, groups, group_size, self.config.sampling_rule)
        x, pos = self.reduce_dim(self.encoder(local)), self.position(centers)
        return Tokens(x=x, centers=centers, pos=pos, prefix=0)

    def embedding(self, tokens: Tokens) -> Tensor:
        """(B, E) embeddings of the clouds whose tokens these are, of length 1."""
        return F.normalize(self.text_space(tokens.pool("cls")), dim=-1)


def grouped(points: Tensor, groups: int, size: int, rule: Any) -> tuple[Tensor, Tensor]:
    """Centres (B, G, 3) and patches (B, G, k, 6): coordinates from the centre, and colours.

    Raises:
        PointCloudError: points have neither three nor six columns, or as :func:`ops.group`.
    """
    if points.dim() == 3 and points.shape[2] == 6:
        xyz = points[..., :3].contiguous()
        centers = gather_points(xyz, farthest_point_sample(xyz, groups, rule=rule))
        _, index = knn(centers, xyz, size, check=False)
        local = gather_points(points, index)
        return centers, torch.cat([local[..., :3] - centers.unsqueeze(2), local[..., 3:]], dim=-1)
    if points.dim() == 3 and points.shape[2] != 3:
        raise PointCloudError(
            f"Uni3D takes points of 3 columns, or 6 with colours, not {points.shape[2]}"
        )
    centers, local = group(points, groups, size, rule=rule)
    return centers, F.pad(local, (0, 3), value=GREY)


_OURS = re.compile(
    r"encoder\.(linear[1-4]|norm[12])\..+|reduce_dim\..+|pos_embed\..+|norm\.(weight|bias)"
    r"|cls_token|cls_pos|text_space\.(weight|bias|logit_scale)|blocks\.[0-9]{1,6}\.("
    r"norm[12]\.(weight|bias)|attn\.(qkv\.weight|[qv]_bias|[qkv]_proj\.weight|[qv]_proj\.bias"
    r"|proj\.(weight|bias))|mlp\.(fc1(_[gx])?|fc2|norm)\.(weight|bias))"
)
_PUBLISHED = {
    "encoder2trans.": "reduce_dim.", "trans2embed.": "text_space.", "visual.blocks.": "blocks.",
    "visual.fc_norm.": "norm.", "logit_scale": "text_space.logit_scale", **ENCODER,
}  # fmt: skip


def rename(key: str) -> str | None:
    """A published key to ours; parts of a joint layer keep their own ends."""
    key = key.removeprefix("point_encoder.")
    name = swap(key, _PUBLISHED)
    return name if _OURS.fullmatch(name) else None


class Uni3DLayout(Layout):
    """Joins the parts that are one layer here."""

    def read(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return joined_layers(super().read(tensors))


def joined_layers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values as one layer with a bias, zero for keys; gated halves as one."""
    parts = {key: value.float() if value.is_floating_point() else value
             for key, value in tensors.items()}  # fmt: skip
    for at in [key.removesuffix("norm1.weight") for key in parts if key.endswith("norm1.weight")]:
        attn, mlp = f"{at}attn.", f"{at}mlp."
        for q, v in (("q_bias", "v_bias"), ("q_proj.bias", "v_proj.bias")):
            if attn + q in parts and attn + v in parts:
                own, other = parts.pop(attn + q), parts.pop(attn + v)
                parts[f"{attn}qkv.bias"] = torch.cat([own, torch.zeros_like(own), other])
        _join(parts, [f"{attn}{one}_proj.weight" for one in "qkv"], f"{attn}qkv.weight")
        for kind in ("weight", "bias"):
            _join(parts, [f"{mlp}fc1_{one}.{kind}" for one in "gx"], f"{mlp}fc1.{kind}")
    return parts


def _join(parts: dict[str, Tensor], names: list[str], name: str) -> None:
    if all(one in parts for one in names):
        parts[name] = torch.cat([parts.pop(one) for one in names])


def infer_config(state: Mapping[str, Tensor], facts: Published, source: str) -> Uni3DConfig:
    """The configuration that tensors (under our names) were made with; the rest is given."""
    basic: dict[str, Any] = sizes(state, facts, source)
    basic["group_size"] = 64 if facts.group_size is None else facts.group_size
    hidden = width(state, "blocks.0.mlp.fc2.weight", source, 1)
    gated = width(state, "blocks.0.mlp.fc1.weight", source) == 2 * hidden
    norm = "blocks.0.mlp.norm.weight" in state
    if facts.heads is None and basic["dim"] == 1408:
        basic["heads"] = 16  # of the giant, 88 wide
    return Uni3DConfig(
        **basic,
        encoder_widths=widths(state, (1, 2, 3), source),  # type: ignore[arg-type]
        encoder_dim=width(state, "reduce_dim.weight", source, 1),
        mlp=("swiglu_norm" if norm else "swiglu") if gated else "gelu",
        mlp_hidden=0 if hidden == int(basic["dim"] * 8 / 3) else hidden,
        embedding=width(state, "text_space.weight", source),
    )


add_layouts(
    Uni3DLayout(
        name="uni3d", family="uni3d", title="Uni3D", fits=starting("point_encoder.visual."),
        rename=rename, config=infer_config, plain=(512, 10_000),
    )
)  # fmt: skip

_PAPER = "Zhou et al., Uni3D: Exploring Unified 3D Representation at Scale, ICLR 2024"


def _tag(name: str, size: str, parameters: int, accuracy: str = "") -> Tag:
    return Tag(
        name=name, family="uni3d", size=size, source=f"{_PAPER}; github.com/baaivision/Uni3D",
        licence="MIT (of the code; the page of the weights states none)",
        url=f"hf://BAAI/Uni3D/modelzoo/{name}/model.pt", layout="uni3d", accuracy=accuracy,
        page="https://huggingface.co/BAAI/Uni3D", verified="keys, shapes, arithmetic",
        parameters=parameters,
    )  # fmt: skip


_SCORES = {"b": "86.3", "l": "86.3", "g": "88.2"}
_COUNTS = {
    "ti": 6_026_496, "s": 22_108_800, "b": 86_173_056, "l": 303_646_528, "g": 1_011_477_632,
}  # fmt: skip
add_tags(
    *(
        _tag(
            f"uni3d-{size}{end}", size, count,
            f"zero-shot ModelNet40 {_SCORES[size]}" if size in _SCORES and not end else "",
        )
        for size, count in _COUNTS.items()
        for end in ("", "-no-lvis")
    )
)  # fmt: skip
