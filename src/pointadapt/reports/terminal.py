"""What the command line prints: summaries and tables, with rich; plain text into a pipe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..core.config import votes_text
from ..core.console import command_line, duration, size
from .beside import baseline_rows, beside

if TYPE_CHECKING:
    from ..tasks import Task

SHOWN = 10  # classes of a summary
NUMBER = re.compile(r"(-?[\d.,]+( %)?)?")  # what a cell of figures is, or nothing
NARROW = 100  # columns that a listing needs to be a table


def next_steps(to: Console, *steps: tuple[str, str]) -> None:
    """Commands (why, command) to go on with, each on a line of its own that can be copied."""
    for why, command in steps:
        to.print(f"{why}:", style="dim")
        to.print(f"  {command}", style="bold", soft_wrap=True)


def share(part: int, whole: int) -> str:
    """How much of a model trains: 312,345 of 2,950,000 (10.59 %)."""
    return f"{part:,} of {whole:,} ({100 * part / whole:.2f} %)"


def panel(to: Console, title: str, rows: Sequence[tuple[str, str]]) -> None:
    """A box of facts: what and how much."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    to.print(Panel.fit(table, title=Text(title)))


def _worst(per_class: Mapping[str, float]) -> list[tuple[str, str]]:
    """A row with the classes that do worst; none where the scores do not tell."""
    ranked = sorted(per_class.items(), key=lambda item: item[1])
    text = ", ".join(f"{name} {value:.1f}" for name, value in ranked[:SHOWN])
    title = f"worst of {len(ranked)}" if len(ranked) > SHOWN else "classes"
    return [(title, text)] if ranked else []


def _untested(confusion: Mapping[str, Sequence[int]]) -> list[tuple[str, str]]:
    """A row with the classes that no test point has, since nothing is known of them."""
    names = [name for name, row in confusion.items() if not sum(row)]
    return [("not tested", f"{', '.join(names)}: no test point has it")] if names else []


def _left_out(results: Mapping[str, Any]) -> str:
    """How many files could not be read, where some were left out."""
    count = len(results.get("skipped_files", ()))
    return f"; {count:,} files left out (results.json lists them)" if count else ""


def train_summary(results: Mapping[str, Any], to: Console) -> None:
    """The panel at the end of training, and how to use the adapter."""
    from ..tasks import TASKS

    p, adapter = results["protocol"], results["adapter"]
    trained = share(results["trainable_parameters"], results["total_parameters"])
    drawn = ", ".join(p["augmentation"]) or "none"
    drawn += ", classes equally often" if p.get("sampling") == "balanced" else ""
    rows = [
        TASKS[results["task"]].headline(results),
        *_worst(results.get("per_class", {})),
        *_untested(results.get("confusion", {})),
        ("on", f"{p['test_clouds']:,} test clouds, {votes_text(p)}{_left_out(results)}"),
        *beside(results),
        *([
            ("selection", f"{p['selection']} (epoch {p['selected_epoch']} of {p['epochs']})"),
            ("protocol", f"seed {p['seed']}, batch {p['batch_size']}, augmentation {drawn}"),
        ] if p["epochs"] else [("protocol", f"seed {p['seed']}, no epochs")]),
        ("trained", f"{trained} parameters"),
        ("time", duration(results["seconds"])),
        ("peak memory", size(results["peak_memory_bytes"])),
        ("adapter", f"{adapter} ({size(results['adapter_bytes'])})"),
    ]  # fmt: skip
    panel(to, f"{results['method']} on {results['title']}", rows)
    next_steps(to, ("Use it", command_line("pointadapt predict FILE --adapter", adapter)))


