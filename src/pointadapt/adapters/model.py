"""A backbone with adapters: what is trained, saved, loaded and switched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..backbones import Backbone, Tokens
from ..backbones.memory import Keep, keeping
from ..core.errors import AdapterError, UnknownNameError
from ..methods import Method
from ..ops import normalize
from ..tasks import Task
from .turns import Turns


class Adapter(nn.Module):
    """One method's taps and one task's head, with what they changed in the backbone.

    Attributes:
        method: options of the method.
        task: options of the task.
        names: what the task's labels are called.
        taps: the method's modules.
        head: the task's module.
        moved: backbone tensors as this adapter has them while another one is in use.
        normalise: each cloud is centred and scaled before the network, see :meth:`prepared`.
        about: what its folder says of it; empty if it was not loaded.
        sizes: least and largest log radius of the training clouds, in a user's own unit; None if
            they were not a user's.
    """

    def __init__(
        self, backbone: Backbone, method: Method, task: Task, classes: Sequence[str],
        head_inputs: Sequence[str] = (), parts: Sequence[str] = (), features: Sequence[str] = (),
        normalise: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalise = normalise
        self.method, self.task, self.names = method, task, task.names(classes, parts, features)
        self.head_inputs = tuple(head_inputs) or task.head_inputs or method.default_head()
        self.taps = method.attach(backbone)
        self.head = task.make_head(backbone.config, self.head_inputs, self.names)
        self.taps.wanted = self.head.blocks
        self.moved: dict[str, Tensor] = {}
        self.about: dict[str, Any] = {}
        self.sizes: tuple[float, float] | None = None

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


class PointModel(nn.Module):
    """One backbone, which no other model may share, and named adapters, of which one is in use.

    ``forward`` takes points (B, N, 3), prepared (:meth:`Adapter.prepared`), for a task that is told
    it the class (B,) of each cloud, for one that takes them the features (B, N, C) of the points,
    which the frozen backbone does not see, and for a head that takes them the traits (B, T) of the
    clouds as they came; it returns the active head's output. ``keep`` says what it keeps for the
    backward, see :class:`pointadapt.core.config.TrainConfig`. Adapters share the backbone's memory;
    :meth:`use` swaps the few backbone tensors an adapter changed (a trained CLS token, moved
    BatchNorm statistics) and puts them back exactly. Threads may predict side by side with one
    adapter; what would mix up two is an error (:mod:`pointadapt.adapters.turns`).
    """

    def __init__(self, backbone: Backbone, adapter: Adapter, name: str = "default") -> None:
        super().__init__()
        if not backbone.fingerprint:
            backbone.seal()
        self.backbone = backbone
        self.adapters = nn.ModuleDict({name: adapter})
        self.active = name
        self.keep: Keep = "lean"
        self._parameter_names = {n for n, _ in backbone.named_parameters()}
        self._pristine: dict[str, Tensor] = {}  # on the CPU, as the weights file had them
        self._turns = Turns()
        self._release()

    @property
    def adapter(self) -> Adapter:
        """The adapter in use."""
        return self.adapters[self.active]  # type: ignore[return-value]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the active adapter's classes."""
        return self.adapter.classes

    def forward(
        self, points: Tensor, category: Tensor | None = None, features: Tensor | None = None,
        traits: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        if torch.compiler.is_compiling():
            return self._forward(points, category, features, traits)
        with self._turns.forward(self.active):
            return self._forward(points, category, features, traits)

    def _forward(
        self, points: Tensor, category: Tensor | None, features: Tensor | None,
        traits: Tensor | None,
    ) -> Tensor:  # fmt: skip
        return self.adapter.head(self.tokens(points), points, category, features, traits)

    def tokens(self, points: Tensor) -> Tokens:
        """What the head of the adapter in use is given of prepared points (B, N, 3)."""
        taps = self.adapter.taps
        keep = "all" if self.keep == "lean" and not taps.lean else self.keep
        with keeping(keep):
            return self.backbone(points, taps)

    def train(self, mode: bool = True) -> PointModel:
        super().train(mode)
        if self.adapter.method.batchnorm == "frozen":
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The papers' two groups: 1-D tensors, biases and names holding "token" do not decay."""
        decay: list[Tensor] = []
        rest: list[Tensor] = []
        # Not self.named_parameters(): those names hold the adapter's, which may hold "token".
        for module in (self.backbone, self.adapter):
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    flat = parameter.dim() == 1 or name.endswith(".bias") or "token" in name
                    (rest if flat else decay).append(parameter)
        return [
            {"params": rest, "weight_decay": 0.0},
            {"params": decay, "weight_decay": weight_decay},
        ]

    def adapter_state(self) -> dict[str, Tensor]:
        """Every tensor that the backbone's file does not give: taps, head, and what moved.

        Keys start with "taps.", "head." and "backbone.". Values are detached, not copied.
        """
        state = {f"taps.{k}": v for k, v in self.adapter.taps.state_dict().items()}
        state |= {f"head.{k}": v for k, v in self.adapter.head.state_dict().items()}
        state |= {f"backbone.{k}": v for k, v in self._changed().items()}
        return {k: v.detach() for k, v in state.items()}

    def load_adapter_state(self, state: dict[str, Tensor], where: str = "adapter") -> None:
        """Put the tensors of :meth:`adapter_state` in place, strictly.

        What ``state`` does not hold of the backbone is as the backbone's file has it.

        Raises:
            AdapterError: a tensor is missing, left over or of another shape.
        """
        places = {f"taps.{k}": v for k, v in self.adapter.taps.state_dict().items()}
        places |= {f"head.{k}": v for k, v in self.adapter.head.state_dict().items()}
        base = {f"backbone.{k}": v for k, v in self._movable().items()}
        needed = [*places, *(k for k in base if self._must_save(k.removeprefix("backbone.")))]
        for key in needed:
            if key not in state:
                raise AdapterError(f"{where}: tensor {key!r} is missing")
        places |= base
        for key, value in state.items():
            if key not in places:
                raise AdapterError(f"{where}: tensor {key!r} has no place in this model")
            if places[key].shape != value.shape:
                raise AdapterError(
                    f"{where}: tensor {key!r} has shape {tuple(value.shape)}, "
                    f"but this model needs {tuple(places[key].shape)}"
                )
        with self._turns.change(), torch.no_grad():
            self._restore()
            for key, value in state.items():
                places[key].copy_(value)

    def add(self, name: str, adapter: Adapter) -> None:
        """Add ``adapter`` under ``name`` without using it yet.

        Raises:
            AdapterError: the name is taken, or cannot be a module's.
        """
        if name in self.adapters:
            raise AdapterError(f"an adapter called {name!r} is here already; choose another name")
        if not name or "." in name or hasattr(self.adapters, name):
            raise AdapterError(f"an adapter cannot be called {name!r}; choose another name")
        self.adapters[name] = adapter.to(next(self.backbone.parameters()).device)
        self.adapters[name].train(self.training)
        self._release()

    def use(self, name: str) -> PointModel:
        """Switch to the adapter called ``name``; the backbone is not reloaded.

        Raises:
            UnknownNameError: there is none.
            AdapterError: another thread is using the model.
        """
        if name not in self.adapters:
            raise UnknownNameError("adapter", name, self.adapters)
        if name != self.active:
            with self._turns.change():
                self._switch(name)
        self._turns.chose(name)
        return self

    def _switch(self, name: str) -> None:
        self.adapter.moved = {k: v.detach().clone() for k, v in self._changed().items()}
        with torch.no_grad():
            self._restore()
            self.active = name
            self._release()
            state = self.backbone.state_dict()
            for key, value in self.adapter.moved.items():
                state[key].copy_(value)
        self.train(self.training)

    def _restore(self) -> None:
        """Put back every backbone tensor that an adapter may have changed."""
        state = self.backbone.state_dict()
        for key, value in self._pristine.items():
            state[key].copy_(value)

    def _release(self) -> None:
        """Let exactly the active adapter's parameters train, and remember what that may change."""
        method = self.adapter.method
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(method.trainable(name))
        for name, adapter in self.adapters.items():
            adapter.requires_grad_(name == self.active)
        for key, value in self._movable().items():
            if key not in self._pristine:
                self._pristine[key] = value.detach().cpu().clone()

    def _movable(self) -> dict[str, Tensor]:
        """Backbone tensors that the active adapter may change: buffers and trained parameters."""
        keep = {n for n, _ in self.backbone.named_buffers()}
        keep |= {n for n, _ in self.backbone.named_parameters() if self._must_save(n)}
        return {k: v for k, v in self.backbone.state_dict().items() if k in keep}

    def _must_save(self, name: str) -> bool:
        if name not in self.backbone.base_keys:
            return True
        return name in self._parameter_names and self.adapter.method.trainable(name)

    def _changed(self) -> dict[str, Tensor]:
        """Backbone tensors that belong to the active adapter's file."""
        return {
            k: v
            for k, v in self._movable().items()
            if self._must_save(k) or not torch.equal(v.cpu(), self._pristine[k])
        }


def told_of(
    adapter: Adapter,
    category: Tensor | None,
    features: Tensor | None,
    traits: Tensor | None = None,
) -> dict[str, Tensor]:
    """What the adapter's head takes besides tokens and points, of what is known, by name."""
    told = {}
    if adapter.task.given_class and category is not None:
        told["category"] = category
    if adapter.names.features and features is not None:
        told["features"] = features
    if adapter.head.takes_traits and traits is not None:
        told["traits"] = traits
    return told
