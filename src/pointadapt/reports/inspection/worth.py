"""What prompts and the inputs of the head are worth: the score without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...adapters.model import PointModel
from ...inference.forward import Inputs, network_input
from .measure import BATCH
from .watch import with_prompts

FEW = 8  # so many prompts are taken away one by one
Outputs = tuple[Tensor, Tensor | None]  # of the head, and the rows it was given


@dataclass(frozen=True)
class Scorer:
    """Scores outputs of the head on clouds whose truth is known.

    Attributes:
        model: whose task scores.
        target: (M, …) the truth.
        category: (M,) class of each cloud.
        outputs: (M, …) of the head as it is: what others are compared with.
    """

    model: PointModel
    target: Tensor
    category: Tensor
    outputs: Tensor

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """Score, how far it is from that of the model as it is, and the error of that."""
        score, right = self.judged(outputs)
        as_it_is, before = self.judged(self.outputs)
        error = None
        if right is not None and before is not None:
            error = round(100 * math.sqrt(int((right != before).sum())) / len(right), 4)
        return {"score": score, "change": round(score - as_it_is, 4), "error": error}

    def judged(self, outputs: Tensor) -> tuple[float, Tensor | None]:
        """The task's first measure, and which clouds are right, where it chooses a label."""
        adapter = self.model.adapter
        predicted = self._predicted(outputs)
        scores = adapter.task.score(predicted, self.target, adapter.names, self.category)
        chosen = adapter.task.chosen(predicted)
        score = float(scores[adapter.task.metric])
        return score, None if chosen is None else chosen == self.target

    def chosen(self) -> Tensor | None:
        """(M,) the label of each cloud by the model as it is, of tasks that choose one."""
        return self.model.adapter.task.chosen(self._predicted(self.outputs))

    def _predicted(self, outputs: Tensor) -> Tensor:
        adapter = self.model.adapter
        return adapter.task.predict(adapter.task.activate(outputs), self.category, adapter.names)


def worth_of_inputs(scorer: Scorer, rows: Tensor, mean: Tensor) -> list[dict[str, Any]]:
    """A row for each input of the head: the score without it, and with it alone.

    Args:
        scorer: of these clouds.
        rows: (M, width) what the head was given.
        mean: (width,) what stands in the place of an input that is taken away.
    """
    head = scorer.model.adapter.head
    found, start = [], 0
    for name, (width, _) in zip(head.row_names, head.kinds, strict=True):
        own = slice(start, start + width)
        without, alone = rows.clone(), mean.expand_as(rows).clone()
        without[:, own], alone[:, own] = mean[own], rows[:, own]
        found.append({"input": name, "width": width, "without": _made(scorer, without),
                      "alone": _made(scorer, alone)})  # fmt: skip
        start += width
    return found


@torch.no_grad()
def _made(scorer: Scorer, rows: Tensor) -> dict[str, Any]:
    head = scorer.model.adapter.head
    device = next(scorer.model.parameters()).device
    return scorer.row(head.from_rows(rows.to(device)).float().cpu())


def worth_of_prompts(
    scorer: Scorer, inputs: Inputs, n: int, prompts: int, mean: Tensor | None,
    on_count: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each number of prompts: the score with the newest so many of them.

    Without any, what the head pools of them is the ``mean``.
    """
    found = []
    for count in counts(prompts):
        with with_prompts(scorer.model.adapter.taps, count):
            outputs = _forward(scorer.model, inputs, n, mean if count == 0 else None)
        found.append({"prompts": count, **scorer.row(outputs)})
        if on_count is not None:
            on_count(len(found))
    return found


def counts(prompts: int) -> list[int]:
    """The numbers of prompts that are tried, of so many."""
    if prompts <= FEW:
        return list(range(prompts + 1))
    doubled = [2**k for k in range(prompts.bit_length()) if 2**k < prompts]
    return [0, *doubled, prompts]


@torch.no_grad()
def _forward(model: PointModel, inputs: Inputs, n: int, mean: Tensor | None) -> Tensor:
    """(M, …) outputs of the head; with ``mean`` that in the place of what it pools of prompts."""
    head, outputs = model.adapter.head, []
    for start in range(0, len(inputs.points), BATCH):
        points, told = network_input(model, inputs.part(start, start + BATCH, model), n)
        tokens = model.tokens(points)
        if mean is None or not head.row_names:
            output = head(tokens, points, **told)
        else:
            rows = head.rows(tokens, told.get("traits"))
            output = head.from_rows(_without_prompts(rows, mean.to(rows), head))
        outputs.append(output.float().cpu())
    return torch.cat(outputs)


def _without_prompts(rows: Tensor, mean: Tensor, head: Any) -> Tensor:
    start, rows = 0, rows.clone()
    for name, (width, _) in zip(head.row_names, head.kinds, strict=True):
        if name.startswith("prompt"):
            rows[:, start : start + width] = mean[start : start + width]
        start += width
    return rows


def best(rows: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    """The row of highest score under ``key``."""
    return max(rows, key=lambda row: row[key]["score"])
