"""Data sets, one file each. See :mod:`pointadapt.data._base` for what a data set is."""

from ._base import DATASETS, Clouds, Dataset, load_dataset
from ._checks import check

__all__ = ["DATASETS", "Clouds", "Dataset", "check", "load_dataset"]
