"""Key layouts: how published files name their tensors, and which of our networks they fill.

Each family's file enters its own with :func:`add_layouts`;
:mod:`pointadapt.pretrained.convert` asks :func:`find_layout` which one a file has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...core.errors import CheckpointError, UnknownNameError
from ..base import BACKBONES, BackboneConfig

if TYPE_CHECKING:
    from ...core.config import Published

ConfigOf = Callable[[Mapping[str, Tensor], "Published", str], BackboneConfig]


@dataclass(frozen=True)
class Layout:
    """One way to name the tensors of a backbone.

    Attributes:
        name: "point_bert".
        family: the registered backbone that it fills.
        title: as its authors write it, for messages.
        fits: whether a file of these tensors (names without ``module.``) is of this layout.
        rename: a published key to ours; None for a tensor that our backbone has no place for.
        config: the configuration that tensors (under our names) were made with. Takes them, what
            the file cannot tell, and the file's name for messages; raises CheckpointError.
        head: how the names of the released fine-tuning head start.
        head_inputs: what that head reads.
        unused: whether a tensor of a fine-tuned file has no part in its logits.
        scan: (groups, points) of the released fine-tuning on ScanObjectNN.
        plain: (groups, points) of pre-training, and of ModelNet40.
        scan_widths: of the head's hidden layers, where only ScanObjectNN's heads have these.
        fallback: asked only after all others.
    """

    name: str
    family: str
    title: str
    fits: Callable[[Mapping[str, Tensor]], bool]
    rename: Callable[[str], str | None]
    config: ConfigOf
    head: str = "cls_head_finetune."
    head_inputs: tuple[str, ...] = ("cls", "patch_max")
    unused: Callable[[str], bool] = lambda key: False
    scan: tuple[int, int] = (128, 2048)
    plain: tuple[int, int] = (64, 1024)
    scan_widths: tuple[int, ...] = ()
    fallback: bool = False

    def read(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that have a place, under our names; 1×1 convolutions as linear layers."""
        out: dict[str, Tensor] = {}
        for key, value in tensors.items():
            name = self.rename(key)
            if name is not None:
                conv = name.startswith("encoder.") and value.dim() == 3
                out[name] = value.squeeze(-1) if conv else value
        return out


LAYOUTS: dict[str, Layout] = {}


def add_layouts(*layouts: Layout) -> None:
    """Enter ``layouts``; the same name again, as on a reload, replaces."""
    for layout in layouts:
        LAYOUTS[layout.name] = layout


def find_layout(tensors: Mapping[str, Tensor], source: str, name: str = "") -> Layout:
    """The layout of a file of these tensors.

    Args:
        tensors: published name to tensor.
        source: the file, for messages.
        name: of the layout, where a person says it.

    Raises:
        CheckpointError: none that we know.
        UnknownNameError: no layout is called ``name``.
    """
    list(BACKBONES)  # imports every family
    if name and name not in LAYOUTS:
        raise UnknownNameError("layout of published files", name, LAYOUTS)
    if name:
        return LAYOUTS[name]
    for layout in sorted(LAYOUTS.values(), key=lambda one: (one.fallback, one.name)):
        if layout.fits(tensors):
            return layout
    titles = ", ".join(sorted(layout.title for layout in LAYOUTS.values()))
    raise CheckpointError(
        f"{source} is of no published layout that pointadapt knows ({titles}): "
        f"its tensors are {', '.join(key[:60] for key in sorted(tensors)[:4])}, …"
    )


def starting(prefix: str) -> Callable[[Mapping[str, Tensor]], bool]:
    """A test for a tensor whose name starts with ``prefix``."""
    return lambda tensors: any(key.startswith(prefix) for key in tensors)


def swap(key: str, table: Mapping[str, str]) -> str:
    """``key`` with the start that ``table`` names replaced."""
    for old, new in table.items():
        if key.startswith(old):
            return new + key[len(old) :]
    return key


ENCODER = {  # of Point-BERT and all after it
    "encoder.first_conv.0.": "encoder.linear1.",
    "encoder.first_conv.1.": "encoder.norm1.",
    "encoder.first_conv.3.": "encoder.linear2.",
    "encoder.second_conv.0.": "encoder.linear3.",
    "encoder.second_conv.1.": "encoder.norm2.",
    "encoder.second_conv.3.": "encoder.linear4.",
}


def sizes(state: Mapping[str, Tensor], facts: Published, source: str) -> dict[str, Any]:
    """The sizes that every family's configuration has, from tensors under our names.

    Raises:
        CheckpointError: there is no block, or a tensor that sizes are read from is missing.
    """
    blocks = [int(key.split(".")[1]) for key in state if key.startswith("blocks.")]
    if not blocks:
        raise CheckpointError(f"{source} holds no transformer block")
    dim = width(state, "blocks.0.norm1.weight", source)
    return {
        "dim": dim,
        "depth": 1 + max(blocks),
        "heads": max(1, dim // 64) if facts.heads is None else facts.heads,
        "groups": facts.groups or 64,
        "group_size": 32 if facts.group_size is None else facts.group_size,
    }


def widths(state: Mapping[str, Tensor], layers: tuple[int, ...], source: str) -> tuple[int, ...]:
    """Widths of the patch encoder's ``layers``.

    Raises:
        CheckpointError: one is missing.
    """
    return tuple(width(state, f"encoder.linear{i}.weight", source) for i in layers)


def width(state: Mapping[str, Tensor], key: str, source: str, axis: int = 0) -> int:
    """An axis of a tensor, by default the first.

    Raises:
        CheckpointError: it is missing, or has too few axes.
    """
    if key not in state:
        raise CheckpointError(f"{source}: tensor {key!r} is missing")
    if state[key].dim() <= axis:
        raise CheckpointError(f"{source}: tensor {key!r} has shape {tuple(state[key].shape)}")
    return state[key].shape[axis]
