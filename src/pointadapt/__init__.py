"""pointadapt: one frozen 3D backbone, many tiny adapters.

>>> import pointadapt
>>> model = pointadapt.load("runs/train/adapter")
>>> pointadapt.predict(["scan.ply"], "runs/train/adapter")[0].label

Names are imported when they are first used, so that ``import pointadapt`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
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
    from .inference.score import evaluate
    from .io import read_points, write_points
    from .methods import make_method
    from .pretrained.fetch import fetch
    from .pretrained.load import load_backbone
    from .pretraining.trainer import pretrain
    from .training.trainer import train

from .core.version import __version__

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
    "PointAdaptError": "core.errors",
    "PointModel": "adapters.model",
    "PretrainConfig": "core.config",
    "TrainConfig": "core.config",
    "convert": "adapters.convert",
    "evaluate": "inference.score",
    "fetch": "pretrained.fetch",
    "fold": "adapters.fold",
    "load": "adapters.folder",
    "load_backbone": "pretrained.load",
    "load_dataset": "data",
    "load_into": "adapters.folder",
    "make_method": "methods",
    "predict": "inference.classify_files",
    "pretrain": "pretraining.trainer",
    "read_points": "io",
    "save_adapter": "adapters.folder",
    "train": "training.trainer",
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
