"""A backbone with adapters: what is trained, saved, loaded and switched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import Backbone, Tokens
from ..backbones.memory import Keep, keeping
from ..backbones.twin import twin
from ..core.errors import AdapterError, UnknownNameError
from .adapter import Adapter, tensor_at
from .mixed import by_name, encoded, together
from .turns import Turns


class PointModel(nn.Module):
    """One backbone, which no other model may share, and named adapters, of which one is in use.

    ``forward`` takes points (B, N, 3), prepared (:meth:`Adapter.prepared`), for a task that is told
    it the class (B,) of each cloud, for one that takes them the features (B, N, C) of the points,
    of which the backbone sees what it ``takes``, and for a head that takes them the traits (B, T)
    of the clouds as they came; it returns the head's output of the adapter in use, or of the one
    called ``adapter``. ``keep`` says what it keeps for the backward, see
    :class:`pointadapt.core.config.TrainConfig`.

    Adapters share the backbone's memory, but for the few tensors that each one moves (a trained CLS
    token, BatchNorm statistics; all of them in full fine-tuning), which it has for itself: see
    :func:`pointadapt.backbones.twin.twin`. So :meth:`use` chooses a name and moves nothing, and
    each thread chooses for itself; one that never did predicts with what was chosen last.
    """

    def __init__(self, backbone: Backbone, adapter: Adapter, name: str = "default") -> None:
        super().__init__()
        if not backbone.fingerprint:
            backbone.seal()
        self._modules["backbone"] = backbone
        self.adapters = nn.ModuleDict({name: adapter})
        self.keep: Keep = "lean"
        self._turns, self._last = Turns(), name
        self._base, self._kinds = set(backbone.base_keys), _kinds(backbone)
        moves = self._movable(adapter)
        plain = twin(backbone.requires_grad_(False), moves)
        self._plain = (plain,)  # as the weights file has it; in a tuple, so that it is no child
        self._frozen: tuple[Backbone, ...] = ()
        adapter.join(backbone, moves)
        adapter.release(True)

    @property
    def active(self) -> str:
        """Name of the adapter in use: the calling thread's choice, or else the last one made."""
        if torch.compiler.is_compiling():
            return self._last
        return self._turns.chosen(self._last)

    @property
    def adapter(self) -> Adapter:
        """The adapter in use."""
        return self.adapters[self.active]  # type: ignore[return-value]

    @property
    def backbone(self) -> Backbone:
        """The backbone as the adapter in use has it, or had it if it was removed."""
        if self.active in self.adapters:
            return self.adapter.backbone
        return self._modules["backbone"]  # type: ignore[return-value]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the active adapter's classes."""
        return self.adapter.classes

    def forward(
        self, points: Tensor, category: Tensor | None = None, features: Tensor | None = None,
        traits: Tensor | None = None, *, adapter: str | None = None,
    ) -> Tensor:  # fmt: skip
        if torch.compiler.is_compiling():
            return self._forward(self.adapter, points, category, features, traits)
        name = self.active if adapter is None else adapter
        with self._turns.forward(name):
            return self._forward(self.called(name), points, category, features, traits)

    def _forward(
        self, adapter: Adapter, points: Tensor, category: Tensor | None, features: Tensor | None,
        traits: Tensor | None,
    ) -> Tensor:  # fmt: skip
        tokens = self._tokens(adapter, points, features)
        return self._said(adapter, tokens, points, category, features, traits)

    def _said(
        self, adapter: Adapter, tokens: Tokens, points: Tensor, category: Tensor | None,
        features: Tensor | None, traits: Tensor | None,
    ) -> Tensor:  # fmt: skip
        seen = tokens.centers if adapter.backbone.pointwise else points
        out = adapter.head(tokens, seen, category, features, traits)
        return adapter.joined(out, self.frozen, points, traits)

    def pretrained(self) -> dict[str, Tensor]:
        """The backbone's tensors as its weights file has them, without those that it lacks."""
        return {k: v for k, v in self._plain[0].state_dict().items() if k in self._base}

    def frozen(self) -> Backbone:
        """The backbone as its weights file has it, to predict with; what the file lacks is 0."""
        if not self._frozen:
            missing = self._kinds.keys() - self._base
            frozen = twin(self._plain[0], missing).to(next(self.parameters()).device).eval()
            with torch.no_grad():
                for name in missing:
                    tensor_at(frozen, name).zero_()
            self._frozen = (frozen,)
        return self._frozen[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PointModel:
        """As every module; what :meth:`frozen` made is made anew where the model is then."""
        self._frozen = ()
        super()._apply(fn, recurse)
        return self

    def mixed(
        self, points: Tensor, adapters: Sequence[str], category: Tensor | None = None,
        features: Tensor | None = None, traits: Tensor | None = None,
    ) -> list[Tensor]:  # fmt: skip
        """A batch whose clouds are for different adapters.

        Clouds for one adapter go through the network together, and so do few clouds for each of
        several adapters of one method (:mod:`pointadapt.adapters.mixed`). Those answers differ from
        the adapters' own by rounding, about 1e-7; in training and with gradients all are their own.

        Args:
            points: (B, N, 3), each prepared as its adapter says.
            adapters: B names, one for each cloud.
            category: (B,), as in ``forward``.
            features: (B, N, C), as in ``forward``.
            traits: (B, T), as in ``forward``.

        Returns:
            What the named adapter's head says of each cloud, without the batch's axis.

        Raises:
            UnknownNameError: there is no adapter of that name.
        """
        rows = by_name(adapters)
        for name in rows:
            self.called(name)

        def told(index: list[int]) -> tuple[Tensor, *tuple[Tensor | None, ...]]:
            others = (None if x is None else x[index] for x in (category, features, traits))
            return (points[index], *others)

        answers: dict[int, Tensor] = {}
        shared = [] if torch.is_grad_enabled() else together(rows, self.called)
        for names in shared:
            index = [row for name in names for row in rows.pop(name)]
            own = [adapters[row] for row in index]
            answers |= zip(index, self._stacked(own, [told([row]) for row in index]), strict=True)
        for name, index in rows.items():
            answers |= zip(index, self(*told(index), adapter=name), strict=True)
        return [answers[row] for row in range(len(points))]

    def _stacked(self, names: list[str], told: list[tuple[Any, ...]]) -> list[Tensor]:
        """What adapters of one kind say of a cloud each; ``told`` is what ``forward`` is given."""
        with ExitStack() as turns:
            for name in dict.fromkeys(names):
                turns.enter_context(self._turns.forward(name))
            own = [self.called(name) for name in names]
            each = list(zip(own, told, strict=True))
            begun = [a.backbone.begin(points, a.taps) for a, (points, *_) in each]
            return [
                self._said(adapter, tokens, *given)[0]
                for tokens, (adapter, given) in zip(encoded(own, begun), each, strict=True)
            ]

    def tokens(self, points: Tensor, features: Tensor | None = None) -> Tokens:
        """What the head of the adapter in use is given of prepared points (B, N, 3).

        ``features`` (B, N, C) of the points are for a backbone that takes some of them.
        """
        return self._tokens(self.adapter, points, features)

    def _tokens(self, adapter: Adapter, points: Tensor, features: Tensor | None = None) -> Tokens:
        keep = "all" if self.keep == "lean" and not adapter.taps.lean else self.keep
        with keeping(keep):
            return adapter.backbone(points, adapter.taps, adapter.for_backbone(features))

    def called(self, name: str) -> Adapter:
        """The adapter called ``name``.

        Raises:
            UnknownNameError: there is none.
        """
        if name not in self.adapters:
            raise UnknownNameError("adapter", name, self.adapters)
        return self.adapters[name]  # type: ignore[return-value]

    def train(self, mode: bool = True) -> PointModel:
        """The mode of all adapters; those not in use take it when they are chosen."""
        self.training = self.adapters.training = mode
        self.adapter.mode(mode)
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
            AdapterError: a tensor is missing, left over or of another shape; or another thread is
                predicting with this adapter.
        """
        with self._turns.change(self.active):
            self._fill(self.adapter, state, where)

    def _fill(self, adapter: Adapter, state: dict[str, Tensor], where: str) -> None:
        places = adapter.places()
        _check(state, places, adapter.moves, where)
        with torch.no_grad():
            for key, place in places.items():
                kind, _, name = key.partition(".")
                if key in state:
                    place.copy_(state[key])
                elif kind == "backbone":
                    place.copy_(tensor_at(self._plain[0], name))

    def add(
        self, name: str, adapter: Adapter, state: dict[str, Tensor] | None = None,
        where: str = "adapter",
    ) -> None:  # fmt: skip
        """Add ``adapter`` under ``name`` without using it yet.

        Args:
            name: what to call it.
            adapter: made for this backbone.
            state: tensors to put into it first, see :meth:`load_adapter_state`.
            where: what they are called in errors.

        Raises:
            AdapterError: the name is taken, or cannot be a module's; ``state`` does not fit.
        """
        self._check_new(name)
        moves = self._movable(adapter)
        adapter.join(twin(self._plain[0], moves), moves)
        device = next(self.parameters()).device
        if device.type != "cpu" or next(adapter.parameters()).device != device:
            adapter.to(device)
        adapter.release(False)
        adapter.mode(self.training)
        if state is not None:
            self._fill(adapter, state, where)
        with self._turns.lock:
            self._check_new(name)
            self.adapters[name] = adapter

    def _check_new(self, name: str) -> None:
        if name in self.adapters:
            raise AdapterError(f"an adapter called {name!r} is here already; choose another name")
        if not name or "." in name or hasattr(self.adapters, name):
            raise AdapterError(f"an adapter cannot be called {name!r}; choose another name")

    def use(self, name: str) -> PointModel:
        """Choose the adapter called ``name``, for the calling thread; nothing is moved.

        Raises:
            UnknownNameError: there is none.
        """
        adapter = self.called(name)
        if name != self._last:
            with self._turns.lock:
                if self._last in self.adapters:
                    self.called(self._last).release(False)
                adapter.release(True)
                self._modules["backbone"], self._last = adapter.backbone, name
        self._turns.chose(name)
        if not self.training == adapter.training == adapter.backbone.training:
            adapter.mode(self.training)
        return self

    def _movable(self, adapter: Adapter) -> dict[str, bool]:
        """Backbone tensors that ``adapter`` may change: buffers and trained parameters.

        Returns:
            Name -> whether the tensor is in the adapter's file even if it did not move.
        """
        parameters = [name for name, is_parameter in self._kinds.items() if is_parameter]
        trained = adapter.method.trainable_among(parameters)
        found = {name: name not in self._base or name in trained for name in self._kinds}
        return {name: always for name, always in found.items() if always or not self._kinds[name]}

    def _changed(self) -> dict[str, Tensor]:
        """Backbone tensors that belong to the active adapter's file."""
        own, (plain,) = self.adapter, self._plain
        now = {k: tensor_at(own.backbone, k) for k in own.moves}
        return {
            k: now[k] for k, always in own.moves.items()
            if always or not torch.equal(now[k].cpu(), tensor_at(plain, k).cpu())
        }  # fmt: skip


def _kinds(backbone: Backbone) -> dict[str, bool]:
    """The names of a backbone's stored tensors, and whether each is a parameter."""
    state = backbone.state_dict(keep_vars=True)
    return {name: isinstance(value, nn.Parameter) for name, value in state.items()}


def _check(
    state: dict[str, Tensor], places: dict[str, Tensor], moves: dict[str, bool], where: str
) -> None:
    """Raise unless ``state`` fills ``places``, but for backbone tensors that need not move."""
    for key in places:
        if key not in state and moves.get(key.removeprefix("backbone."), True):
            raise AdapterError(f"{where}: tensor {key!r} is missing")
    for key, value in state.items():
        if key not in places:
            raise AdapterError(f"{where}: tensor {key!r} has no place in this model")
        if places[key].shape != value.shape:
            raise AdapterError(
                f"{where}: tensor {key!r} has shape {tuple(value.shape)}, "
                f"but this model needs {tuple(places[key].shape)}"
            )


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
