"""Checking a whole data set on disk, its files and its clouds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.config import key_values
from ...core.errors import ConfigError, PointAdaptError
from ..base import DATASETS, Dataset, load_dataset
from ..reading.benchmark import Benchmark
from .checks import Check, check
from .checksums import checksums, compare, read_record, record_of, write_record

OnStep = Callable[[str, int, int | None], None]  # the stage, steps done, of how many


@dataclass(frozen=True)
class DataReport:
    """What was found in a data set.

    Attributes:
        data: its name.
        root: its folder.
        licence: of the data.
        citation: what to cite; empty where there is nothing.
        checks: what was looked at.
        splits: facts of each split: clouds, classes, points.
    """

    data: str
    root: str | None
    licence: str
    citation: str
    checks: tuple[Check, ...]
    splits: dict[str, Any]

    @property
    def wrong(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(entry for entry in self.checks if entry.status == "wrong")

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        values = {k: v for k, v in asdict(self).items() if k not in ("checks", "splits")}
        rows = [asdict(entry) for entry in self.checks]
        return {**values, "wrong": len(self.wrong), "checks": rows, "splits": self.splits}


def verify_data(
    name: str, root: Path | str | None = None, *, data_options: Sequence[str] = (),
    write_checksums: bool = False, checksums: Path | str | None = None,
    on_step: OnStep | None = None,
) -> DataReport:  # fmt: skip
    """Check a data set: files, classes, coordinates, labels, duplicates, checksums.

    What differs from an official release is wrong; duplicated clouds are a note, since releases
    have them, too.

    Args:
        name: of the data set.
        root: its folder, or file.
        data_options: its other options, as key=value.
        write_checksums: write down the sha256 of all files, in ``root`` or in ``checksums``.
        checksums: compare with this record; by default with the one in ``root``, if any.
        on_step: called with the stage, the steps done, and how many there are if known.

    Raises:
        PointAdaptError: no such data set or option.
    """
    root = None if root is None else Path(root)
    dataset = open_dataset(name, root, data_options)
    tell = on_step or (lambda stage, done, total: None)
    checks, facts = check(dataset, lambda done, total: tell(f"loading {name}", done, total))
    record = None if checksums is None else Path(checksums)
    checks += _checksums(name, root, record, write_checksums, tell)
    return DataReport(**about(name, root), checks=tuple(checks), splits=facts)


def _checksums(
    name: str, root: Path | None, given: Path | None, write: bool, tell: OnStep
) -> list[Check]:
    if root is None or not root.exists():
        if write or given:
            raise ConfigError("checksums are of files: give the folder, or file, of the data")
        return []
    record = given or record_of(root)
    if not (write or given or record.exists()):
        text = "none is known or written down: --write-checksums does"
        return [Check("checksums", "ok", text)]
    recorded = None if write else read_record(record)
    found = checksums(root, lambda done, total: tell("sha256", done, total))
    if recorded is not None:
        return list(compare(recorded, found, record))
    write_record(record, name, found)
    return [Check("checksums", "ok", f"of {len(found):,} files written to {record}")]


def open_dataset(name: str, root: Path | None, options: Sequence[str]) -> Dataset:
    """The data set with its options; of a benchmark all stored points, unless told otherwise.

    Raises:
        ConfigError: it needs a folder.
    """
    given = {**({} if root is None else {"root": root}), **key_values(tuple(options))}
    if DATASETS[name].needs_root and "root" not in given:
        where = DATASETS[name].where
        raise ConfigError(f"data set {name!r} needs its folder, DIR, after its name. {where}")
    dataset = load_dataset(name, **given)
    if isinstance(dataset, Benchmark) and "points" not in given and dataset.points:
        dataset.found_root()
        return load_dataset(name, **given, points=_stored_points(dataset))
    return dataset


def _stored_points(dataset: Any) -> int:
    for split in dataset.splits:
        try:
            return dataset.stored_points(split)
        except PointAdaptError:  # the check says what is wrong with it
            continue
    return dataset.points


def about(name: str, root: Path | None) -> dict[str, Any]:
    """Name, folder, licence and citation of a data set."""
    cls = DATASETS[name]
    place = None if root is None else str(root)
    return {"data": name, "root": place, "licence": cls.licence, "citation": cls.citation}
