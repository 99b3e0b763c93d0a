"""DAPT: dynamic adapter and internal prompts (Zhou et al., CVPR 2024, arXiv 2403.01439).

In every block, with T the scale-shifted output of LN2::

    S = ReLU(LN(T) W_s + b_s)                    one unbounded scalar a token
    A = S * (dropout(GELU(LN(T) W_d)) W_u)       parallel to the MLP
    x = h + DropPath(TFTS(MLP(T)) + A)
    P = TFTS(mean over tokens of GELU(A))        one prompt, seen by every later block

and TFTS, a scale and a shift per channel, after every frozen layer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, Taps, Tokens
from ..options import at_least, share
from ._base import METHODS, ClsMethod
from ._modules import ScaleShiftBlockTaps, ScaleShiftTaps, scale_shift


@METHODS.register("dapt")
@dataclass(frozen=True)
class Dapt(ClsMethod):
    """Options default to the released code's arithmetic; each names what the paper leaves open.

    Attributes:
        rank: width r of the adapter: 64 on ScanObjectNN, 72 on ModelNet40.
        dropout: on the adapter's hidden layer: .2 PB_T50_RS, .5 OBJ_BG, 0 otherwise.
        dynamic_scale: one learned scalar a token; otherwise the constant ``scale``.
        scale: the constant when ``dynamic_scale`` is off.
        adapter_norm: the trainable LayerNorm inside the adapter, which the figure does not draw.
        scale_shift: TFTS after every frozen layer.
        scale_shift_std: standard deviation of its start values around γ = 1 and β = 0.
        prompt: the internal prompt of each block.
        prompt_activation: what A passes before the mean ("gelu"; "none" as the figure draws it).
        train_norm: train the final LayerNorm (frozen in the released code).
    """

    title = "DAPT"
    paper = "Zhou et al., Dynamic Adapter Meets Prompt Tuning, CVPR 2024, arXiv 2403.01439"
    head_inputs = ("cls", "prompt_mean", "patch_max")

    position: Literal["every_block", "once"] = "once"
    rank: int = 64
    dropout: float = 0.0
    dynamic_scale: bool = True
    scale: float = 1.0
    adapter_norm: bool = True
    scale_shift: bool = True
    scale_shift_std: float = 0.02
    prompt: bool = True
    prompt_activation: Literal["gelu", "none"] = "gelu"
    train_norm: bool = False

    def __post_init__(self) -> None:
        at_least(self, 1, "rank")
        at_least(self, 0, "scale_shift_std")
        share(self, "dropout")

    def attach(self, backbone: Backbone) -> Taps:
        c = backbone.config
        blocks = [DaptBlockTaps(self, c.dim, c.hidden) for _ in range(c.depth)]
        return ScaleShiftTaps(blocks, c.dim, self.std, self.position)

    def trainable(self, name: str) -> bool:
        return super().trainable(name) or (self.train_norm and name.startswith("norm."))

    @property
    def std(self) -> float | None:
        """Of the scale-shifts' start values; None without scale-shifts."""
        return self.scale_shift_std if self.scale_shift else None


class DynamicAdapter(nn.Module):
    """Bottleneck adapter scaled by one learned scalar a token (§3.2, Eq. 3 and 4)."""

    def __init__(self, options: Dapt, dim: int) -> None:
        super().__init__()
        self.fixed_scale = options.scale
        self.norm = nn.LayerNorm(dim) if options.adapter_norm else nn.Identity()
        self.scale = nn.Linear(dim, 1) if options.dynamic_scale else None
        self.down = nn.Linear(dim, options.rank)
        self.up = nn.Linear(options.rank, dim)
        self.dropout = nn.Dropout(options.dropout)
        for layer in filter(None, (self.scale, self.down)):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.up.weight)  # the adapter starts as zero
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = self.norm(x)
        scale = F.relu(self.scale(x)) if self.scale is not None else self.fixed_scale
        return self.up(self.dropout(F.gelu(self.down(x)))) * scale


class DaptBlockTaps(ScaleShiftBlockTaps):
    """One block's six scale-shifts, adapter and prompt."""

    def __init__(self, options: Dapt, dim: int, hidden: int) -> None:
        super().__init__()
        self.adapter = DynamicAdapter(options, dim)
        self.add_scale_shifts(dim, hidden, options.std)
        self.ss_prompt = scale_shift(dim, options.std) if options.prompt else None
        self.prompt_gelu = options.prompt_activation == "gelu"

    def mlp(self, x: Tensor, out: Tensor, tokens: Tokens) -> tuple[Tensor, Any]:
        adapted = self.adapter(x)
        return out + adapted, adapted

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        if self.ss_prompt is None:
            return tokens
        adapted = F.gelu(memo) if self.prompt_gelu else memo
        return tokens.insert_prompts(self.ss_prompt(adapted.mean(dim=1, keepdim=True)))


_PUBLISHED = {  # the released code's names inside a block -> ours
    "attn.tfts_{}_1": "ss_qkv.{}",
    "attn.tfts_{}_2": "ss_proj.{}",
    "mlp.tfts_{}_1": "ss_fc1.{}",
    "mlp.tfts_{}_2": "ss_fc2.{}",
    "tfts_{}_1": "ss_norm1.{}",
    "tfts_{}_2": "ss_norm2.{}",
    "tfts_{}_3": "ss_prompt.{}",
}
_PUBLISHED_ADAPTER = {
    "adapter_layer_norm_before": "norm", "scale": "scale", "down_proj": "down", "up_proj": "up",
}  # fmt: skip


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The released code's DAPT tensors (prefixes stripped) under the names of our taps."""
    names: dict[str, str] = {}
    for kind in ("gamma", "beta"):
        names[f"tfts_{kind}_1"], names[f"tfts_{kind}_2"] = f"ss_patch.{kind}", f"ss_out.{kind}"
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        block = re.fullmatch(r"blocks\.blocks\.(\d+)\.(.+)", key)
        if key in names:
            out[names[key]] = value
        elif block and (inside := _published_inside(block[2])):
            out[f"blocks.{block[1]}.{inside}"] = value
    return out


def _published_inside(name: str) -> str | None:
    for kind in ("gamma", "beta"):
        for old, new in _PUBLISHED.items():
            if name == old.format(kind):
                return new.format(kind)
    adapter = re.fullmatch(r"Adapter_MLP\.(\w+)\.(weight|bias)", name)
    if adapter and adapter[1] in _PUBLISHED_ADAPTER:
        return f"adapter.{_PUBLISHED_ADAPTER[adapter[1]]}.{adapter[2]}"
    return None
