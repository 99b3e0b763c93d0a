"""One look: everything that is seen of one adapter on some clouds, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...adapters.model import PointModel
from ...core.config.inspect import InspectConfig
from ...inference.forward import head_rows
from . import draw
from .clouds import Subject, labelled, some_training_clouds
from .features import nearest, plane
from .measure import Seen, look
from .words import next_steps, summary
from .worth import Scorer, counts, worth_of_inputs, worth_of_prompts

OnProgress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much
Facts = dict[str, Any]


@dataclass(frozen=True)
class View:
    """One look: what is asked, of which model, at which clouds."""

    config: InspectConfig
    model: PointModel
    subject: Subject
    tell: OnProgress

    def facts(self) -> Facts:
        """All that is seen; the pictures are written."""
        model, many = self.model, len(self.subject.names)
        n = model.adapter.about["points"]
        seen = look(model, self.subject.inputs, n, lambda k: self.tell("looking", k, many))
        facts = {**self.about(), **self.blocks(seen), "prompts": [], "inputs": [], "features": {},
                 "mean_of": "", "not_shown": [], "pictures": {}}  # fmt: skip
        scorer = self.scorer(seen, facts)
        if scorer is not None:
            facts |= self.worth(seen, scorer, n)
        self.map(seen, scorer, facts)
        self.draw(seen, facts)
        if not facts["scales"]:
            facts["not_shown"].insert(0, f"{facts['title']} works out no scale of each token.")
        facts["summary"] = summary(facts)
        steps = next_steps(self.config, facts, model.adapter.method, model.adapter.about)
        facts["next"] = [{"why": why, "command": command} for why, command in steps]
        return facts

    def about(self) -> Facts:
        """What is looked at."""
        adapter, subject = self.model.adapter, self.subject
        return {
            "adapter": str(self.config.adapter), "method": adapter.method.name,
            "title": adapter.method.title, "task": adapter.task.name,
            "backbone": Path(adapter.about["backbone"]["name"]).name,
            "blocks": self.model.backbone.config.depth, "head_inputs": list(adapter.head_inputs),
            "source": subject.source, "clouds": len(subject.names), "seed": self.config.seed,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "left_out": list(subject.left_out),
        }  # fmt: skip

    @staticmethod
    def blocks(seen: Seen) -> Facts:
        """Scales and changes of each block."""
        scales = [
            {"block": k, **{kind: {"mean": mean, "moved": moved}
                            for kind, (mean, moved) in seen.kinds[k].items()}}
            for k in sorted(seen.kinds)
        ]  # fmt: skip
        changes = [{"block": k, **row, "ratio": _ratio(row)} for k, row in enumerate(seen.changes)]
        return {"scales": scales, "changes": changes, "entry": seen.entry,
                "most_prompts": seen.prompts}  # fmt: skip

    def scorer(self, seen: Seen, facts: Facts) -> Scorer | None:
        """What scores the clouds whose class is known; None, and why, where that cannot be."""
        subject, task = self.subject, self.model.adapter.task
        if seen.outputs is None:
            facts["not_shown"].append(
                "This adapter labels points: there is no score by prompts or by the head's inputs, "
                "and no map of the clouds."
            )
            return None
        if subject.target is None:
            facts["not_shown"].append(
                "The class of no cloud is known, so there is no score by prompts or by the head's "
                "inputs: put the files into folders with the names of their classes."
            )
            return None
        at = subject.known
        category = torch.from_numpy(subject.labels[at])
        scorer = Scorer(self.model, subject.target, category, seen.outputs[at])
        measure = task.measures[0]
        value, counted = scorer.judged(scorer.outputs)[0], np.bincount(self.subject.labels[at])
        facts["score"] = {"name": measure.name, "unit": measure.unit, "known": len(at),
                          "value": value}  # fmt: skip
        if task.one_class:
            facts["score"]["commonest"] = round(100 * float(counted.max()) / len(at), 4)
        return scorer

    def worth(self, seen: Seen, scorer: Scorer, n: int) -> Facts:
        """Scores by number of prompts, and by the inputs of the head."""
        rows, mean, source = None, None, ""
        if seen.rows is not None:
            rows = seen.rows[self.subject.known]
            mean, source = self.mean_rows(seen.rows, n)
        prompts = []
        if seen.prompts:
            steps = len(counts(seen.prompts))
            prompts = worth_of_prompts(
                scorer, labelled(self.subject), n, seen.prompts, mean,
                lambda k: self.tell("prompts", k, steps),
            )  # fmt: skip
        inputs = [] if rows is None or mean is None else worth_of_inputs(scorer, rows, mean)
        return {"prompts": prompts, "inputs": inputs, "mean_of": source}

    def mean_rows(self, rows: Tensor, n: int) -> tuple[Tensor, str]:
        """Mean of what the head is given of the training clouds, or else of these; and of which."""
        self.tell("training clouds", 0, 1)
        clouds = some_training_clouds(self.config, self.model)
        if clouds is None:
            return rows.mean(dim=0), "these clouds"
        return head_rows(self.model, clouds, n).mean(dim=0), f"{len(clouds):,} training clouds"

    def map(self, seen: Seen, scorer: Scorer | None, facts: Facts) -> None:
        """The map of the features and the errors on it."""
        if seen.outputs is None:
            return
        self.tell("map of the features", 0, 1)
        ours = seen.pooled if seen.rows is None else seen.rows
        spreads = {"frozen backbone": plane(seen.pooled.numpy(), self.config.seed),
                   "with the adapter": plane(ours.numpy(), self.config.seed)}  # fmt: skip
        wrong, labels = np.zeros(len(self.subject.names), bool), self.subject.labels
        if scorer is not None:
            found = self.errors(seen, scorer, ours)
            facts["features"] = found
            wrong[[row["index"] for row in found["wrong"]]] = True
        if spreads["frozen backbone"] is None:
            facts["not_shown"].append("There are too few clouds for a map of their features.")
            return
        maps: dict[str, Any] = spreads
        facts["features"]["map"] = {name: at.round(3).tolist() for name, at in maps.items()}
        classes = self.model.classes or ("cloud",)
        path = self.config.out / "features.png"
        facts["pictures"]["features"] = str(draw.draw_features(maps, labels, classes, wrong, path))

    def errors(self, seen: Seen, scorer: Scorer, ours: Tensor) -> Facts:
        """How well neighbours agree, and the clouds that are predicted wrongly."""
        adapter, at = self.model.adapter, self.subject.known
        found: Facts = {"wrong": [], "errors": 0, "known": len(at)}
        chosen, labels, names = scorer.chosen(), self.subject.labels[at], self.model.classes
        if chosen is None or len(at) < 3 or not adapter.task.one_class:
            return found
        own, bare = nearest(ours[at].numpy()), nearest(seen.pooled[at].numpy())
        found["agree"] = {"adapter": _agree(own, labels), "bare": _agree(bare, labels)}
        found["wrong"] = [
            {"index": int(at[k]), "name": self.subject.names[at[k]], "true": names[labels[k]],
             "predicted": names[int(chosen[k])], "neighbour": names[labels[own[k]]]}
            for k in np.flatnonzero((chosen != scorer.target).numpy())
        ]  # fmt: skip
        found["errors"] = len(found["wrong"])
        found["lost"] = sum(row["neighbour"] == row["predicted"] for row in found["wrong"])
        return found

    def draw(self, seen: Seen, facts: Facts) -> None:
        """The pictures of the blocks and of the scores."""
        out, made = self.config.out, {}
        if seen.scales:
            which = _shown(self.subject.labels, self.config.shown)
            titles = [self.title(k) for k in which]
            made["scales"] = draw.draw_scales(seen, which, titles, out / "scales.png")
            made["scale_means"] = draw.draw_scale_means(seen, out / "scale_means.png")
        made["changes"] = draw.draw_changes(seen, out / "changes.png")
        if facts["prompts"] or facts["inputs"]:
            score = facts["score"]
            made["worth"] = draw.draw_worth(
                facts["prompts"], facts["inputs"], score["value"],
                f"{score['name']} {score['unit']}".strip(), out / "worth.png",
            )  # fmt: skip
        facts["pictures"] |= {name: str(path) for name, path in made.items()}

    def title(self, k: int) -> str:
        """What stands beside a cloud in a picture."""
        label, classes = self.subject.labels[k], self.model.classes
        name = Path(self.subject.names[k]).name
        short = name if len(name) <= 16 else f"{name[:7]}…{name[-8:]}"
        known = 0 <= label < len(classes)
        return f"{classes[label]}\n{short}" if known else short


def _agree(near: np.ndarray, labels: np.ndarray) -> float:
    """Share in percent of the clouds whose nearest neighbour is of their class."""
    return round(100 * float((labels[near] == labels).mean()), 4)


def _ratio(row: dict[str, float]) -> float:
    return row["change"] / max(row["bare_change"], 1e-12)


def _shown(labels: np.ndarray, most: int) -> list[int]:
    """Numbers of the clouds to draw: one of each class first."""
    first = np.sort(np.unique(labels, return_index=True)[1])
    rest = [k for k in range(len(labels)) if k not in set(first)]
    return [int(k) for k in [*first, *rest][:most]]
