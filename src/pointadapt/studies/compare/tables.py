"""A board as a table: CSV, Markdown, and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table

from ...core.console import duration, size
from ...core.foreign_text import csv_text, for_markdown, markdown_block

COLUMNS = (
    "label", "method", "options", "lr", "own", "accuracy", "accuracy_sd", "trainable_parameters",
    "total_parameters", "adapter_bytes", "seconds", "peak_memory_bytes", "inference_seconds",
    "error",
)  # fmt: skip
HEAD = (
    "method", "accuracy %", "trained parameters", "adapter", "training", "peak memory",
    "inference/cloud", "its own options",
)  # fmt: skip


def ranked(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines, the most accurate first, and last those without a score."""
    return sorted(board["methods"], key=lambda r: -1.0 if r["accuracy"] is None else r["accuracy"],
                  reverse=True)  # fmt: skip


def to_csv(board: Mapping[str, Any]) -> str:
    """One line a method, in the order they were given; plain numbers in bytes and seconds."""
    rows = ({**row, "options": " ".join(row["options"])} for row in board["methods"])
    return csv_text([COLUMNS, *([row.get(key) for key in COLUMNS] for row in rows)])


def to_markdown(board: Mapping[str, Any]) -> str:
    """The table with the protocol above it and the command below."""
    lines = [f"| {' | '.join(HEAD)} |", "|---|" + "--:|" * (len(HEAD) - 2) + "---|"]
    lines += [f"| {' | '.join(map(for_markdown, _cells(r)))} |" for r in ranked(board)]
    about = [for_markdown(line) for line in protocol_lines(board)]
    command = markdown_block(board["command"])
    return "\n".join([*about[:1], "", *about[1:], "", *lines, "", command, ""])


def to_terminal(board: Mapping[str, Any], narrow: bool = False) -> Group:
    """The table, for rich; where there is little room, with the methods' own options below it."""
    table = Table(padding=(0, 0 if narrow else 1))
    for name in HEAD[:-1]:
        side = "left" if name == HEAD[0] else "right"
        head = name.replace(" ", "\n", 1).replace("/", "\n/")
        table.add_column(head, justify=side, no_wrap=True)
    if not narrow:
        table.add_column(HEAD[-1], overflow="fold")
    below = []
    for row in ranked(board):
        *cells, own = _cells(row)
        table.add_row(*cells, *([] if narrow else [own]))
        below += [f"{cells[0]}: {own}"] if narrow and own else []
    return Group(table, *below)


def protocol_lines(board: Mapping[str, Any]) -> list[str]:
    """What all methods share, in words."""
    p, machine = board["protocol"], board["machine"]
    on = " ".join([board["data"], *board["data_options"]])
    lines = [f"{on}, from the backbone {board['backbone']}"]
    if "selection" in p:
        seeds = ", ".join(map(str, p["seeds"]))
        lines += [
            f"{p['train_clouds']:,} training and {p['test_clouds']:,} test clouds of "
            f"{p['points']} points; {p['epochs']} epochs, batch {p['batch_size']}, "
            f"{p['precision']}; augmentation {', '.join(p['augmentation']) or 'none'}.",
            f"Selection: {p['selection']}; seeds {seeds}; "
            f"{'no voting' if not p['votes'] else str(p['votes']) + ' votes'}.",
            f"{machine['cpu']}, {machine['threads']} threads, GPU {machine['gpu']}, "
            f"torch {machine['torch']}; {p['jobs'] or 'several'} at a time. Every run is a "
            "process of its own; peak memory is "
            f"{'the GPU memory of its tensors' if machine['gpu'] != 'none' else 'all it held'}.",
        ]
    if p.get("lrs"):
        lines.append(
            f"Learning rate of each method: the best of {', '.join(f'{lr:g}' for lr in p['lrs'])} "
            f"after {p['tune_epochs']} epochs, by {100 * p['val_fraction']:g} % of the training "
            "clouds held out."
        )
    if not board["finished"]:
        lines.append("Not finished: runs are missing.")
    return lines


def accuracy(row: Mapping[str, Any]) -> str:
    """Accuracy in percent, with its deviation where there are seeds: 85.21 ± 0.30."""
    if row["accuracy"] is None:
        return "failed" if row["error"] else "-"
    sd = row["accuracy_sd"]
    return f"{row['accuracy']:.2f}" + ("" if sd is None else f" ± {sd:.2f}")


def _cells(row: Mapping[str, Any]) -> list[str]:
    own = row["own"] if "lr=" in f" {row['own']}" else f"lr={row['lr']:g} {row['own']}".strip()
    if row["accuracy"] is None:
        return [row["label"], accuracy(row), *["-"] * 5, row["error"] or own]
    return [
        row["label"], accuracy(row), f"{row['trainable_parameters']:,}",
        size(row["adapter_bytes"]), duration(row["seconds"]), size(row["peak_memory_bytes"]),
        f"{1000 * row['inference_seconds']:.2f} ms", own,
    ]  # fmt: skip
