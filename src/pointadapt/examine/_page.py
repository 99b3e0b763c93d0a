"""The findings as one HTML file that needs no other: pictures inside, no network, no library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..files import atomic
from . import _charts
from ._draw import cloud_picture, parts_picture
from ._look import Examination
from ._style import CSS, SCRIPT
from ._words import confusion, remarks

MATRIX = 60  # labels of a confusion matrix that is shown whole
# The browser itself refuses anything from outside this file.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write_page(
    path: Path | str, seen: Examination, facts: Mapping[str, Any],
    steps: Sequence[tuple[str, str]] = (),
) -> Path:  # fmt: skip
    """Write the page of an examination.

    Args:
        path: where to write.
        seen: for the pictures.
        facts: what :func:`facts_of` found, and under "protocol" :func:`protocol_facts`.
        steps: commands (why, command) to go on with.

    Raises:
        PointAdaptError: it cannot be written.
    """
    page = _document(seen, facts, steps)
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _document(seen: Examination, facts: Mapping[str, Any], steps: Sequence[tuple[str, str]]) -> str:
    p = facts.get("protocol", {})
    title = f"{p.get('method', 'model')} on {p.get('data', 'data')} {p.get('split', '')}".strip()
    sections = [
        _headline(facts, title), _look_at(facts, steps), _confused(facts), _per_label(facts),
        _matrix(facts), _calibration(facts), *_pictures(seen, facts), _protocol(p),
    ]  # fmt: skip
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + f"\n</main><script>{SCRIPT}</script></body></html>\n"
    )


def _headline(facts: Mapping[str, Any], title: str) -> str:
    scores, c = facts["scores"], facts["calibration"]
    if "instance_miou" in scores:
        tiles = [
            (f"{scores['instance_miou']:.2f} %", "instance mIoU"),
            (f"{scores['class_miou']:.2f} %", "class mIoU"),
            (f"{scores['accuracy']:.2f} %", "points right"),
        ]
    else:
        low, high = facts.get("interval", (None, None))
        note = f", 95 % interval {low:.1f} to {high:.1f}" if low is not None else ""
        tiles = [(f"{scores['accuracy']:.2f} %", "accuracy" + note)]
        if "class_accuracy" in scores:
            tiles.append((f"{scores['class_accuracy']:.2f} %", "mean of classes"))
    tiles.append((f"{c['ece']:.1f}", "calibration error (ECE), points"))
    tiles.append((f"{scores['count']:,}", "clouds"))
    p = facts.get("protocol", {})
    if p:
        tiles.append((f"{p['trainable_parameters']:,}", "trained parameters"))
    body = "".join(
        f'<div class="tile"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in tiles
    )
    under = f'<p class="soft">{escape(str(p["adapter"]))} · {escape(p["date"])}</p>' if p else ""
    return f'<h1>{escape(title)}</h1>{under}<div class="tiles">{body}</div>'


def _look_at(facts: Mapping[str, Any], steps: Sequence[tuple[str, str]]) -> str:
    said = "".join(f"<li>{escape(text)}</li>" for text in remarks(facts))
    todo = "".join(f"<p>{escape(why)}:</p><pre>{escape(line)}</pre>" for why, line in steps)
    return f"<h2>What to look at</h2><ul>{said}</ul>" + (f"<h2>Next</h2>{todo}" if todo else "")


def _confused(facts: Mapping[str, Any]) -> str:
    if not facts["confusions"]:
        return ""
    rows = [
        [escape(confusion(row, facts["unit"])), f"{100 * row['count'] / row['of']:.1f} %"]
        for row in facts["confusions"]
    ]
    table = _table("Largest confusions", ["what", "share of the label"], rows)
    return f"<h2>Most confused</h2>{table}"


def _per_label(facts: Mapping[str, Any]) -> str:
    points = facts["unit"] == "points"
    shown = ["count", "predicted", "right", "recall", "precision", "iou" if points else "f1"]
    heads = [facts["unit"], "predicted", "right", "recall %", "precision %"]
    heads = ["part" if points else "class", *heads, "IoU %" if points else "F1 %"]
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
    if points and facts["scores"].get("per_class"):
        rows = [[escape(k), f"{v:.2f}"] for k, v in facts["scores"]["per_class"].items()]
        own = _table("Mean IoU of the clouds of each class", ["class", "mIoU %"], rows)
    return (
        f"<h2>Each {heads[0]}</h2>{own}"
        f'<p class="soft">Recall is the share of a true {heads[0]} that is found (its accuracy); '
        "precision, of what is predicted, the share that is right. Press a heading to sort.</p>"
        + _scroll(
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


def _matrix(facts: Mapping[str, Any]) -> str:
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
        + _scroll(
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


def _calibration(facts: Mapping[str, Any]) -> str:
    c = facts["calibration"]
    kept = [
        [f"{100 * row['above']:.0f} %", _percent(row["share"]), _percent(row["accuracy"])]
        for row in c["kept"]
    ]
    bins = [
        [
            f"{100 * b['from']:.1f} to {100 * b['to']:.1f} %", f"{b['count']:,}", f"{b['right']:,}",
            _percent(b["confidence"]), _percent(b["accuracy"]),
        ]
        for b in c["bins"]
    ]  # fmt: skip
    gap = c["confidence"] - c["accuracy"]
    way = "more" if gap > 0 else "less"
    return (
        "<h2>Calibration</h2>"
        f"<p>Expected calibration error over {len(c['bins'])} bins: {c['ece']:.2f} points. The "
        f"mean confidence is {c['confidence']:.2f} %, {abs(gap):.2f} points {way} than the "
        "accuracy.</p>"
        f'<div class="charts"><figure>{_charts.reliability(c)}<figcaption>Bars: accuracy in each '
        "bin; dots: at the mean confidence of the bin; dashed: perfect calibration.</figcaption>"
        f"</figure><figure>{_charts.histogram(c)}<figcaption>"
        '<span class="key" style="background:var(--right)"></span> right, '
        '<span class="key" style="background:var(--wrong)"></span> wrong.</figcaption></figure>'
        "</div>"
        + _table(
            "If only predictions above a confidence are taken",
            ["confidence at least", f"share of {facts['unit']}", "accuracy of these"],
            kept,
        )
        + "<details><summary>The bins as a table</summary>"
        + _table(
            "Bins", ["confidence", "predictions", "right", "mean confidence", "accuracy"], bins
        )
        + "</details>"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def _pictures(seen: Examination, facts: Mapping[str, Any]) -> list[str]:
    if facts["unit"] == "points":
        return [
            _shapes(seen, "Worst clouds", facts["worst"]),
            _shapes(seen, "Best clouds, for contrast", facts["best"]),
        ]
    return [
        _clouds(seen, "Most confident errors", facts["confident_errors"]),
        _clouds(seen, "Least confident right ones, for contrast", facts["doubtful_right"]),
    ]


def _clouds(seen: Examination, title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    figures = []
    for row in rows:
        right = row["true"] == row["predicted"]
        said = f'<b class="{"good" if right else "bad"}">{escape(row["predicted"])}</b> '
        said += f"{row['confidence']:.1f} %"
        said += "" if right else f"<br>is <b>{escape(row['true'])}</b>"
        alt = f"{row['id']}: a {row['true']} taken for a {row['predicted']}"
        picture = cloud_picture(seen.clouds.points[row["index"]])
        figures.append(_figure(picture, alt, f"{said}<br>{escape(row['id'])}"))
    return _section(title, "shown", figures)


def _shapes(seen: Examination, title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    figures = []
    for row in rows:
        i, wrong = row["index"], f"{row['points_wrong']:,} of {row['points']:,} points wrong"
        said = f"<b>{escape(row['class'])}</b> {row['score']:.1f} %, {wrong}"
        if row["mistake"]:
            said += f"<br>{escape(confusion(row['mistake'], 'points'))}"
        parts = {"true": seen.target[i], "predicted": seen.predicted[i]}
        picture = parts_picture(seen.clouds.points[i], parts, seen.names)
        alt = f"{row['id']}, a {row['class']}: true parts and predicted parts, {wrong}"
        figures.append(_figure(picture, alt, f"{said}<br>{escape(row['id'])}"))
    return _section(title, "shown wide", figures)


def _figure(picture: str, alt: str, caption: str) -> str:
    image = f'<img src="{picture}" alt="{escape(alt)}" loading="lazy">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _section(title: str, kind: str, figures: Sequence[str]) -> str:
    body = f'<div class="{kind}">{"".join(figures)}</div>' if figures else "<p>None.</p>"
    return f"<h2>{escape(title)}</h2>{body}"


def _protocol(protocol: Mapping[str, Any]) -> str:
    if not protocol:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(key.replace("_", " "))}</th>'
        f"<td>{escape(_plain(value))}</td></tr>"
        for key, value in protocol.items()
        if value not in ("", {}, [], None)
    )
    table = (
        f'<table class="facts"><caption>What was measured</caption><tbody>{rows}</tbody></table>'
    )
    return f"<h2>Protocol</h2>{_scroll(table, 'Protocol')}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _table(caption: str, heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
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
    return _scroll(table, caption)


def _scroll(table: str, name: str) -> str:
    """A table that scrolls by itself on a narrow screen, also from the keyboard."""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0">{table}</div>'
    )
