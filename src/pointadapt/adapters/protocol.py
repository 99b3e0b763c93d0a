"""How an adapter was trained, and its model made ready to be used the same way."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.config import Precision, TrainConfig, Voting, key_values
from ..core.errors import ConfigError
from ..core.fields import build
from ..core.precision import at_hand, chosen
from . import folder as adapter_folder

if TYPE_CHECKING:
    from ..data import Clouds, Dataset
    from .model import PointModel

SELECTION = {
    "last": "last epoch",
    "val": "best epoch on a split held out of train",
    "test": "best epoch on the test set (the papers' way)",
}


@dataclass(frozen=True)
class Protocol:
    """What an adapter is to be scored on.

    Attributes:
        points: points of a cloud that enter the network.
        normalise: whether each cloud is centred and scaled before.
        data: name of the data set.
        options: its options, the number of points that it is to return included.
        precision: number format of the forward pass in training.
        voting: how votes are averaged where there are any.
    """

    points: int
    normalise: bool
    data: str
    options: dict[str, Any]
    precision: Precision
    voting: Voting = "probabilities"

    @classmethod
    def of(
        cls, folder: Path | str, data: str | None = None, root: Path | None = None,
        options: tuple[str, ...] = (), *, about: dict[str, Any] | None = None,
    ) -> Protocol:  # fmt: skip
        """The adapter's own protocol; ``data``, ``root`` and single ``options`` replace its parts.

        ``about`` is what a loaded model's folder says, which another adapter may lie in by now.

        Raises:
            AdapterError: there is no adapter in ``folder``.
            ConfigError: no data set is given, and the adapter does not say what it was trained on.
        """
        config = about or adapter_folder.read_adapter_config(folder)
        trained = training_config(config)
        if trained is None and data is None:
            raise ConfigError(
                f"{folder} does not say what it was trained on: pass --data NAME, and --root DIR"
            )
        values: dict[str, Any] = {}
        if trained is not None and data in (None, trained.data):
            data = trained.data
            values = {"root": trained.root, **key_values(trained.data_options)}
        values = {"points": config["available"], **values, **({"root": root} if root else {})}
        values |= key_values(options)
        known = {k: v for k, v in values.items() if v is not None}
        points, normalise = config["points"], config["normalise"]
        if trained is None:
            return cls(points, normalise, str(data), known, "fp32")
        precision = at_hand(trained.precision)
        return cls(points, normalise, str(data), known, precision, trained.voting)

    def load(self, split: str) -> Clouds:
        """The clouds of a split of its data set; see :meth:`pointadapt.data.base.Dataset.load`."""
        return self.dataset.load(split)

    @property
    def dataset(self) -> Dataset:
        """Its data set, not loaded."""
        from ..data import load_dataset

        return load_dataset(self.data, **self.options)


def training_config(config: dict[str, Any]) -> TrainConfig | None:
    """The training configuration in an ``adapter_config.json``; None where there is none.

    Keys that this version does not know are left out.
    """
    values = config.get("results", {}).get("config")
    if not values:
        return None
    if not isinstance(values, dict):
        raise ConfigError("this adapter's results name a training configuration that is none")
    known = {f.name for f in fields(TrainConfig)}
    run = build(TrainConfig, {k: v for k, v in values.items() if k in known}, "this adapter")
    return replace(run, data_options=_as_trained(run, config["results"].get("settled")))


def _as_trained(run: TrainConfig, settled: Any) -> tuple[str, ...]:
    """The options of a run's data, with what was chosen from them, or what the default once was."""
    from ..data.base import DATASETS

    if not isinstance(settled, dict):  # before anything was
        settled = DATASETS[run.data].formerly if run.data in DATASETS else {}
    given = key_values(run.data_options)
    more = (f"{key}={value}" for key, value in settled.items() if key not in given)
    chosen = {k for k in settled if given.get(k) == "auto"}
    kept = (item for item in run.data_options if item.partition("=")[0].strip() not in chosen)
    return (*kept, *more, *(f"{key}={settled[key]}" for key in sorted(chosen)))


def load_ready(
    folder: PointModel | Path | str, backbone: Path | str | None = None, name: str = "default"
) -> PointModel:
    """The model of an adapter folder, on the GPU where there is one; see :func:`~.folder.load`.

    A model is returned as it is.
    """
    import torch

    if not isinstance(folder, (str, Path)):
        return folder
    model = adapter_folder.load(folder, backbone=backbone, name=name)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def autocast(model: PointModel, precision: Precision) -> AbstractContextManager[Any]:
    """The number format ``precision`` for the forward passes inside the block."""
    import torch

    device = next(model.parameters()).device.type
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[chosen(precision)]
    return torch.autocast(device, dtype, enabled=dtype is not None)


def stated(config: TrainConfig, selected_epoch: int) -> dict[str, Any]:
    """What a training run's results say of how they came about, as plain values."""
    return {
        "selection": SELECTION[config.select],
        "selected_epoch": selected_epoch,
        "epochs": config.epochs,
        "seed": config.seed,
        "augmentation": list(config.augment),
        "sampling": config.sampling,
        **({"shots": config.shots} if config.shots else {}),
        "votes": config.votes,
        **({"voting": config.voting} if config.votes else {}),
        "points": config.points,
        "precision": config.precision,
    }
