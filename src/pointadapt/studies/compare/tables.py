"""A board as a table: CSV, Markdown, and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table

from ...core.config import votes_text
from ...core.console import duration, size
from ...core.foreign_text import csv_text, for_markdown, markdown_block
from ...reports.beside import forest_inputs

if TYPE_CHECKING:
    from ...tasks import Measure


def measure_of(board: Mapping[str, Any]) -> Measure:
    """What the methods are ranked by."""
    from ...tasks import TASKS

    return TASKS[board["task"]].measures[0]


def columns(board: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the CSV file."""
    key = measure_of(board).key
    return (
        "label", "method", "options", "lr", "own", key, f"{key}_sd", "trainable_parameters",
        "total_parameters", "adapter_bytes", "seconds", "peak_memory_bytes", "inference_seconds",
        "error",
    )  # fmt: skip


def head(board: Mapping[str, Any]) -> tuple[str, ...]:
    """Headings of the table."""
    return (
        "method", measure_of(board).head, "trained parameters", "adapter", "training",
        "peak memory", "inference/cloud", "its own options",
    )  # fmt: skip


def ranked(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines, the best first, and last those without a score."""
    key = measure_of(board).key
    return sorted(board["methods"], key=lambda r: -math.inf if r[key] is None else r[key],
                  reverse=True)  # fmt: skip


def to_csv(board: Mapping[str, Any]) -> str:
    """One line a method, in the order they were given; plain numbers in bytes and seconds."""
    keys = columns(board)
    rows = ({**row, "options": " ".join(row["options"])} for row in board["methods"])
    return csv_text([keys, *([row.get(key) for key in keys] for row in rows)])


def to_markdown(board: Mapping[str, Any]) -> str:
    """The table with the protocol above it and the command below."""
    heads, measure = head(board), measure_of(board)
    lines = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 2) + "---|"]
    lines += [f"| {' | '.join(map(for_markdown, _cells(r, measure)))} |" for r in ranked(board)]
    if board.get("baseline"):
        lines.append(f"| {' | '.join(baseline_cells(board['baseline'], measure))} |")
    about = [for_markdown(line) for line in protocol_lines(board)]
    command = markdown_block(board["command"])
    return "\n".join([*about[:1], "", *about[1:], "", *lines, "", command, ""])


def to_terminal(board: Mapping[str, Any], narrow: bool = False) -> Group:
    """The table, for rich; where there is little room, with the methods' own options below it."""
    table = Table(padding=(0, 0 if narrow else 1))
    (first, *others, last), measure = head(board), measure_of(board)
    table.add_column(first, no_wrap=True)
    for name in others:
        text = name.replace(" ", "\n", 1).replace("/", "\n/")
        table.add_column(text, justify="right", no_wrap=True)
    if not narrow:
        table.add_column(last, overflow="fold")
    below = []
    for row in ranked(board):
        *cells, own = _cells(row, measure)
        table.add_row(*cells, *([] if narrow else [own]))
        below += [f"{cells[0]}: {own}"] if narrow and own else []
    if board.get("baseline"):
        table.add_section()
        table.add_row(*baseline_cells(board["baseline"], measure)[: len(table.columns)])
    return Group(table, *below)


def baseline_cells(forest: Mapping[str, Any], measure: Measure) -> list[str]:
    """The line of the random forest, which no method's is."""
    about = f"{forest_inputs(forest)}, {forest['trees']} trees"
    seconds = duration(forest["seconds"])
    return [forest["name"], score(forest, measure), "-", "-", seconds, "-", "-", about]


def protocol_lines(board: Mapping[str, Any]) -> list[str]:
    """What all methods share, in words."""
    p, machine = board["protocol"], board["machine"]
    on = " ".join([board.get("title", board["data"]), *board["data_options"]])
    lines = [f"{on}, from the backbone {board['backbone']}"]
    if "selection" in p:
        seeds = ", ".join(map(str, p["seeds"]))
        lines += [
            f"{p['train_clouds']:,} training and {p['test_clouds']:,} test clouds of "
            f"{p['points']} points; {p['epochs']} epochs, batch {p['batch_size']}, "
            f"{p['precision']}; augmentation {', '.join(p['augmentation']) or 'none'}.",
            f"Selection: {p['selection']}; seeds {seeds}; {votes_text(p)}.",
            f"{machine['cpu']}, {machine['threads']} threads, GPU {machine['gpu']}, "
            f"torch {machine['torch']}; {p['jobs'] or 'several'} at a time. Every run is a "
            "process of its own; peak memory is "
            f"{'the GPU memory of its tensors' if machine['gpu'] != 'none' else 'all it held'}.",
        ]
    if p.get("together", 1) > 1:
        lines.append(
            f"Up to {p['together']} runs of a method are trained together in one process: training "
            "is a run's share of the time, peak memory that of all."
        )
    if p.get("lrs"):
        lines.append(
            f"Learning rate of each method: the best of {', '.join(f'{lr:g}' for lr in p['lrs'])} "
            f"after {p['tune_epochs']} epochs, by {100 * p['val_fraction']:g} % of the training "
            "clouds held out."
        )
    if not board["finished"]:
        lines.append("Not finished: runs are missing.")
    return lines


def score(row: Mapping[str, Any], measure: Measure) -> str:
    """A method's score, with its deviation where there are seeds: 85.21 ± 0.30."""
    if row[measure.key] is None:
        return "failed" if row["error"] else "-"
    return measure.mean(row[measure.key], row[f"{measure.key}_sd"])


def _cells(row: Mapping[str, Any], measure: Measure) -> list[str]:
    own = (
        row["own"]
        if row.get("fit") or "lr=" in f" {row['own']}"
        else f"lr={row['lr']:g} {row['own']}".strip()
    )
    if row[measure.key] is None:
        return [row["label"], score(row, measure), *["-"] * 5, row["error"] or own]
    return [
        row["label"], score(row, measure), f"{row['trainable_parameters']:,}",
        size(row["adapter_bytes"]), duration(row["seconds"]), size(row["peak_memory_bytes"]),
        f"{1000 * row['inference_seconds']:.2f} ms", own,
    ]  # fmt: skip
