"""pointadapt: one frozen 3D backbone, many tiny adapters.

>>> import pointadapt
>>> results = pointadapt.train(recipe="dapt-folder", root="scans", out="runs/scans")
>>> pointadapt.predict(["scan.ply"], "runs/scans/adapter")[0].label

Every command has its Python call of the same name and options. Names are imported when they are
first used, so that ``import pointadapt`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.version import __version__

if TYPE_CHECKING:
    from .adapters.convert import convert
    from .adapters.fold import fold
    from .adapters.folder import load, load_into, save_adapter
    from .adapters.hf_peft import DaptConfig
    from .adapters.model import PointModel
    from .adapters.push import push
    from .cli.listing import available
    from .core.config import (
        CompareConfig,
        CrossValidateConfig,
        EvaluateConfig,
        FewShotConfig,
        InspectConfig,
        PretrainConfig,
        RobustnessConfig,
        TrainConfig,
    )
    from .core.errors import PointAdaptError
    from .data import load_dataset
    from .data.checking.verify import verify_data
    from .inference.embed import embed, suggest
    from .inference.linear_svm import probe
    from .inference.predict import predict
    from .inference.score_scenes import pool_scores, score_scenes
    from .io import read_points, write_points
    from .methods import make_method
    from .pretrained.fetch import fetch
    from .pretrained.load import load_backbone
    from .pretraining.trainer import pretrain
    from .reports.data_sheet import show_data
    from .reports.evaluation import evaluate
    from .reports.inspection import inspect
    from .serving.export import export
    from .serving.serve import serve
    from .studies.compare import compare
    from .studies.cross_validate import cross_validate
    from .studies.demo import demo
    from .studies.few_shot import few_shot
    from .studies.robustness import robustness
    from .tasks import make_task
    from .training.trainer import train

_HOME = {  # public name -> the module that defines it
    "CompareConfig": "core.config",
    "CrossValidateConfig": "core.config",
    "DaptConfig": "adapters.hf_peft",
    "EvaluateConfig": "core.config",
    "FewShotConfig": "core.config",
    "InspectConfig": "core.config",
    "PointAdaptError": "core.errors",
    "PointModel": "adapters.model",
    "PretrainConfig": "core.config",
    "RobustnessConfig": "core.config",
    "TrainConfig": "core.config",
    "available": "cli.listing",
    "compare": "studies.compare",
    "convert": "adapters.convert",
    "cross_validate": "studies.cross_validate",
    "demo": "studies.demo",
    "embed": "inference.embed",
    "evaluate": "reports.evaluation",
    "export": "serving.export",
    "fetch": "pretrained.fetch",
    "few_shot": "studies.few_shot",
    "fold": "adapters.fold",
    "inspect": "reports.inspection",
    "load": "adapters.folder",
    "load_backbone": "pretrained.load",
    "load_dataset": "data",
    "load_into": "adapters.folder",
    "make_method": "methods",
    "make_task": "tasks",
    "pool_scores": "inference.score_scenes",
    "predict": "inference.predict",
    "pretrain": "pretraining.trainer",
    "probe": "inference.linear_svm",
    "push": "adapters.push",
    "read_points": "io",
    "robustness": "studies.robustness",
    "save_adapter": "adapters.folder",
    "score_scenes": "inference.score_scenes",
    "serve": "serving.serve",
    "show_data": "reports.data_sheet",
    "suggest": "inference.embed",
    "train": "training.trainer",
    "verify_data": "data.checking.verify",
    "write_points": "io",
}

__all__ = [
    "CompareConfig",
    "CrossValidateConfig",
    "DaptConfig",
    "EvaluateConfig",
    "FewShotConfig",
    "InspectConfig",
    "PointAdaptError",
    "PointModel",
    "PretrainConfig",
    "RobustnessConfig",
    "TrainConfig",
    "__version__",
    "available",
    "compare",
    "convert",
    "cross_validate",
    "demo",
    "embed",
    "evaluate",
    "export",
    "fetch",
    "few_shot",
    "fold",
    "inspect",
    "load",
    "load_backbone",
    "load_dataset",
    "load_into",
    "make_method",
    "make_task",
    "pool_scores",
    "predict",
    "pretrain",
    "probe",
    "push",
    "read_points",
    "robustness",
    "save_adapter",
    "score_scenes",
    "serve",
    "show_data",
    "suggest",
    "train",
    "verify_data",
    "write_points",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
