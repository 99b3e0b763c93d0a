"""How a task's scores and answers are called and written, wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Names:
    """What a task's labels are called, and what it is given of each point.

    Attributes:
        classes: of whole clouds.
        parts: of points; empty for tasks that label none.
        features: of each point besides its coordinates; empty for tasks that take none.
    """

    classes: tuple[str, ...]
    parts: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """One of a task's scores, as people read it.

    Attributes:
        key: its name among the scores that the task returns.
        name: what tables call it.
        unit: "%", "m" or another; may be empty.
    """

    key: str
    name: str
    unit: str = "%"

    @property
    def head(self) -> str:
        """The heading of a column: accuracy %."""
        return f"{self.name} {self.unit}".strip()

    def number(self, value: float, digits: int = 2) -> str:
        """A value without its unit: 84.56; where it is no percentage, four digits that count."""
        return f"{value:.{digits}f}" if self.unit == "%" else f"{value:.4g}"

    def text(self, value: float, digits: int = 2) -> str:
        """A value with its unit: 84.56 %."""
        return f"{self.number(value, digits)} {self.unit}".strip()

    def mean(self, value: float, sd: float | None, digits: int = 2) -> str:
        """A mean with its standard deviation, where there is one: 84.56 ± 0.30."""
        low = self.number(value, digits)
        return low if sd is None else f"{low} ± {self.number(sd, digits)}"


@dataclass(frozen=True)
class Answer:
    """What a task says of one cloud.

    Attributes:
        label: the answer in a few words: a class, the labels that apply, a number.
        confidence: probability that it is right, 0 to 1; None where the task does not know.
        top: labels with their probabilities, in falling order; empty for tasks without labels.
        values: what JSON and CSV hold besides, by column, as plain values.
    """

    label: str
    confidence: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def headline(measures: tuple[Measure, ...], scores: Mapping[str, Any]) -> tuple[str, str]:
    """What a task is judged by, and its value, with the other measures in brackets.

    >>> headline((Measure("a", "accuracy"), Measure("m", "mean of classes")), {"a": 90, "m": 85.5})
    ('accuracy', '90.00 % (mean of classes 85.50 %)')
    """
    first, *rest = [measure for measure in measures if measure.key in scores]
    others = ", ".join(f"{m.name} {m.text(scores[m.key])}" for m in rest)
    value = first.text(scores[first.key])
    return first.name, f"{value} ({others})" if others else value


def numbers(values: Sequence[float]) -> str:
    """Numbers in text, four digits of each that count: 0.25, 13.5."""
    return ", ".join(f"{value:.4g}" for value in values)
