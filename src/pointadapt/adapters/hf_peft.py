"""Hugging Face peft's way in: ``DaptConfig`` for ``get_peft_model``, and folders that peft wrote.

>>> import peft, pointadapt
>>> from pointadapt.adapters.hf_peft import DaptConfig
>>> net = pointadapt.load_backbone("tiny")
>>> model = peft.get_peft_model(net, DaptConfig(rank=32))
>>> model.save_pretrained("adapter")

Importing this module makes DAPT known to peft; do so before ``PeftModel.from_pretrained`` opens a
DAPT folder, ours or peft's. The model may be a backbone or any module that holds one; a head beside
it is trained and saved with ``modules_to_save``. What DAPT moves in the backbone (the CLS token,
running statistics of BatchNorm) is held once an adapter, so that adapters switch, and switch off,
exactly.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ..backbones import Backbone, Taps, Tokens
from ..core.errors import AdapterError, ConfigError, PointAdaptError, first_line
from ..core.files import read_json
from ..core.tensors import read_safetensors
from ..methods import METHODS, Method, make_method
from ..methods.dapt import Dapt
from ..pretrained.load import load_backbone
from ..tasks import make_task
from .folder import CONFIG, WEIGHTS
from .model import Adapter, PointModel

if TYPE_CHECKING:
    from peft import PeftConfig
    from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
    from peft.utils.other import set_additional_trainable_modules
else:
    try:
        from peft import PeftConfig
        from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
        from peft.utils.other import set_additional_trainable_modules
    except ImportError as error:
        raise PointAdaptError(
            f"pointadapt.adapters.hf_peft needs Hugging Face peft ({first_line(error)}): "
            "pip install 'pointadapt[peft]'"
        ) from error

TYPE, CHILD, BASE = "DAPT", "dapt", "base_model.model."


@dataclass
class _PeftFields(PeftConfig):
    """What peft asks of a configuration besides the method's options."""

    target_modules: Any = None
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Other modules to train and to save, such as a head."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = TYPE
        self.method()  # checks the options

    def method(self) -> Dapt:
        """Our own form of these options."""
        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(Dapt)}
        method: Any = make_method("dapt", options)
        return method

    @classmethod
    def check_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        """Options as the constructor takes them, from peft's file or from an adapter of ours."""
        if "method_options" not in kwargs:
            return kwargs
        return dict(kwargs["method_options"]) | {
            "base_model_name_or_path": kwargs.get("base_model_name_or_path"),
            "inference_mode": kwargs.get("inference_mode", True),
        }


DaptConfig: Any = dataclasses.make_dataclass(
    "DaptConfig",
    [(f.name, f.type, field(default=f.default)) for f in dataclasses.fields(Dapt)],
    bases=(_PeftFields,),
    namespace={
        "__doc__": f"peft's configuration of DAPT.\n\n{Dapt.__doc__}",
        "__module__": __name__,
    },
)


class _Moved(nn.Module):
    """Copies of the backbone's tensors that one adapter may move, under names without dots."""

    def __init__(self, backbone: Backbone, method: Dapt) -> None:
        super().__init__()
        self.frozen_batchnorm = method.batchnorm == "frozen"
        parameters = dict(backbone.named_parameters())
        trained = method.trainable_among(parameters)
        for name, value in parameters.items():
            if name in trained:
                self.register_parameter(_flat(name), nn.Parameter(value.detach().clone()))
        for name, value in backbone.named_buffers():
            if name.startswith(f"{CHILD}."):  # another adapter's
                continue
            self.register_buffer(_flat(name), value.detach().clone())

    def tensors(self) -> dict[str, Tensor]:
        """The copies under the backbone's names."""
        return {k.replace("/", "."): v for k, v in self.state_dict(keep_vars=True).items()}


def _flat(name: str) -> str:
    return name.replace(".", "/")


class DaptLayer(BaseTunerLayer, nn.Module):
    """The adapters of one backbone: their taps and what they moved, by the adapter's name.

    It is a child of the backbone and stands before its forward: without taps from the caller, the
    active adapter's are passed, over the backbone with that adapter's tensors in it.
    """

    adapter_layer_names: Any = ("dapt_taps", "dapt_moved")

    def __init__(self, backbone: Backbone) -> None:
        nn.Module.__init__(self)
        self._held = (backbone,)  # in a tuple, so that it is not a child of its own child
        self.merged_adapters = []
        self.dapt_taps, self.dapt_moved = nn.ModuleDict(), nn.ModuleDict()

    def add(self, name: str, method: Dapt) -> None:
        """New taps called ``name``."""
        (backbone,) = self._held
        moved = _Moved(backbone, method)
        taps = method.attach(backbone).to(next(backbone.parameters()).device)
        if name in {part for key in taps.state_dict() for part in key.split(".")}:
            raise ConfigError(f"a DAPT adapter cannot be called {name!r} in peft; choose another")
        self.dapt_taps[name], self.dapt_moved[name] = taps, moved

    def get_base_layer(self) -> nn.Module:
        return self._held[0]

    def forward(self, points: Tensor, taps: Taps | None = None) -> Tokens:
        """Tokens of points (B, N, 3), the active adapter's unless taps are given."""
        (backbone,) = self._held
        names = [n for n in self.active_adapters if n in self.dapt_taps]
        if taps is not None or self.disable_adapters or not names:
            return type(backbone).forward(backbone, points, taps)
        if len(names) > 1:
            raise ConfigError(f"DAPT runs one adapter at a time, not {' and '.join(names)}")
        moved: Any = self.dapt_moved[names[0]]
        if moved.frozen_batchnorm:
            for module in backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return functional_call(backbone, moved.tensors(), (points, self.dapt_taps[names[0]]))


