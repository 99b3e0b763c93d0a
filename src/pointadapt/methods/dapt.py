"""DAPT: dynamic adapter and internal prompts (Zhou et al., CVPR 2024, arXiv 2403.01439).

In every block, with T the scale-shifted output of LN2::

    S = ReLU(LN(T) W_s + b_s)                    one unbounded scalar a token
    A = S * (dropout(GELU(LN(T) W_d)) W_u)       parallel to the MLP
    x = h + DropPath(TFTS(MLP(T)) + A)
    P = TFTS(mean over tokens of GELU(A))        one prompt, seen by every later block

and TFTS, a scale and a shift per channel, after every frozen layer, which the layer can absorb once
trained; the adapter (GELU, ReLU) and the prompts cannot be folded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, Folding, Taps, Tokens
from ..backbones.memory import again, dropped_gelu, instead
from ..core.fields import at_least, number_set, share
from .base import METHODS, ClsMethod, Foldable, Method
from .modules import ScaleShiftBlockTaps, ScaleShiftTaps, scale_shift


@METHODS.register("dapt")
@dataclass(frozen=True)
class Dapt(ClsMethod):
    """Options default to the released code's arithmetic; each names what the paper leaves open.

    The paper's ablations are options too. Without the dynamic scale: ``dynamic_scale=false
    scale=1``; without prompts ``prompt=false``; without TFTS ``scale_shift=false``; with prompts
    that know nothing of the cloud ``prompt_source=random``; with adapters in the last half alone
    ``layers=6-11``. What the head takes is ``--head`` on the command line.

    Trainable on ``small`` with 15 classes: 12 adapters of 2 D r + r + D, a scale of D + 1 and a
    norm of 2 D make 609,036, the scale-shifts of 12 blocks and their prompts 12 · 24 D = 110,592,
    those after the patch encoder and the last LayerNorm 1,536, CLS and its position 768, the head
    (CLS, prompts and patches) 365,839; in all 1,087,771, the published count.

    Attributes:
        rank: width r of the adapter: 64 on ScanObjectNN, 72 on ModelNet40.
        dropout: on the adapter's hidden layer: .2 PB_T50_RS, .5 OBJ_BG, 0 otherwise.
        dynamic_scale: one learned scalar a token; otherwise the constant ``scale``.
        scale: the constant when ``dynamic_scale`` is off.
        scale_start: what the dynamic scale starts as: random, which ReLU makes 0 for half of the
            tokens ("released"), or 1 for every token ("one"), which short budgets need.
        placement: the adapter beside the MLP ("parallel"), or after it ("serial": it sees TFTS(MLP)
            and is added to that).
        layers: numbers and ranges of the blocks that carry an adapter and prompts, the first being
            0, such as "6-11" or "0,2,4"; "all" or "none". Scale-shifts are in all blocks.
        adapter_norm: the trainable LayerNorm inside the adapter, which the figure does not draw.
        scale_shift: TFTS after every frozen layer.
        scale_shift_std: standard deviation of its start values around γ = 1 and β = 0.
        scale_shift_sites: TFTS after frozen layers and on the prompt ("all"), or on the "prompt"
            alone, which is what folding leaves.
        prompt: the prompts of each block that has an adapter.
        prompts: how many in a block. Internal ones share the mean and have a TFTS each.
        prompt_source: made of the adapter's output ("internal"), or trained vectors that start as
            N(0, .02) ("random"), which have no TFTS.
        prompt_activation: what A passes before the mean ("gelu"; "none" as the figure draws it).
        train_norm: train the final LayerNorm (frozen in the released code).
    """

    title = "DAPT"
    trains_together = True
    paper = "Zhou et al., Dynamic Adapter Meets Prompt Tuning, CVPR 2024, arXiv 2403.01439"
    stacks = True
    head_inputs = ("cls", "prompt_mean", "patch_max")
    why_not_fold = "no scale-shift is left after a frozen layer, and nothing else of it can be"

    position: Literal["every_block", "once"] = "once"
    rank: int = 64
    dropout: float = 0.0
    dynamic_scale: bool = True
    scale: float = 1.0
    scale_start: Literal["released", "one"] = "released"
    placement: Literal["parallel", "serial"] = "parallel"
    layers: tuple[str, ...] = ("all",)
    adapter_norm: bool = True
    scale_shift: bool = True
    scale_shift_std: float = 0.02
    scale_shift_sites: Literal["all", "prompt"] = "all"
    prompt: bool = True
    prompts: int = 1
    prompt_source: Literal["internal", "random"] = "internal"
    prompt_activation: Literal["gelu", "none"] = "gelu"
    train_norm: bool = False

    def __post_init__(self) -> None:
        at_least(self, 1, "rank", "prompts")
        at_least(self, 0, "scale_shift_std")
        number_set("layers", self.layers)  # their range is known in attach
        share(self, "dropout")

    def attach(self, backbone: Backbone) -> Taps:
        c = backbone.config
        carry = number_set("layers", self.layers, c.depth)
        blocks = [DaptBlockTaps(self, c.dim, c.fc1, i in carry) for i in range(c.depth)]
        std = self.std if self.scale_shift_sites == "all" else None
        return ScaleShiftTaps(blocks, c.dim, std, self.position)

    def when_idle(self) -> tuple[str, ...]:
        fixed = ("dynamic_scale=false", "scale=1")
        return fixed if self.scale_start == "one" else ("scale_start=one",)

    def trainable(self, name: str) -> bool:
        return super().trainable(name) or (self.train_norm and name.startswith("norm."))

    def default_head(self) -> tuple[str, ...]:
        prompts = self.prompt and not self.no_adapter
        return tuple(n for n in self.head_inputs if prompts or not n.startswith("prompt"))

    @property
    def no_adapter(self) -> bool:
        """Whether no block carries an adapter and prompts, whatever their number."""
        return set(self.layers) <= {"none"}

    @property
    def foldable(self) -> Foldable:
        if self.std is None or self.scale_shift_sites == "prompt":
            return "no"
        return "wholly" if self.no_adapter else "partly"

    def fold(self, folding: Folding, taps: ScaleShiftTaps) -> Method:
        if self.foldable == "no":
            return super().fold(folding, taps)
        taps.fold(folding)
        if self.no_adapter:
            return self.head_alone()
        return replace(
            self, scale_shift_sites="prompt", train_cls=False, train_norm=False, batchnorm="frozen"
        )

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
        self.rectify = nn.ReLU()  # a module, so that what it makes of the scale can be seen
        self.down = nn.Linear(dim, options.rank)
        self.up = nn.Linear(options.rank, dim)
        self.dropout = nn.Dropout(options.dropout)
        for layer in filter(None, (self.scale, self.down)):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))
            nn.init.zeros_(layer.bias)
        if self.scale is not None and options.scale_start == "one":
            nn.init.zeros_(self.scale.weight)
            nn.init.ones_(self.scale.bias)
        nn.init.zeros_(self.up.weight)  # the adapter starts as zero
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = again(self.norm, x)
        scale = self.fixed_scale if self.scale is None else self.rectify(self.scale(x))
        out = again(self.up, dropped_gelu(self.down(x), self.dropout))
        if not torch.is_grad_enabled():
            return out.mul_(scale)
        return again(torch.mul, out, scale) if isinstance(scale, Tensor) else out * scale


class DaptBlockTaps(ScaleShiftBlockTaps):
    """One block's six scale-shifts and, where it ``carries`` them, adapter and prompts."""

    def __init__(self, options: Dapt, dim: int, fc1: int, carries: bool = True) -> None:
        super().__init__()
        self.adapter = DynamicAdapter(options, dim) if carries else None
        self.add_scale_shifts(dim, fc1, options.std if options.scale_shift_sites == "all" else None)
        self.prompts = options.prompts if carries and options.prompt else 0
        self.serial = options.placement == "serial"
        self.prompt_gelu = options.prompt_activation == "gelu"
        self.ss_prompt = self.prompt_tokens = None
        if self.prompts and options.prompt_source == "internal":
            self.ss_prompt = scale_shift(self.prompts * dim, options.std)  # flat: 1-D, so no decay
        elif self.prompts:
            self.prompt_tokens = nn.Parameter(torch.empty(self.prompts, dim).normal_(0, 0.02))

    def mlp(self, x: Tensor, out: Tensor, tokens: Tokens) -> tuple[Tensor, Any]:
        if self.adapter is None:
            return out, None
        adapted = self.adapter(out if self.serial else x)
        branch = out + adapted
        instead(out, torch.sub, branch, adapted)
        return branch, adapted

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        if not self.prompts:
            return tokens
        if self.prompt_tokens is not None:
            return tokens.insert_prompts(self.prompt_tokens.expand(tokens.x.shape[0], -1, -1))
        return tokens.insert_prompts(self.internal_prompts(memo))

    def token_scale(self) -> nn.Module | None:
        adapter = self.adapter
        return None if adapter is None or adapter.scale is None else adapter.rectify

    def internal_prompts(self, adapted: Tensor) -> Tensor:
        """The adapter's output (B, T, D) to (B, prompts, D)."""
        mean = (F.gelu(adapted) if self.prompt_gelu else adapted).mean(dim=1, keepdim=True)
        flat = mean.repeat(1, 1, self.prompts) if self.prompts > 1 else mean
        if self.ss_prompt is not None:
            flat = self.ss_prompt(flat)
        return flat.unflatten(-1, (self.prompts, -1)).squeeze(1)


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
