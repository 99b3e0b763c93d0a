"""Configurations: frozen dataclasses of plain values, so that the command line starts fast."""

from .compare import CompareConfig
from .cross_validate import CrossValidateConfig
from .evaluate import EvaluateConfig
from .few_shot import FewShotConfig
from .inspect import InspectConfig
from .pretrain import PretrainConfig
from .published import Published
from .robustness import RobustnessConfig
from .train import TrainConfig
from .values import (
    MAY_DIFFER,
    key_values,
    load_config,
    other_options,
    read_config,
    save_config,
    to_plain,
)
from .words import Augmentation, Precision, Voting, together_text, votes_text

__all__ = [
    "MAY_DIFFER",
    "Augmentation",
    "CompareConfig",
    "CrossValidateConfig",
    "EvaluateConfig",
    "FewShotConfig",
    "InspectConfig",
    "Precision",
    "PretrainConfig",
    "Published",
    "RobustnessConfig",
    "TrainConfig",
    "Voting",
    "key_values",
    "load_config",
    "other_options",
    "read_config",
    "save_config",
    "to_plain",
    "together_text",
    "votes_text",
]
