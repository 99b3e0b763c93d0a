"""The page's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core.foreign_text import for_html as escape
from .words import confusion

MATRIX = 60  # labels of a confusion matrix that is shown whole


def confused(facts: Mapping[str, Any]) -> str:
    """The largest confusions, in words."""
    if not facts["confusions"]:
        return ""
    rows = [
        [escape(confusion(row, facts["unit"])), f"{100 * row['count'] / row['of']:.1f} %"]
        for row in facts["confusions"]
    ]
    table = table_of("Largest confusions", ["what", "share of the label"], rows)
    return f"<h2>Most confused</h2>{table}"


def per_label(facts: Mapping[str, Any]) -> str:
    """Scores of each class or part, sortable."""
    points = facts["unit"] == "points"
    shown = ["count", "predicted", "right", "recall", "precision", "iou" if points else "f1"]
    heads = [facts["unit"], "predicted", "right", "recall %", "precision %"]
    parts = "instance_miou" in facts["scores"]  # of objects; otherwise of scenes
    heads = ["part" if parts else "class", *heads, "IoU %" if points else "F1 %"]
    head = "".join(
        f'<th scope="col"><button type="button">{escape(text)}</button></th>' for text in heads
    )
    body = "".join(
        f'<tr><th scope="row">{escape(row["name"])}</th>'
        + "".join(_number(row[key]) for key in shown)
        + "</tr>"
        for row in facts["per_label"]
    )
    own = ""
    if parts and facts["scores"].get("per_class"):
        rows = [[escape(k), f"{v:.2f}"] for k, v in facts["scores"]["per_class"].items()]
        own = table_of("Mean IoU of the clouds of each class", ["class", "mIoU %"], rows)
    return (
        f"<h2>Each {heads[0]}</h2>{own}"
        f'<p class="soft">Recall is the share of a true {heads[0]} that is found (its accuracy); '
        "precision, of what is predicted, the share that is right. Press a heading to sort.</p>"
        + scroll(
            f'<table class="sortable"><caption>Scores of each {heads[0]}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
            f"Scores of each {heads[0]}",
        )
    )


def _number(value: float | None) -> str:
    """A cell; what is undefined sorts first."""
    if value is None:
        return '<td data-v="-1">–</td>'
    text = f"{value:,}" if isinstance(value, int) else f"{value:.1f}"
    return f'<td data-v="{value}">{text}</td>'


def confusion_table(facts: Mapping[str, Any]) -> str:
    """The confusion matrix, shaded; of many labels those with most errors."""
    matrix, names, note = facts["confusion_matrix"], facts["labels"], ""
    keep = range(len(names))
    if len(names) > MATRIX:  # those with most errors, in the order of the labels
        wrong = [sum(matrix[k]) - matrix[k][k] + _column(matrix, k) for k in keep]
        keep = sorted(sorted(keep, key=lambda k: -wrong[k])[:MATRIX])
        note = f" Shown are the {MATRIX} of {len(names)} labels with most errors; all are in JSON."
    head = "".join(f'<th scope="col">{escape(names[k])}</th>' for k in keep)
    body = "".join(
        f'<tr><th scope="row">{escape(names[i])}</th>'
        + "".join(_cell(matrix[i][j], sum(matrix[i]), i == j) for j in keep)
        + "</tr>"
        for i in keep
    )
    return (
        "<h2>Confusion matrix</h2>"
        f'<p class="soft">Rows are true, columns predicted; the shade is the share of the row.'
        f"{note}</p>"
        + scroll(
            f'<table class="matrix"><caption>{escape(facts["unit"]).capitalize()}: true (rows), '
            f"predicted (columns)</caption><thead><tr><td></td>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>",
            "Confusion matrix",
        )
    )


def _column(matrix: Sequence[Sequence[int]], k: int) -> int:
    return sum(row[k] for i, row in enumerate(matrix) if i != k)


def _cell(count: int, whole: int, hit: bool) -> str:
    if not count:
        return "<td></td>"
    share = count / whole
    kind = ' class="hit"' if hit else ""
    return f'<td{kind} style="--v:{0.08 + 0.62 * share:.2f}">{count}</td>'


def table_of(caption: str, heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the first column are the rows' headings."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    table = (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
    return scroll(table, caption)


def scroll(table: str, name: str) -> str:
    """A table that scrolls by itself on a narrow screen, also from the keyboard."""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0">{table}</div>'
    )
