"""``pointadapt data``: check a data set on disk, and look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg, subcommand

from ...core import console
from ..base import command

if TYPE_CHECKING:
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
        data_options: its other options, as key=value.
        write_checksums: write down the sha256 of all files, in DIR or in --checksums.
        checksums: compare with this record; by default with the one in DIR, if there is one.
        json: print all as JSON on standard output.
    """

    name: Name
    root: Root = None
    data_options: tuple[str, ...] = ()
    write_checksums: bool = False
    checksums: Path | None = None
    json: bool = False

    def run(self) -> int:
        from ...data.checking.verify import verify_data

        with console.stages(unit="") as stage:
            found = verify_data(
                self.name, self.root, data_options=self.data_options,
                write_checksums=self.write_checksums, checksums=self.checksums, on_step=stage,
            )  # fmt: skip
        if self.json:
            console.print_json(found.to_dict())
        else:
            _show_checks(list(found.checks), console.output())
        if found.wrong:
            first = f"{found.wrong[0].what}: {found.wrong[0].text}"
            more = f" (and {len(found.wrong) - 1} more)" if found.wrong[1:] else ""
            console.error_line(f"{self.name}: {first}{more}")
        return 2 if found.wrong else 0


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw a data set: clouds of each class, how many there are, how many points they have.

    Attributes:
        name: of the data set, see "pointadapt list data".
        root: its folder, or file.
        data_options: its other options, as key=value.
        out: folder for the picture, NAME.png.
        up: the axis of its clouds that points up; it becomes the picture's vertical.
        json: print what is known as JSON on standard output.
    """

    name: Name
    root: Root = None
    data_options: tuple[str, ...] = ()
    out: Path = Path("data-sheets")
    up: Literal["x", "y", "z"] = "z"
    json: bool = False

    def run(self) -> int:
        from ...reports.data_sheet import show_data

        with console.progress(f"loading {self.name}", None) as bar:
            shown = show_data(
                self.name,
                self.root,
                data_options=self.data_options,
                out=self.out,
                up=self.up,
                on_split=bar,
            )
        if self.json:
            console.print_json(shown)
        else:
            _show_facts(shown, shown["splits"], console.output())
        return 0


Action = (
    Annotated[Verify, subcommand("verify", prefix_name=False)]
    | Annotated[Show, subcommand("show", prefix_name=False)]
)


@command("data")
@dataclass(frozen=True, kw_only=True)
class Data:
    """Check a data set on disk, or look at it."""

    action: Annotated[Action, arg(name="")]

    def run(self) -> int:
        return self.action.run()


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
