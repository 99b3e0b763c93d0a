"""Data sets, one file each. See :mod:`pointadapt.data.base` for what a data set is."""

from ._checks import check
from .base import DATASETS, Clouds, Dataset, load_dataset

__all__ = ["DATASETS", "Clouds", "Dataset", "check", "load_dataset"]
