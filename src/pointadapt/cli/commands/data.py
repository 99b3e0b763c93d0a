"""``pointadapt data``: check a data set on disk, and look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg, subcommand

from ...core import console
from ...core.errors import ConfigError
from ..base import command

if TYPE_CHECKING:
    from ...data import Dataset
    from ...data.checking.checks import Check

Name = Annotated[Positional[str], arg(metavar="NAME")]
Root = Annotated[Positional[Path | None], arg(metavar="DIR")]
COLORS = {"ok": "green", "note": "yellow", "wrong": "red"}


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check a data set: files, classes, coordinates, labels, duplicates, checksums.

    Exits with 2 if something is wrong. What differs from an official release is wrong; duplicated
    clouds are a note, since releases have them, too.

    Attributes:
        name: of the data set, see "pointadapt list data".
        root: its folder, or file.
        options: its other options, as key=value.
        write_checksums: write down the sha256 of all files, in DIR or in --checksums.
        checksums: compare with this record; by default with the one in DIR, if there is one.
        json: print all as JSON on standard output.
    """

    name: Name
    root: Root = None
    options: tuple[str, ...] = ()
    write_checksums: bool = False
    checksums: Path | None = None
    json: bool = False

    def run(self) -> int:
        from ...data import check

        dataset = _dataset(self.name, self.root, self.options)
        with console.progress(f"loading {self.name}", None) as bar:
            checks, facts = check(dataset, lambda done, total: bar(done))
        checks += self._checksums()
        if self.json:
            rows = [asdict(entry) for entry in checks]
            wrong = sum(entry.status == "wrong" for entry in checks)
            console.print_json({**_about(self.name, self.root), "wrong": wrong, "checks": rows,
                               "splits": facts})  # fmt: skip
        else:
            _show_checks(checks, console.output())
        failed = [entry for entry in checks if entry.status == "wrong"]
        if failed:
            first = f"{failed[0].what}: {failed[0].text}"
            more = f" (and {len(failed) - 1} more)" if failed[1:] else ""
            console.error_line(f"{self.name}: {first}{more}")
        return 2 if failed else 0

    def _checksums(self) -> list[Check]:
        from ...data.checking.checks import Check
        from ...data.checking.checksums import (
            checksums,
            compare,
            read_record,
            record_of,
            write_record,
        )

        if self.root is None or not self.root.exists():
            if self.write_checksums or self.checksums:
                raise ConfigError("checksums are of files: give the folder, or file, of the data")
            return []
        record = self.checksums or record_of(self.root)
        if not (self.write_checksums or self.checksums or record.exists()):
            text = "none is known or written down: --write-checksums does"
            return [Check("checksums", "ok", text)]
        recorded = None if self.write_checksums else read_record(record)
        with console.progress("sha256", None) as bar:
            found = checksums(self.root, lambda done, total: bar(done))
        if recorded is not None:
            return list(compare(recorded, found, record))
        write_record(record, self.name, found)
        return [Check("checksums", "ok", f"of {len(found):,} files written to {record}")]


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw a data set: clouds of each class, how many there are, how many points they have.

    Attributes:
        name: of the data set, see "pointadapt list data".
        root: its folder, or file.
        options: its other options, as key=value.
        out: folder for the picture, NAME.png.
        up: the axis of its clouds that points up; it becomes the picture's vertical.
        json: print what is known as JSON on standard output.
    """

    name: Name
    root: Root = None
    options: tuple[str, ...] = ()
    out: Path = Path("data-sheets")
    up: Literal["x", "y", "z"] = "z"
    json: bool = False

    def run(self) -> int:
        from dataclasses import replace

        from ...data.checking.checks import describe
        from ...data.sets.folder import upright
        from ...reports.data_sheet import data_sheet

        dataset = _dataset(self.name, self.root, self.options)
        splits, stored = {}, {}
        with console.progress(f"loading {self.name}", len(dataset.splits)) as bar:
            for done, split in enumerate(dataset.splits):
                clouds = dataset.load(split)
                splits[split] = replace(clouds, points=upright(clouds.points, self.up))
                stored[split] = dataset.point_counts(split)
                bar(done + 1)
        facts = {split: describe(clouds, stored[split]) for split, clouds in splits.items()}
        count = sum(len(clouds) for clouds in splits.values())
        classes = len(next(iter(splits.values())).classes)
        heading = f"{self.name}: {count:,} clouds of {classes} classes"
        picture = data_sheet(splits, stored, self.out / f"{self.name}.png", heading)
        about = {**_about(self.name, self.root), "picture": str(picture)}
        if self.json:
            console.print_json({**about, "splits": facts})
        else:
            _show_facts(about, facts, console.output())
        return 0


Action = Union[  # noqa: UP007 - read at run time, on Python 3.10 too
    Annotated[Verify, subcommand("verify", prefix_name=False)],
    Annotated[Show, subcommand("show", prefix_name=False)],
]


@command("data")
@dataclass(frozen=True, kw_only=True)
class Data:
    """Check a data set on disk, or look at it."""

    action: Annotated[Action, arg(name="")]

    def run(self) -> int:
        return self.action.run()


def _dataset(name: str, root: Path | None, options: tuple[str, ...]) -> Dataset:
    """The data set with its options; of a benchmark all stored points, unless told otherwise."""
    from ...core.config import key_values
    from ...data import load_dataset
    from ...data.reading.benchmark import Benchmark

    given = {**({} if root is None else {"root": root}), **key_values(options)}
    dataset = load_dataset(name, **given)
    if isinstance(dataset, Benchmark) and "points" not in given and dataset.points:
        dataset.found_root()
        return load_dataset(name, **given, points=_stored_points(dataset))
    return dataset


def _stored_points(dataset: Any) -> int:
    from ...core.errors import PointAdaptError

    for split in dataset.splits:
        try:
            return dataset.stored_points(split)
        except PointAdaptError:  # the check says what is wrong with it
            continue
    return dataset.points


def _about(name: str, root: Path | None) -> dict[str, Any]:
    from ...data import DATASETS

    cls = DATASETS[name]
    return {
        "data": name, "root": None if root is None else str(root), "licence": cls.licence,
        "citation": cls.citation,
    }  # fmt: skip


def _show_checks(checks: list[Check], to: Console) -> None:
    from rich.text import Text

    table = Table("check", "", "found")
    for entry in checks:
        table.add_row(entry.what, Text(entry.status, COLORS[entry.status]), Text(entry.text))
    to.print(table)
    counts = {s: sum(entry.status == s for entry in checks) for s in COLORS}
    to.print(f"{counts['ok']} ok, {counts['note']} notes, {counts['wrong']} wrong")


def _show_facts(about: Mapping[str, Any], facts: Mapping[str, Any], to: Console) -> None:
    names = list(dict.fromkeys(name for split in facts.values() for name in split["classes"]))
    table = Table("class")
    for split in facts:
        table.add_column(split, justify="right")
    for name in names:
        table.add_row(name, *(f"{split['classes'].get(name, 0):,}" for split in facts.values()))
    to.print(table)
    for split, known in facts.items():
        to.print(f"{split}: {known['clouds']:,} clouds, {_points_of(known)}", soft_wrap=True)
        if "parts" in known:
            used = sum(1 for count in known["parts"].values() if count)
            to.print(f"{split}: {used} of {len(known['parts'])} parts are on points")
    to.print(f"licence: {about['licence']}", soft_wrap=True)
    if about["citation"]:
        to.print(f"cite: {about['citation']}", soft_wrap=True)
    to.print(f"picture: {about['picture']}", soft_wrap=True)


def _points_of(known: Mapping[str, Any]) -> str:
    text = f"{known['points']:,} points each"
    if known["stored_points"] is None:
        return text
    low, middle, high = known["stored_points"]
    return (
        text
        if low == high == known["points"]
        else (f"{text} of {low:,} to {high:,} stored (median {middle:,})")
    )
