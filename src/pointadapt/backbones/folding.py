"""Changes of a backbone's frozen layers, computed in float64 and written back as float32."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.errors import CannotFold
from .base import Backbone


class Folding:
    """A backbone's tensors while a method's ``fold`` moves its own into them.

    The backbone itself is left as it is; :meth:`backbone` makes the changed one.

    Attributes:
        source: the backbone as it is now: trained tensors and moved buffers included.
        view: what names the layers: the source, or one of its stages.
        tensors: name -> tensor, on the CPU, in float64.
        own: names of the tensors that the backbone had before anything was folded.
        changes: configuration values in which the folded backbone differs.
    """

    def __init__(self, source: Backbone) -> None:
        self.source = source
        self.view: Any = source
        state = {k: v.detach().cpu() for k, v in source.state_dict().items()}
        self.tensors = {k: v.double() if v.is_floating_point() else v for k, v in state.items()}
        self.own = frozenset(state)
        self.changes: dict[str, Any] = {}

    def of_stage(self, view: Any) -> Folding:
        """The same tensors and changes for one stage, whose layers ``view`` names."""
        own = copy(self)
        own.view = view
        return own

    def layer(self, site: str, block: int | None = None) -> str:
        """Name of the layer before the tap ``site``, of which there is one in each block.

        Raises:
            CannotFold: the family declares none there, or has no such layer.
        """
        name = self.view.fold_layer(site).format(block)
        if f"{name}.weight" not in self.tensors:
            raise CannotFold(
                f"nothing can be folded into {site!r} of the family {self.source.name!r}: "
                "no layer of its own stands before that site; use the adapter as it is"
            )
        return name

    def scale(self, site: str, gamma: Tensor, block: int | None = None) -> None:
        """Fold γ ⊙ y on the layer's output y: γ W and, where it has a bias, γ b."""
        name, gamma = self.layer(site, block), gamma.detach().cpu().double()
        for key in (f"{name}.weight", f"{name}.bias"):
            if key in self.tensors:
                value = self.tensors[key]
                self.tensors[key] = gamma.view(-1, *[1] * (value.dim() - 1)) * value

    def scale_input(self, site: str, gamma: Tensor, block: int | None = None) -> None:
        """Fold γ ⊙ x on the layer's input x: W γ, column by column."""
        name = self.layer(site, block)
        self.tensors[f"{name}.weight"] = self.tensors[f"{name}.weight"] * gamma.detach().cpu()

    def scale_shift(self, site: str, gamma: Tensor, beta: Tensor, block: int | None = None) -> None:
        """Fold γ ⊙ y + β on the layer's output y: γ W and γ b + β.

        γ and β have one entry a channel. The patch encoder's last layer is followed by a maximum,
        which |γ| passes through; the sign stays, as ``encoder.sign``.
        """
        name = self.layer(site, block)
        gamma, beta = gamma.detach().cpu().double(), beta.detach().cpu().double()
        if site == "patch_out" and name.startswith("encoder."):
            gamma, beta = self._keep_sign(gamma, beta)
        self.tensors[f"{name}.bias"] = self._bias(name, len(gamma))
        self.scale(site, gamma, block)
        self.tensors[f"{name}.bias"] = self.tensors[f"{name}.bias"] + beta

    def add(self, site: str, weight: Tensor, block: int | None = None) -> None:
        """Fold an increment ΔW (C_out, C_in), float64, of the layer's weight."""
        name = self.layer(site, block)
        self.tensors[f"{name}.weight"] = self.tensors[f"{name}.weight"] + weight.detach().cpu()

    def back_towards(self, pretrained: Mapping[str, Tensor], share: float) -> None:
        """Keep ``share`` of the way from the pre-trained tensors to what they are now.

        A bias that folding added was 0 before. Tensors that ``pretrained`` lacks otherwise, and
        whole numbers, stay.

        Args:
            pretrained: name -> tensor, as the backbone's weights file has it.
            share: from 0 to 1.

        Raises:
            CannotFold: a factor behind the patch encoder's maximum changed its sign.
        """
        one = torch.ones(1, dtype=torch.float64)
        signs = (d.get("encoder.sign", one).cpu() for d in (self.tensors, pretrained))
        if (torch.mul(*signs) < 0).any():
            raise CannotFold(
                "a factor behind the patch encoder's maximum has changed its sign, and between "
                "both signs lies no weight: a share below 1 cannot be had here"
            )
        for name, now in self.tensors.items():
            if not now.is_floating_point() or name == "encoder.sign":
                continue
            if name in pretrained:
                before = pretrained[name].detach().cpu().double()
                self.tensors[name] = before + share * (now - before)
            elif name not in self.own:
                self.tensors[name] = share * now

    def _keep_sign(self, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """γ' ≥ 0 and β' with s (γ' y + β') = γ y + β; the sign s goes to ``encoder.sign``."""
        gamma = gamma * self.tensors.get("encoder.sign", torch.ones_like(gamma))
        if (gamma < 0).any() or "encoder.sign" in self.tensors:
            sign = torch.where(gamma < 0, -1.0, 1.0).double()
            self.tensors["encoder.sign"] = sign
            self.changes["patch_sign"] = True
            gamma, beta = gamma.abs(), sign * beta
        return gamma, beta

    def _bias(self, name: str, channels: int) -> Tensor:
        if f"{name}.bias" not in self.tensors:
            self.changes["qkv_bias"] = True  # the only layer that may lack one
            return torch.zeros(channels, dtype=torch.float64)
        return self.tensors[f"{name}.bias"]

    def backbone(self) -> Backbone:
        """A new backbone with the tensors as they are now, all its own, in evaluation mode.

        Raises:
            CannotFold: the family has no place for a tensor that folding added.
        """
        source = self.source
        with torch.random.fork_rng(devices=[]):
            net = type(source)(replace(source.config, **self.changes))
        places = net.state_dict()
        for name in self.tensors:
            if name not in places:
                raise CannotFold(f"the family {source.name!r} has no place for {name!r}")
        net.load_state_dict(self.tensors)  # to float32
        net.seed = source.seed
        return net.eval().seal()
