"""Taps that run peft's layers: a stand-in of the backbone with exchanged layers.

peft puts its layers into a network in the place of others. Our backbones are shared by adapters and
stay as published, so peft gets a stand-in: a copy of the containers (blocks, attention, …) whose
leaves (linear layers, norms, …) and tensors are the backbone's own objects. The taps hold the
tensors that peft adds and send a forward to the stand-in (:meth:`pointadapt.backbones.Taps.host`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

from ...backbones import Backbone, Taps
from ...core.errors import ConfigError, first_line

BASE = "base_model.model."


class PeftTaps(Taps):
    """The tensors that peft adds to ``backbone`` for ``config``.

    Raises:
        ConfigError: peft refuses the backbone or the options, its start values change the
            backbone's own tensors, or a targeted layer is none that the forward calls.
    """

    def __init__(
        self, backbone: Backbone, name: str, config: Any,
        position: Literal["every_block", "once"],
    ) -> None:  # fmt: skip
        super().__init__(backbone.config.depth, position)
        model = _inject(backbone, name, config)
        self._held = (backbone, model)  # in a tuple, so that they are not this module's own
        self.own = nn.ModuleList(_modules_of(model))
        self.loose = nn.ParameterList(_parameters_of(model))
        self._names = _names(super().state_dict(), get_peft_model_state_dict(model))
        self.register_state_dict_post_hook(_rename_saved)
        self.register_load_state_dict_pre_hook(_rename_loaded)
        _check_used(self, backbone, name)

    @property
    def backbone(self) -> Backbone:
        """The backbone that the stand-in stands for."""
        return self._held[0]

    def host(self, backbone: Backbone) -> Backbone:
        held, model = self._held
        stand_in: Any = model.base_model.model
        if held is not backbone:  # as after a deep copy
            _rebase(stand_in, backbone)
            self._held = (backbone, model)
        for module in _containers(stand_in):
            theirs = isinstance(module, BaseTunerLayer)
            module.training = self.training if theirs else backbone.training
        return stand_in

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PeftTaps:
        """As every module; also for buffers that lie in peft's layers themselves."""
        super()._apply(fn, recurse)
        for _, tuner in _tuners(self._held[1]):
            for name, buffer in tuner._buffers.items():
                tuner._buffers[name] = buffer if buffer is None else fn(buffer)
        return self

    def to_file(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """An adapter's tensors under the names by which peft finds them in a file."""
        moved = {ours: theirs for theirs, ours in self._moved_names().items()}
        out = {}
        for key, value in tensors.items():
            kind, _, name = key.partition(".")
            out[{"taps": name, "backbone": moved.get(name, ""), "head": key}[kind]] = value
        return out

    def from_file(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The reverse of :meth:`to_file`; unknown names stay as they are."""
        taken, moved = set(self._names.values()), self._moved_names()
        ours = {}
        for key, value in tensors.items():
            name = f"backbone.{moved[key]}" if key in moved else key
            ours[f"taps.{key}" if key in taken else name] = value
        return ours

    def _moved_names(self) -> dict[str, str]:
        """Peft's name -> ours of every tensor of the backbone."""
        backbone, model = self._held
        ours = {id(v): k for k, v in backbone.state_dict(keep_vars=True).items()}
        theirs = model.state_dict(keep_vars=True)
        return {k: ours[id(v)] for k, v in theirs.items() if id(v) in ours}


def stand_in_of(module: nn.Module) -> Any:
    """A copy of ``module``'s containers around the same leaves and tensors."""
    if not module._modules:
        return module
    twin = copy.copy(module)
    twin.__dict__ = module.__dict__ | {  # parameters and buffers stay the same dictionaries
        "_modules": {k: v and stand_in_of(v) for k, v in module._modules.items()}
    }
    return twin


def _inject(backbone: Backbone, name: str, config: Any) -> PeftModel:
    state = backbone.state_dict(keep_vars=True)
    before = {k: v.detach().clone() for k, v in state.items()}
    flags = {k: v.requires_grad for k, v in state.items()}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"peft(\.|$)")
            model: Any = get_peft_model(stand_in_of(backbone), config)
    except Exception as error:  # peft's own checks raise what they like
        raise ConfigError(f"method {name!r}: {first_line(error)}") from error
    finally:
        moved = [k for k, v in state.items() if not torch.equal(v, before[k])]
        with torch.no_grad():
            for key, value in state.items():
                if key in moved:
                    value.copy_(before[key])
                if value.is_floating_point():
                    value.requires_grad_(flags[key])
    if moved:
        raise ConfigError(
            f"method {name!r}: these options change the backbone's own tensor {moved[0]!r}, which "
            "other adapters share: choose another start value"
        )
    return model.eval() if not backbone.training else model


def _tuners(model: PeftModel) -> Iterator[tuple[str, Any]]:
    for path, module in model.named_modules():
        if isinstance(module, (BaseTuner, BaseTunerLayer)):
            yield path, module


def _modules_of(model: PeftModel) -> list[nn.Module]:
    """The modules that peft added, each once: what its layers hold besides the wrapped ones."""
    found: dict[int, nn.Module] = {}
    for _, tuner in _tuners(model):
        for name, child in tuner.named_children():
            if name not in ("base_layer", "model"):
                found.setdefault(id(child), child)
    return list(found.values())


def _parameters_of(model: PeftModel) -> list[nn.Parameter]:
    found = {id(p): p for _, tuner in _tuners(model) for p in tuner.parameters(recurse=False)}
    return list(found.values())


def _names(raw: dict[str, Tensor], saved: dict[str, Tensor]) -> dict[str, str]:
    """The key of a tensor in our state -> its key in a file of peft's, by their memory."""
    place = {(v.data_ptr(), v.shape): k for k, v in saved.items()}
    return {k: place[at] for k, v in raw.items() if (at := (v.data_ptr(), v.shape)) in place}


def _rename_saved(module: PeftTaps, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Peft's names in the place of ours; what peft does not save, its seed makes again."""
    mine = {k: state.pop(k) for k in list(state) if k.startswith(prefix)}
    for raw, name in module._names.items():
        state[prefix + name] = mine[prefix + raw]


def _rename_loaded(module: PeftTaps, state: dict[str, Any], prefix: str, *_: Any) -> None:
    given = {k: state.pop(k) for k in list(state) if k.startswith(prefix)}
    for raw, name in module._names.items():
        if prefix + name in given:
            state[prefix + raw] = given[prefix + name]


def _containers(module: nn.Module) -> Iterator[nn.Module]:
    """What in a stand-in is not the backbone's own: the copied containers and peft's layers."""
    if module._modules:
        yield module
        for name, child in module.named_children():
            if name != "base_layer" and not isinstance(child, (nn.ModuleDict, nn.ParameterDict)):
                yield from _containers(child)


def _rebase(twin: nn.Module, module: nn.Module) -> None:
    """Make the stand-in ``twin`` stand for ``module``."""
    twin._parameters, twin._buffers = module._parameters, module._buffers
    for name, child in twin._modules.items():
        target = module._modules[name]
        if isinstance(child, BaseTunerLayer):
            layer: Any = child
            while isinstance(layer.base_layer, BaseTunerLayer):
                layer = layer.base_layer
            layer.base_layer = target
        elif child is not None and target is not None and target._modules:
            _rebase(child, target)
        else:
            twin._modules[name] = target


def _check_used(taps: PeftTaps, backbone: Backbone, name: str) -> None:
    """Raise unless a forward calls every layer of peft's: some weights are used directly."""
    layers = {path: m for path, m in _tuners(taps._held[1]) if isinstance(m, BaseTunerLayer)}
    called: set[str] = set()
    hooks = [
        m.register_forward_pre_hook(lambda *_, path=path: called.add(path))  # type: ignore[misc]
        for path, m in layers.items()
    ]
    training = backbone.training
    weight = next(backbone.parameters())
    count = max(backbone.config.groups, backbone.config.group_size)
    points = torch.linspace(-1, 1, 3 * count, device=weight.device).view(1, count, 3)
    try:
        with torch.no_grad():
            backbone.eval()
            taps.eval()
            backbone(points, taps)
    finally:
        backbone.train(training)
        taps.train()
        for hook in hooks:
            hook.remove()
    if idle := [path.removeprefix(BASE) for path in layers if path not in called]:
        raise ConfigError(
            f"method {name!r}: the backbone never calls {idle[0]!r} as a layer, so it cannot be "
            "among target_modules: name it in exclude_modules"
        )
