"""Data sets, one file each. See :mod:`pointadapt.data.base` for what a data set is."""

from .base import DATASETS, Clouds, Dataset, load_dataset, load_split
from .checking.checks import check

__all__ = ["DATASETS", "Clouds", "Dataset", "check", "load_dataset", "load_split"]
