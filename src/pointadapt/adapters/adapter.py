"""What is trained, saved and loaded: one method's taps, one task's head, what they changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..backbones import Backbone
from ..methods import Method
from ..methods.staged import attach
from ..ops import normalize
from ..tasks import Task


class Adapter(nn.Module):
    """One method's taps and one task's head, with what they changed in the backbone.

    Attributes:
        method: options of the method.
        task: options of the task.
        names: what the task's labels are called.
        taps: the method's modules.
        head: the task's module.
        normalise: each cloud is centred and scaled before the network, see :meth:`prepared`; never
            for a backbone that takes metres.
        about: what its folder says of it; empty if it was not loaded.
        sizes: least and largest log radius of the training clouds, in a user's own unit; None if
            they were not a user's.
        moves: names of the tensors of its backbone that it has for itself -> whether its file has
            them even if they did not change.
    """

    def __init__(
        self, backbone: Backbone, method: Method, task: Task, classes: Sequence[str],
        head_inputs: Sequence[str] = (), parts: Sequence[str] = (), features: Sequence[str] = (),
        normalise: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalise = normalise and not backbone.metric
        self.method, self.task, self.names = method, task, task.names(classes, parts, features)
        self.head_inputs = tuple(head_inputs) or task.head_inputs or method.default_head()
        self.taps = attach(method, backbone)
        self.head = task.make_head(backbone.config, self.head_inputs, self.names)
        self.taps.wanted = self.head.blocks
        if self.head.frozen_fit is not None:
            backbone.check_one_width("the task option instant=true")
        self.about: dict[str, Any] = {}
        self.sizes: tuple[float, float] | None = None
        self._held: tuple[Backbone, ...] = ()  # in a tuple, so that it is no child
        self.moves: dict[str, bool] = {}
        self._parameters_now: tuple[nn.Parameter, ...] = ()  # walking modules takes a millisecond
        self._own: dict[str, Tensor] = {}

    @property
    def backbone(self) -> Backbone:
        """The backbone with the tensors that this adapter moved, once it belongs to a model."""
        return self._held[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the clouds' classes."""
        return self.names.classes

    @property
    def known_sizes(self) -> tuple[float, float] | None:
        """``sizes``, or what the head knows of them."""
        return self.sizes or self.head.sizes()

    def prepared(self, points: Tensor) -> Tensor:
        """(B, N, 3) clouds as the network takes them: in the unit ball, or as they are stored."""
        return normalize(points.float()) if self.normalise else points.float()

    def for_backbone(self, features: Tensor | None) -> Tensor | None:
        """What the backbone takes of the features (B, N, C) of points, (B, N, F).

        Those that the data do not have are zero; None if there are none that it takes.
        """
        known, wanted = self.names.features, self.backbone.takes
        if features is None or not set(known) & set(wanted):
            return None
        zero = torch.zeros_like(features[..., 0])
        each = [features[..., known.index(n)] if n in known else zero for n in wanted]
        return torch.stack(each, dim=-1)

    def join(self, backbone: Backbone, moves: dict[str, bool]) -> None:
        """Run over ``backbone`` from now on, of which no other adapter has the tensors that move.

        Of its own parameters exactly those train that the method trains.
        """
        self._held, self.moves, self._own = (backbone,), moves, {}
        parameters = dict(backbone.named_parameters())
        trained = self.method.trainable_among(parameters)
        for name in parameters.keys() & moves.keys():
            parameters[name].requires_grad_(name in trained)

    def places(self) -> dict[str, Tensor]:
        """The tensors that this adapter's file may fill, by their names in it."""
        head = {f"head.{k}": v for k, v in self.head.state_dict().items()}
        return {**self._places_before_head(), **head}

    def _places_before_head(self) -> dict[str, Tensor]:
        taps = {f"taps.{k}": v for k, v in self.taps.state_dict().items()}
        moved = {f"backbone.{k}": tensor_at(self.backbone, k).detach() for k in self.moves}
        return {**taps, **moved}

    def own(self) -> dict[str, Tensor]:
        """Those of :meth:`places` that are no head's; until its mode is set anew found once."""
        if not self._own:
            self._own = self._places_before_head()
        return self._own

    def joined(
        self, output: Tensor, frozen: Callable[[], Backbone], points: Tensor,
        traits: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """The head's ``output``, with what the frozen backbone tells of the same prepared points.

        In training it stays as it is, and so it does for most heads.
        """
        fit = self.head.frozen_fit
        if fit is None or self.training:
            return output
        return fit.join(output, fit.rows(frozen(), points, traits))

    def mode(self, training: bool) -> None:
        """Put taps, head and backbone in training or evaluation mode."""
        self._own = {}
        self.train(training)
        self.backbone.train(training)
        if self.method.batchnorm == "frozen":
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def release(self, train: bool) -> None:
        """Let the parameters of taps and head train, or not."""
        if not self._parameters_now:
            self._parameters_now = tuple(self.parameters())
        for parameter in self._parameters_now:
            parameter.requires_grad_(train)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Adapter:
        """As every module; also for the backbone, which is held, not a child."""
        super()._apply(fn, recurse)
        self._parameters_now, self._own = (), {}
        for backbone in self._held:
            backbone._apply(fn, recurse)
        return self


def tensor_at(module: nn.Module, name: str) -> Tensor:
    """The parameter or buffer ``name`` of ``module``."""
    path, _, last = name.rpartition(".")
    return getattr(module.get_submodule(path), last)
