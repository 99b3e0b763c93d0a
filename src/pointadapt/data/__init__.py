"""Data sets, one file each. See :mod:`pointadapt.data._base` for what a data set is."""

from ._base import DATASETS, Clouds, Dataset, load_dataset

__all__ = ["DATASETS", "Clouds", "Dataset", "load_dataset"]
