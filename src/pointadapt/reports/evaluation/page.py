"""The findings as one HTML file that needs no other: pictures inside, no network, no library.

What the page looks like is in ``page.html.j2``, its charts in ``charts.svg.j2``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.files import atomic
from ..pages import template
from .draw import cloud_picture, parts_picture
from .look import Examination
from .words import confusion, remarks

MATRIX = 60  # labels of a confusion matrix that is shown whole
SECTIONS = {  # which of the facts have pictures, and their titles
    "confident_errors": "Most confident errors",
    "doubtful_right": "Least confident right ones, for contrast",
    "worst": "Worst clouds",
    "best": "Best clouds, for contrast",
}


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
    p, shown = facts.get("protocol", {}), set(facts.get("labels", ()))
    title = f"{p.get('method', 'model')} on {p.get('title', 'data')} {p.get('split', '')}".strip()
    classes = facts["scores"].get("per_class", {})
    page = template(__file__, confusion=confusion).render(
        facts=facts, title=title, steps=steps, remarks=remarks(facts),
        pictures=_pictures(seen, facts), matrix=_matrix(facts),
        by_class={name: score for name, score in classes.items() if name not in shown},
    )  # fmt: skip
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _pictures(seen: Examination, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Sections with pictures of the clouds that ``facts`` name."""
    make = _shape if seen.task.per_point else _cloud
    return [
        {"title": title, "figures": [{**row, **make(seen, row)} for row in facts[key]]}
        for key, title in SECTIONS.items() if key in facts
    ]  # fmt: skip


def _cloud(seen: Examination, row: Mapping[str, Any]) -> dict[str, Any]:
    sure = "" if row["confidence"] is None else f", {row['confidence']:.1f} % sure"
    taken = "found" if row["right"] else f"predicted {row['predicted']}"
    picture = cloud_picture(seen.clouds.points[row["index"]])
    return {"sure": sure, "picture": picture, "alt": f"{row['id']}: {row['true']}, {taken}"}


def _shape(seen: Examination, row: Mapping[str, Any]) -> dict[str, Any]:
    i, wrong = row["index"], f"{row['points_wrong']:,} of {row['points']:,} points wrong"
    assert seen.chosen is not None
    labels = {"true": seen.target[i].numpy(), "predicted": seen.chosen[i]}
    picture = parts_picture(seen.clouds.points[i], labels, seen.task.labels(seen.names))
    alt = f"{row['id']}, a {row['class']}: true and predicted labels, {wrong}"
    return {"wrong": wrong, "picture": picture, "alt": alt}


def _matrix(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The confusion matrix: rows (name, sum, counts); of many labels those with most errors."""
    if "confusion_matrix" not in facts:
        return None
    matrix, names = facts["confusion_matrix"], facts["labels"]
    keep = list(range(len(names)))
    wrong = [sum(matrix[k]) + sum(row[k] for row in matrix) - 2 * matrix[k][k] for k in keep]
    keep = sorted(sorted(keep, key=lambda k: -wrong[k])[:MATRIX])
    rows = [(names[i], sum(matrix[i]), [matrix[i][j] for j in keep]) for i in keep]
    return {"names": [names[k] for k in keep], "rows": rows}
