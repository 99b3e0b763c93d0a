"""Which clouds are looked at: a user's files, or those of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...adapters.model import PointModel
from ...adapters.protocol import Protocol
from ...core.config.inspect import InspectConfig
from ...core.errors import ConfigError, PointAdaptError
from ...core.notes import note
from ...data.reading.sample import one_form
from ...inference.classify_files import CloudFiles, reader_of
from ...inference.forward import Inputs
from ...inference.label_parts import PointFiles
from ...inference.rows import list_files
from ...inference.score import check_names

UNKNOWN = -1


@dataclass(frozen=True)
class Subject:
    """The clouds that are looked at.

    Attributes:
        inputs: what the model is given of them.
        names: of the clouds.
        labels: (M,) class of each, or -1 where that is not known.
        target: the task's truth of the clouds whose class is known, in their order; None where it
            labels points, or nothing is known.
        source: where they come from, in words.
        left_out: why files could not be read, a line each.
    """

    inputs: Inputs
    names: tuple[str, ...]
    labels: np.ndarray
    target: Tensor | None
    source: str
    left_out: tuple[str, ...] = ()

    @property
    def known(self) -> np.ndarray:
        """Numbers of the clouds whose class is known."""
        return np.flatnonzero(self.labels != UNKNOWN)


def subject_of(config: InspectConfig, model: PointModel) -> Subject:
    """The clouds that ``config`` asks for.

    Raises:
        PointAdaptError: no file can be read.
        ConfigError: the adapter cannot take single files.
        DataLayoutError, FileFormatError: the data are not there, or are not those of the adapter.
    """
    return _of_files(config, model) if config.paths else _of_data(config, model)


def drawn(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Numbers of at most ``most`` clouds (all with 0), as even over the classes as can be."""
    if not most or len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.zeros(len(labels), np.int64)  # of each cloud within its class
    for label in np.unique(labels):
        own = order[labels[order] == label]
        rank[own] = np.arange(len(own))
    return np.sort(order[np.argsort(rank[order], kind="stable")][:most])


def _of_data(config: InspectConfig, model: PointModel) -> Subject:
    task = model.adapter.task
    protocol = Protocol.of(
        config.adapter, config.data, config.root, config.data_options, about=model.adapter.about
    )
    whole = protocol.load(config.split)
    check_names(model, whole)
    clouds = whole.subset(drawn(whole.labels, config.most, config.seed))
    names = clouds.ids or tuple(f"cloud {k}" for k in range(len(clouds)))
    target = None if task.per_point else torch.from_numpy(task.target(clouds))
    source = f"{protocol.data}, {config.split}"
    return Subject(Inputs.of(clouds, model), names, clouds.labels, target, source)


def _of_files(config: InspectConfig, model: PointModel) -> Subject:
    adapter = model.adapter
    if adapter.task.predictor not in (CloudFiles.name, PointFiles.name):
        raise ConfigError(
            f"{config.adapter} looks at blocks of scenes, not at single files: leave the files out "
            "to look at blocks of its own test data, or pass --root DIR"
        )
    listed = list_files(config.paths)
    for entry in listed:
        if entry.error is not None:
            raise PointAdaptError(entry.error)
    paths = [entry.path for entry in listed]
    labels = np.array([_class_of(path, adapter.classes) for path in paths], np.int64)
    index = drawn(labels, config.most, config.seed)
    read, left_out = _read(
        [paths[k] for k in index], reader_of(adapter.about, config.up, config.nan)
    )
    if not read:
        raise PointAdaptError(left_out[0] if left_out else "there is no file to look at")
    if left_out:
        note(f"{len(left_out):,} of {len(index):,} files are left out: {left_out[0]}")
    points, traits = (np.stack(arrays) for arrays in zip(*read.values(), strict=True))
    kept = labels[index[list(read)]]
    one = adapter.task.one_class and not adapter.task.per_point and (kept != UNKNOWN).any()
    target = torch.from_numpy(kept[kept != UNKNOWN]) if one else None
    names = tuple(str(paths[index[k]]) for k in read)
    source = ", ".join(map(str, config.paths[:3])) + (" …" if config.paths[3:] else "")
    return Subject(Inputs(points, traits=traits), names, kept, target, source, tuple(left_out))


def _class_of(path: Path, classes: Sequence[str]) -> int:
    """The class whose name the nearest folder above a file has that has any."""
    for folder in path.absolute().parents:
        name = one_form(folder.name)
        if name in classes:
            return list(classes).index(name)
    return UNKNOWN


def _read(paths: Sequence[Path], reader: Any) -> tuple[dict[int, Any], list[str]]:
    """Points and traits of the files that can be read, by number, and why others cannot."""
    read, errors = {}, []
    for k, path in enumerate(paths):
        try:
            read[k] = reader.measured(path)
        except PointAdaptError as error:
            errors.append(str(error))
    return read, errors


def some_training_clouds(config: InspectConfig, model: PointModel) -> Any:
    """As many of the clouds that the adapter was trained on; None where they are not at hand."""
    try:
        protocol = Protocol.of(config.adapter, about=model.adapter.about)
        clouds = protocol.load("train")
        check_names(model, clouds)
    except PointAdaptError:
        return None
    return clouds.subset(drawn(clouds.labels, config.most, config.seed))


def labelled(subject: Subject) -> Inputs:
    """What the model is given of the clouds whose class is known."""
    at = subject.known
    picked = {
        name: None if values is None else values[at]
        for name, values in vars(subject.inputs).items()
    }
    return replace(subject.inputs, **picked)