def pretrain_summary(summary: Mapping[str, Any], to: Console) -> None:
    """The panel at the end of pre-training, and what to do with the backbone."""
    c, loss, probe = summary["config"], summary["loss"], summary.get("probe")
    backbone, seconds = summary["backbone"], summary["seconds"]
    rate = f", {summary['clouds'] / seconds:,.1f} a second" if seconds else ""
    rows = [
        ("loss", "-" if loss is None else f"{loss:g} (mean of the last 50 steps)"),
        ("clouds", f"{summary['clouds']:,} of {' + '.join(c['data'])}{rate}"),
        ("time", duration(seconds)),
        ("peak memory", size(summary["peak_memory_bytes"])),
        ("backbone", backbone),
        ("sha256", summary["sha256"]),
    ]
    if probe:
        at = f"{probe['train_clouds']:,} + {probe['test_clouds']:,} clouds of {probe['data']}"
        first = f"{probe['accuracies'][0]:.2f} % after {probe['steps'][0]:,} steps"
        rows.insert(1, ("linear SVM", f"{probe['accuracy']:.2f} % on {at} (was {first})"))
    if "picture" in summary:
        rows.append(("pictures", summary["picture"]))
    panel(to, "pre-training", rows)
    next_steps(
        to,
        ("Measure it beside random weights (linear SVM on ModelNet40)",
         command_line("pointadapt probe", backbone) + " --data modelnet40 --root DIR --random"),
        ("Adapt it to your files", command_line("pointadapt train --backbone", backbone)
         + " --data folder --root DIR"),
        ("Pre-train it further", command_line("pointadapt pretrain --init", backbone)
         + " --out OTHER_DIR"),
    )  # fmt: skip


def probe_summary(result: Mapping[str, Any], to: Console) -> None:
    """A backbone's score by a linear SVM, and what to do next."""
    rows = [("linear SVM", f"{result['accuracy']:.2f} %")]
    if "random_accuracy" in result:
        gain = result["accuracy"] - result["random_accuracy"]
        rows.append(("random weights", f"{result['random_accuracy']:.2f} % ({gain:+.2f} points)"))
    counts = f"{result['train_clouds']:,} training and {result['test_clouds']:,} test clouds"
    rows += [
        ("on", f"{result['data']}, {counts}, {result['points']:,} points"),
        ("protocol", f"{result['protocol']}, C = {result['c']:g}, {result['precision']}"),
        ("sha256", result["sha256"]),
    ]
    panel(to, f"probe of {result['backbone']}", rows)
    command = command_line("pointadapt train --backbone", result["backbone"], "--data")
    next_steps(to, ("Adapt it", f"{command} {result['data']} --root DIR"))


def convert_summary(report: Mapping[str, Any], to: Console) -> None:
    """What was in a published checkpoint, and what to do with it now."""

    def some(keys: Sequence[str]) -> str:
        return f"{len(keys)}: {', '.join(keys)}" if keys else "none"

    rows = [
        ("kind", {"pretrained": "pre-trained backbone", "dapt": "fine-tuned by DAPT",
                  "full": "fully fine-tuned"}[report["kind"]]),
        ("layout", report["layout"]),
        ("consumed", f"{report['consumed']} of {report['tensors']} tensors"),
        ("missing", some(report["missing"])),
        ("left over", some(report["left_over"])),
        ("backbone", f"{report['backbone']} ({report['parameters']:,} parameters)"),
        ("sha256", report["sha256"]),
    ]  # fmt: skip
    adapter = report.get("adapter")
    if adapter:
        rows.append(("adapter", adapter))
    panel(to, report["file"], rows)
    if adapter:
        next_steps(to, ("Use it", command_line("pointadapt predict FILE --adapter", adapter)))
    else:
        command = command_line("pointadapt train --backbone", report["backbone"])
        next_steps(to, ("Adapt it", f"{command} --data folder --root DIR"))


def fetch_summary(record: Mapping[str, Any], name: str, to: Console) -> None:
    """Which weights are in the cache now, and what to do with them."""
    rows = [
        ("source", record["source"]),
        ("licence", record["licence"]),
        ("file", f"sha256 {record['file_sha256']} ({record['checksum']})"),
        ("consumed", f"{record['consumed']} of {record['tensors']} tensors"),
        ("backbone", f"{record['folder']} ({record['parameters']:,} parameters)"),
        ("sha256", record["backbone_sha256"]),
    ]
    panel(to, f"{record['tag']}: {'fetched' if record['new'] else 'in the cache'}", rows)
    command = command_line("pointadapt train --backbone", name)
    next_steps(to, ("Adapt it", f"{command} --data folder --root DIR"))


def fold_summary(done: Mapping[str, Any], to: Console) -> None:
    """What was folded, what is left, and how to use it."""
    gone = done["parameters_before"] - done["parameters"]
    rows = [
        ("folded", f"{done['method']}, {done['foldable']}"),
        ("of adapted weights", f"{100 * done['share']:g} %"),
        ("parameters", f"{done['parameters']:,} ({gone:,} fewer)"),
        ("backbone", done["backbone"]),
        ("sha256", done["sha256"]),
    ]
    panel(to, done["folded_from"], rows)
    command = command_line("pointadapt predict FILE --adapter", done["adapter"])
    next_steps(to, ("Use it", command))


