"""The data set that an adapter was trained on, which says how its files are read."""

from __future__ import annotations

from ..core.config import TrainConfig, key_values
from ..data import Dataset, load_dataset


def trained_data(trained: TrainConfig | None) -> Dataset | None:
    """It, with its options and not loaded; of folds or episodes the one that they index.

    Args:
        trained: the training configuration; None where the adapter does not know it.

    Raises:
        DataLayoutError, FileFormatError: the index of the folds or episodes is missing or damaged.
    """
    if trained is None:
        return None
    options = {"root": trained.root, "points": trained.points, **key_values(trained.data_options)}
    given = {key: value for key, value in options.items() if value is not None}
    return load_dataset(trained.data, **given).origin()