class DaptModel(BaseTuner):
    """peft's tuner for :class:`DaptConfig`."""

    prefix = "dapt_"
    tuner_layer_cls = DaptLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012 - as the base class has it

    def inject_adapter(
        self, model: nn.Module, adapter_name: str, autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False, state_dict: dict[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        """Add the adapter to the backbone in ``model``; the first one freezes all else.

        Raises:
            ConfigError: no backbone of ours is in ``model``, or the name cannot be.
        """
        config: Any = self.peft_config[adapter_name]
        self._check_new_adapter_config(config)
        backbone = next((m for m in model.modules() if isinstance(m, Backbone)), None)
        if backbone is None:
            raise ConfigError(f"a {type(model).__name__} holds no backbone of pointadapt for DAPT")
        first = CHILD not in backbone._modules
        flags = [] if first else [(p, p.requires_grad) for p in model.parameters()]
        if first:
            layer = DaptLayer(backbone)
            backbone.add_module(CHILD, layer)
            backbone.forward = layer.forward  # type: ignore[method-assign]
        held: Any = backbone._modules[CHILD]
        held.add(adapter_name, config.method())
        self.targeted_module_names = [CHILD]
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)
        self._mark_only_adapters_as_trainable(model)
        set_additional_trainable_modules(
            model=model, peft_config=config, model_config=BaseTuner.get_model_config(self),
            adapter_name=adapter_name, activate_adapter=adapter_name in self.active_adapters,
        )  # fmt: skip
        for parameter, flag in flags:
            parameter.requires_grad_(flag)

    def _create_and_replace(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("DAPT replaces no layer")

    def unload(self) -> nn.Module:
        """The model without DAPT."""
        for module in list(self.model.modules()):
            if isinstance(module, Backbone) and CHILD in module._modules:
                del module._modules[CHILD], module.__dict__["forward"]
        return self.model

    def _unload_and_optionally_merge(self, merge: bool = True, *_: Any, **__: Any) -> Any:
        if merge:
            raise ConfigError("DAPT's dynamic adapter cannot be merged into the backbone")
        return self.unload()

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        """The name in a file: that of our own adapter files."""
        parts = re.fullmatch(rf".*\bdapt_(taps|moved)\.{re.escape(adapter_name)}\.(.+)", key)
        if parts is None:
            return key
        kind = {"taps": "taps", "moved": "backbone"}[parts[1]]
        return f"{kind}.{parts[2].replace('/', '.')}"

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: Any, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        state = super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)
        for key, value in model.state_dict().items():
            if f".dapt_moved.{adapter_name}." in key and key not in state:
                state[key] = value  # a file of ours holds a buffer only where it moved
        return state


def from_peft(
    folder: Path | str, backbone: str | Path | Backbone, classes: Sequence[str], *,
    task: str = "classification", head_inputs: Sequence[str] = (),
) -> PointModel:  # fmt: skip
    """A model of ours from a folder that peft wrote, for its tensors or to train on.

    Args:
        folder: what ``PeftModel.save_pretrained`` wrote, DAPT or any TYPE of ``peft:TYPE``.
        backbone: what peft's model was made on.
        classes: names of the classes.
        task: the head's task.
        head_inputs: as in training; empty takes the method's default.

    The head is new, unless peft saved one (``modules_to_save=["head"]``) that fits.

    Raises:
        AdapterError: the folder is none of peft's, or does not fit the backbone.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    ours = isinstance(config, dict) and "pointadapt" in (config.get("auto_mapping") or config)
    if not isinstance(config, dict) or "peft_type" not in config or ours:
        raise AdapterError(f"{folder} was not written by peft: open it with pointadapt.load")
    net = backbone if isinstance(backbone, Backbone) else load_backbone(backbone)
    method = _method_of(config)
    adapter = Adapter(net, method, make_task(task), classes, head_inputs)
    model = PointModel(net, adapter)
    state, given = dict(model.adapter_state()), {}
    for key, value in read_safetensors(folder / WEIGHTS).items():
        head = re.fullmatch(r"base_model\.model\.head\.(.+)", key)
        given[f"head.{head[1]}" if head else key.replace(f"{BASE}backbone.", BASE)] = value
    given = method.from_file(adapter.taps, given)
    for key in state:
        if key.startswith("taps.") and key not in given:
            raise AdapterError(f"{folder}: tensor {key.removeprefix('taps.')!r} is missing")
    model.load_adapter_state(state | given, str(folder))
    return model.eval()


def _method_of(config: dict[str, Any]) -> Method:
    if config["peft_type"] == TYPE:
        names = {f.name for f in dataclasses.fields(Dapt)}
        return make_method("dapt", {k: v for k, v in config.items() if k in names})
    name = f"peft:{str(config['peft_type']).lower()}"
    known = METHODS[name].known()  # type: ignore[attr-defined]
    return make_method(name, {k: v for k, v in config.items() if k in known and v is not None})


def _register() -> None:
    from peft.mapping import (
        PEFT_TYPE_TO_CONFIG_MAPPING,
        PEFT_TYPE_TO_PREFIX_MAPPING,
        PEFT_TYPE_TO_TUNER_MAPPING,
    )

    tables: Any = (
        (PEFT_TYPE_TO_CONFIG_MAPPING, DaptConfig), (PEFT_TYPE_TO_TUNER_MAPPING, DaptModel),
        (PEFT_TYPE_TO_PREFIX_MAPPING, DaptModel.prefix),
    )  # fmt: skip
    for table, entry in tables:
        table[TYPE] = entry


_register()