def push_summary(done: Mapping[str, Any], to: Console) -> None:
    """What is on the Hub now, and how to use it from there."""
    rows = [
        ("files", ", ".join(done["files"])),
        ("size", size(done["bytes"])),
        ("commit", done["url"]),
    ]
    panel(to, done["address"], rows)
    next_steps(to, ("Use it", command_line("pointadapt predict FILE --adapter", done["address"])))


def _by_class(scores: Mapping[str, Any], task: type[Task], to: Console) -> None:
    ranked = sorted(scores.get("per_class", {}).items(), key=lambda item: item[1])
    lines([[("class", name), (task.class_measure, f"{value:.1f}")] for name, value in ranked], to)
    to.print(*task.headline(scores))


def evaluation(scores: Mapping[str, Any], task: type[Task], title: str, to: Console) -> None:
    """Overall scores, and the classes with the worst first."""
    to.print(f"{title}: {scores['count']:,} clouds, {votes_text(scores)}", style="bold")
    _by_class(scores, task, to)


def scene_scores(
    scores: Mapping[str, Any], task: type[Task], title: str, to: Console,
    run: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Scores of whole scenes, the classes with the worst first, and what a forest does.

    ``run`` holds the results of the training run, which tell what it did not try.
    """
    points = f"{scores['labelled']:,} labelled points"
    to.print(f"{title}: {scores['count']:,} scenes, {points}", style="bold")
    _by_class(scores, task, to)
    for name, text in _untested(scores.get("confusion", {})):
        to.print(f"{name}:", text)
    if scores.get("baseline"):
        (title, text), (_, remark) = baseline_rows({**(run or {}), **scores}, scores["count"])
        to.print(f"{title}: {text}; {remark}", soft_wrap=True)


def lines(rows: Sequence[Sequence[tuple[str, str]]], to: Console) -> None:
    """A table of rows of headings and texts; columns of numbers stand to the right."""
    if not rows:
        return
    heads = list(dict.fromkeys(head for row in rows for head, _ in row))
    cells = [[dict(row).get(head, "") for head in heads] for row in rows]
    table = Table()
    for head, column in zip(heads, zip(*cells, strict=True), strict=True):
        right = all(NUMBER.fullmatch(cell) for cell in column)
        table.add_column(head, overflow="fold", justify="right" if right else "left")
    for row in cells:
        table.add_row(*row)
    to.print(table)


JSON_ONLY = ("source", "needs", "command", "licence", "hardware")  # too long for a table


def listing(kind: str, rows: Sequence[Mapping[str, Any]], to: Console, note: str = "") -> None:
    """A table of ``rows``, whose keys are the columns, without the longest, below a ``note``.

    Where the terminal is too narrow for a table, a paragraph for each row.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row if key not in JSON_ONLY))
    to.print(kind, style="bold")
    if note:
        to.print(note)
    if to.width < NARROW:
        for row in rows:
            _paragraph(row, keys, to)
        return
    table = Table(show_lines=True)
    for key in keys:
        table.add_column(key.replace("_", " "), overflow="fold", no_wrap=key == "name")
    for row in rows:
        table.add_row(*(_cell(row.get(key, "")) for key in keys))
    to.print(table)


def _paragraph(row: Mapping[str, Any], keys: Sequence[str], to: Console) -> None:
    """The name of ``row``, its figures on a line, and its texts on lines of their own."""
    cells = {key: _cell(row[key]) for key in keys if key in row and key != "name"}
    texts = {key: cell for key, cell in cells.items() if isinstance(row[key], (str, Mapping))}
    figures = [f"{key.replace('_', ' ')} {cells[key]}" for key in cells if key not in texts]
    to.print(row["name"], style="bold cyan")
    lines = [f"{key.replace('_', ' ')}: {cell}" for key, cell in texts.items()]
    for line in [*lines, *([", ".join(figures)] if figures else [])]:
        to.print(Padding(line, (0, 0, 0, 2), expand=False))


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{k}={_typed(v)}" for k, v in value.items()) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value) or "-"


def _typed(value: Any) -> str:
    """An option's value as one types it: lists with commas."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
