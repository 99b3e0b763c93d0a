"""The findings as one HTML file that needs no other: pictures inside, no network, no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.files import atomic
from ...core.foreign_text import for_html as escape
from . import charts as _charts
from .figures import pictures
from .look import Examination
from .style import CSS, SCRIPT
from .tables import confused, confusion_table, per_label, scroll, table_of
from .words import remarks

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
        _headline(facts, title), _look_at(facts, steps), confused(facts), *pictures(seen, facts),
        per_label(facts), confusion_table(facts), _calibration(facts), _protocol(p),
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
    elif "miou" in scores:
        tiles = [
            (f"{scores['miou']:.2f} %", "mIoU"),
            (f"{scores['accuracy']:.2f} %", "points right"),
            (f"{scores['class_accuracy']:.2f} %", "mean of classes"),
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
        + table_of(
            "If only predictions above a confidence are taken",
            ["confidence at least", f"share of {facts['unit']}", "accuracy of these"],
            kept,
        )
        + "<details><summary>The bins as a table</summary>"
        + table_of(
            "Bins", ["confidence", "predictions", "right", "mean confidence", "accuracy"], bins
        )
        + "</details>"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


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
    return f"<h2>Protocol</h2>{scroll(table, 'Protocol')}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
