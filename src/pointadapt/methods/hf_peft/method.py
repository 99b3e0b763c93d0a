"""Hugging Face peft's tuners as methods: ``peft:lora``, ``peft:dora``, ``peft:ia3`` and others.

``peft:TYPE`` takes the options of peft's own configuration of that type::

    pointadapt train --method peft:lora --options r=16 lora_alpha=16 target_modules=qkv,proj

Nothing is rewritten: peft makes the layers, on a stand-in of the backbone that shares its tensors
(:mod:`pointadapt.methods.hf_peft.taps`). It is imported when such a method is asked for, and is an
optional extra: ``pip install 'pointadapt[peft]'``.

The adapter folder is both libraries'. ``adapter_config.json`` is peft's, with ours inside its
``auto_mapping``. ``adapter_model.safetensors`` has peft's names, among them those of the backbone's
tensors that training moved, so that ``PeftModel.from_pretrained(backbone, folder)`` computes the
same tokens; the head's start with "head." and peft passes over them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ...backbones import Backbone, Taps
from ...core.errors import ConfigError, PointAdaptError, UnknownNameError, first_line
from ...core.fields import build
from ..base import METHODS, ClsMethod

if TYPE_CHECKING:
    from .taps import PeftTaps

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {  # names of papers that are options of a tuner
    "dora": ("lora", {"use_dora": True}),
    "rslora": ("lora", {"use_rslora": True}),
}
LINEARS = ["qkv", "proj", "fc1", "fc2"]
TARGETS: dict[str, dict[str, Any]] = {  # where peft knows none for our backbones
    "ia3": {"target_modules": ["qkv", "fc2"], "feedforward_modules": ["fc2"]},
    "ln_tuning": {"target_modules": r"(.*blocks\.\d+\.)?norm\d?"},  # no BatchNorm of the encoder
}
OURS = {  # what peft's configurations hold that is not for the user to set here
    "peft_type", "task_type", "inference_mode", "base_model_name_or_path", "revision",
    "auto_mapping", "peft_version", "modules_to_save", "runtime_config",
}  # fmt: skip
REFUSED = {
    "adalora": "it must be called between training steps",
    "xlora": "it mixes trained adapters of language models",
    "poly": "it needs a task number with every input",
    "shadow": "it runs a second language model beside the first",
    "trainable_tokens": "it trains rows of a table of words",
}
STARTS_AS_PRETRAINED = frozenset(
    ("ia3", "ln_tuning", "loha", "lokr", "lora", "randlora", "road", "rslora", "vera")
)


@METHODS.family("peft")
@dataclass(frozen=True)
class PeftMethod(ClsMethod):
    """A tuner of peft; its members differ in ``peft_type`` and ``fixed``.

    Attributes:
        peft: the options of peft's configuration, plain values; those not given are peft's
            defaults. ``target_modules`` are every block's linear layers where peft has no default.
    """

    title = "any tuner of Hugging Face peft"
    paper = "lora, dora, ia3, vera, loha, …: see https://huggingface.co/docs/peft"
    why_not_fold = "its layers are peft's, whose merging is not used here"
    scratch = 16  # peft makes its layers anew where they stand
    peft_type: ClassVar[str] = ""
    fixed: ClassVar[dict[str, Any]] = {}

    peft: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # All of them, so that another release's defaults do not change what a file means.
        object.__setattr__(self, "peft", _plain_options(self.peft_config()))

    @classmethod
    def member(cls, name: str) -> type[PeftMethod]:
        """The method "peft:name".

        Raises:
            PointAdaptError: peft is not installed.
            UnknownNameError: peft has no such tuner.
            ConfigError: it cannot run on a backbone of ours.
        """
        return _member(name)

    @classmethod
    def known(cls) -> list[str]:
        """The names of all options, ours and peft's."""
        own = [f.name for f in fields(cls) if f.name != "peft"]
        return own + [f.name for f in fields(_config_class(cls.peft_type)) if f.name not in OURS]

    @classmethod
    def make(cls, options: Mapping[str, Any]) -> PeftMethod:
        what = f"method {cls.name!r}"
        own = [f.name for f in fields(cls) if f.name != "peft"]
        defaults = {f.name: f.default for f in fields(_config_class(cls.peft_type))}
        known = cls.known()
        for key in options:
            if key not in known:
                raise UnknownNameError(f"option of {what}", key, known)
        theirs = {k: _value(k, v, defaults[k], what) for k, v in options.items() if k not in own}
        ours: Any = build(cls, {k: v for k, v in options.items() if k in own}, what)
        return replace(ours, peft=theirs)

    def to_dict(self) -> dict[str, Any]:
        """Our options and peft's side by side."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "peft"}
        return own | self.peft

    def peft_config(self) -> Any:
        """A new configuration object of peft.

        Raises:
            ConfigError: peft refuses these options.
        """
        config = _config_class(self.peft_type)
        values = dict(TARGETS.get(self.peft_type, {}))
        if not values and "target_modules" in {f.name for f in fields(config)}:
            values = {"target_modules": LINEARS}
        values |= self.fixed | self.peft
        try:
            made = config(**values)
        except Exception as error:  # peft's own checks raise what they like
            raise ConfigError(f"method {self.name!r}: {first_line(error)}") from error
        if getattr(made, "bias", "none") not in ("none", "all"):
            raise ConfigError(f"method {self.name!r}: bias must be none or all, not {made.bias!r}")
        return made

    def attach(self, backbone: Backbone) -> PeftTaps:
        from .taps import PeftTaps

        return PeftTaps(backbone, self.name, self.peft_config(), self.position)

    def trainable(self, name: str) -> bool:
        return super().trainable(name) or (
            self.peft.get("bias") == "all" and name.endswith(".bias")
        )

    def to_file(
        self, taps: Taps, tensors: dict[str, Tensor], config: dict[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        peft_taps: Any = taps
        net = peft_taps.backbone
        about = _jsonable(self.peft_config().to_dict()) | {
            "inference_mode": True,
            "auto_mapping": {
                "base_model_class": type(net).__name__,
                "parent_library": type(net).__module__,
                "pointadapt": config,
            },
        }
        return peft_taps.to_file(tensors), about

    def from_file(self, taps: Taps, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        peft_taps: Any = taps
        return peft_taps.from_file(tensors)


def _library() -> Any:
    try:
        import peft
    except ImportError as error:
        raise PointAdaptError(
            f"methods peft:… need Hugging Face peft ({first_line(error)}): "
            "pip install 'pointadapt[peft]'"
        ) from error
    return peft


def _config_class(peft_type: str) -> Any:
    _library()
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CONFIGS

    table: Any = CONFIGS
    return table[peft_type.upper()]


@cache
def _member(name: str) -> type[PeftMethod]:
    _library()
    from peft import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CONFIGS

    known = sorted(str(getattr(t, "value", t)).lower() for t in CONFIGS)
    peft_type, fixed = VARIANTS.get(name, (name, {}))
    if peft_type not in known or peft_type == "dapt":
        raise UnknownNameError("method", f"peft:{name}", [f"peft:{n}" for n in [*known, *VARIANTS]])
    if issubclass(_config_class(peft_type), PromptLearningConfig) or "prompt" in peft_type:
        why: str | None = "its prompts are a language model's; take prefix or vpt instead"
    else:
        why = REFUSED.get(peft_type)
    if why:
        raise ConfigError(f"method 'peft:{name}' does not run on point clouds: {why}")
    body = {
        "name": f"peft:{name}",
        "title": f"{name} of Hugging Face peft",
        "paper": "see https://huggingface.co/docs/peft",
        "peft_type": peft_type,
        "fixed": fixed,
        "starts_as_pretrained": name in STARTS_AS_PRETRAINED,
        "__doc__": f"peft's {peft_type}.",
        "__module__": __name__,
    }
    return dataclass(frozen=True)(type(f"Peft_{name}", (PeftMethod,), body))


def _value(name: str, value: Any, default: Any, what: str) -> Any:
    """An option's value from text or JSON, checked against the default's type where that tells."""
    if isinstance(value, str) and not isinstance(default, str):
        text = value.strip()
        words = {"true": True, "false": False, "none": None, "yes": True, "no": False}
        try:
            value = words[text.lower()] if text.lower() in words else json.loads(text)
        except ValueError:
            # A plain string of peft's is a regular expression; names are a list, as elsewhere here.
            names = re.fullmatch(r"[\w.]+(\s*,\s*[\w.]+)*", text)
            value = [n.strip() for n in text.split(",")] if names and "modules" in name else text
    if isinstance(value, (set, frozenset, tuple)):
        value = sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    kinds = {bool: "true or false", int: "a whole number", float: "a number"}
    kind: Any = type(default)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {bool: isinstance(value, bool), int: number and value % 1 == 0, float: number}
    # Some of peft's switches take words too, such as init_lora_weights.
    word = kind is bool and isinstance(value, str)
    if kind in kinds and value is not None and not fits[kind] and not word:
        raise ConfigError(f"option {name!r} of {what} must be {kinds[kind]}, not {value!r}")
    made: Any = value
    return kind(made) if kind in (int, float) and number else made


def _plain_options(config: Any) -> dict[str, Any]:
    values = _jsonable({k: v for k, v in config.to_dict().items() if k not in OURS})
    return {k: v for k, v in values.items() if v is not None and v not in ({}, [])}


def _jsonable(value: Any) -> Any:
    """Sets as sorted lists and enumerations as their values."""
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_jsonable, value), key=str)
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    return getattr(value, "value", value) if not isinstance(value, (str, int, float)) else value
