"""pointadapt: one frozen 3D backbone, many tiny adapters.

>>> import pointadapt
>>> model = pointadapt.load("runs/train/adapter")
>>> pointadapt.predict(["scan.ply"], "runs/train/adapter")[0].label

Names are imported when they are first used, so that ``import pointadapt`` costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters.convert import convert
    from .adapters.fold import fold
    from .adapters.folder import load, load_into, save_adapter
    from .adapters.model import PointModel
    from .core.config import PretrainConfig, TrainConfig
    from .core.errors import PointAdaptError
    from .data import load_dataset
    from .inference.classify_files import predict
    from .inference.forward import evaluate
    from .io import read_points, write_points
    from .methods import make_method
    from .pretrained.fetch import fetch
    from .pretrained.load import load_backbone
    from .pretraining.trainer import pretrain
    from .training.trainer import train

__version__ = "0.1.0"

__all__ = [
    "PointAdaptError",
    "PointModel",
    "PretrainConfig",
    "TrainConfig",
    "__version__",
    "convert",
    "evaluate",
    "fetch",
    "fold",
    "load",
    "load_backbone",
    "load_dataset",
    "load_into",
    "make_method",
    "predict",
    "pretrain",
    "read_points",
    "save_adapter",
    "train",
    "write_points",
]

_HOME = {  # public name -> the module that defines it
    "PointAdaptError": "errors",
    "PointModel": "model",
    "PretrainConfig": "config",
    "TrainConfig": "config",
    "convert": "convert",
    "evaluate": "evaluate",
    "fetch": "fetch",
    "fold": "fold",
    "load": "hub",
    "load_backbone": "backbones._weights",
    "load_dataset": "data",
    "load_into": "hub",
    "make_method": "methods",
    "predict": "predict",
    "pretrain": "pretrain",
    "read_points": "io",
    "save_adapter": "hub",
    "train": "train",
    "write_points": "io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps ``pointadapt.training.trainer`` the function, also once the module of that name is imported.

    Importing a submodule sets it as an attribute of its package. Where it is called like a public
    function that it defines, the function is set instead, as an eager import here would do.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOME.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
