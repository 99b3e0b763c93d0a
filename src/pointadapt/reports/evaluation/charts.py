"""The charts of the page as inline SVG: sharp, small, and in the page's colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core.foreign_text import for_html as escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 340, 250, 46, 40, 14


def reliability(calibration: Mapping[str, Any]) -> str:
    """Accuracy in each bin of confidence as bars, beside the diagonal of perfect calibration."""
    bars = [(b, b["accuracy"] / 100, "bar") for b in calibration["bins"] if b["count"]]
    body = [
        *_grid([(v, f"{100 * v:.0f}") for v in (0, 0.25, 0.5, 0.75, 1)]),
        *_bars((b["from"], b["to"], 0.0, top, kind) for b, top, kind in bars),
        f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>',
        *(
            f'<circle class="dot" cx="{_x(b["confidence"] / 100)}" cy="{_y(top)}" r="2.6"/>'
            for b, top, _ in bars
        ),
    ]
    gaps = "; ".join(
        f"{b['confidence']:.0f} % confident, {b['accuracy']:.0f} % right" for b, _, _ in bars
    )
    text = f"Reliability diagram, ECE {calibration['ece']:.1f} points. {gaps}."
    return _svg(body, "accuracy %", "Reliability diagram", text)


def histogram(calibration: Mapping[str, Any]) -> str:
    """How often each confidence occurs: the right ones, and on top of them the wrong ones."""
    bins = calibration["bins"]
    most = max((b["count"] for b in bins), default=0) or 1
    stacked = []
    for b in bins:
        share = b["right"] / most
        stacked.append((b["from"], b["to"], 0.0, share, "right"))
        stacked.append((b["from"], b["to"], share, b["count"] / most, "wrong"))
    body = [*_grid([(v, f"{v * most:,.0f}") for v in (0, 0.5, 1)]), *_bars(stacked)]
    sums = [sum(b["right"] for b in bins), sum(b["count"] - b["right"] for b in bins)]
    text = f"Histogram of the confidence of {sums[0]:,} right and {sums[1]:,} wrong predictions."
    return _svg(body, "predictions", "Histogram of confidence", text)


def _bars(bars: Iterable[tuple[float, float, float, float, str]]) -> list[str]:
    """(left, right, bottom, top, class) of each, all from 0 to 1."""
    return [
        f'<rect class="{kind}" x="{_x(a) + 0.5:.1f}" y="{_y(high):.1f}" '
        f'width="{_x(b) - _x(a) - 1:.1f}" height="{_y(low) - _y(high):.1f}"/>'
        for a, b, low, high, kind in bars
        if high > low
    ]


def _grid(ticks: Sequence[tuple[float, str]]) -> list[str]:
    lines = []
    for value, text in ticks:
        y = _y(value)
        lines.append(f'<line class="grid" x1="{_x(0)}" y1="{y:.1f}" x2="{_x(1)}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for value in (0, 0.25, 0.5, 0.75, 1):
        where = f'x="{_x(value):.1f}" y="{HEIGHT - BOTTOM + 15}"'
        lines.append(f'<text {where} text-anchor="middle">{100 * value:.0f}</text>')
    return lines


def _svg(body: Sequence[str], y: str, title: str, text: str) -> str:
    middle = (HEIGHT - BOTTOM + TOP) / 2
    labels = (
        f'<text x="{(_x(0) + _x(1)) / 2}" y="{HEIGHT - 6}" text-anchor="middle">confidence %</text>'
        f'<text transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">{y}</text>'
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(text)}">'
        f"<title>{escape(title)}</title>{''.join(body)}{labels}</svg>"
    )


def _x(value: float) -> float:
    return LEFT + (WIDTH - LEFT - 12) * value


def _y(value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value
