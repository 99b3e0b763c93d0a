"""``pointadapt evaluate``: score an adapter."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...core import console
from ...core.config import Precision
from ...core.fields import at_least
from ...reports import terminal as report
from ..base import command


@command("evaluate")
@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score an adapter on a data set; by default as at the end of its training.

    Attributes:
        adapter: the folder that training wrote.
        data: name of the data set; by default the one it was trained on.
        root: its folder on disk.
        data_options: its other options, as key=value.
        split: which part of it.
        votes: augmented copies whose probabilities are averaged; 0 scores the clouds as they are.
        backbone: where the backbone is now, if the adapter does not find it.
        picture: also draw the first clouds of the classes, with what is predicted beside what is
            so, to this .png, .pdf or .svg file.
        html: also write a page: confusions, scores of each class, calibration, pictures of the
            worst errors, and the protocol, in one file that needs no other.
        report_json: also write what the page tells, as a JSON file.
        pictures: clouds on the page of each kind.
        precision: number format of the forward pass; by default as in training.
        json: print the scores as JSON on standard output.
    """

    adapter: Path
    data: str | None = None
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    split: Literal["train", "test"] = "test"
    votes: int = 0
    backbone: str | None = None
    picture: Path | None = None
    html: Path | None = None
    report_json: Path | None = None
    pictures: int = 12
    precision: Precision | None = None
    json: bool = False

    def run(self) -> int:
        from ...adapters.protocol import Protocol, autocast, load_ready
        from ...core.files import check_target, write_json
        from ...reports.drawing import check_picture
        from ...reports.evaluation import (
            draw_examination,
            examine,
            facts_of,
            next_steps,
            protocol_facts,
            remarks,
            write_page,
        )

        at_least(self, 0, "votes", "pictures")
        for target in (self.html, self.report_json):
            if target is not None:
                check_target(target)
        if self.picture is not None:
            check_picture(self.picture)
        model = load_ready(self.adapter, self.backbone)
        about = model.adapter.about
        protocol = Protocol.of(self.adapter, self.data, self.root, self.data_options, about=about)
        clouds, began = protocol.load(self.split), time.monotonic()
        precision = self.precision or protocol.precision
        bar = console.progress(f"{protocol.data} {self.split}", len(clouds))
        with bar as done, autocast(model, precision):
            seen = examine(model, clouds, protocol.points, votes=self.votes, on_batch=done)
            seconds = round(time.monotonic() - began, 1)
        if self.picture is not None:
            draw_examination(seen, self.picture)
        facts, steps = facts_of(seen, self.pictures), next_steps(self)
        facts["protocol"] = protocol_facts(
            self.adapter, model, protocol, split=self.split, clouds=len(clouds), votes=self.votes,
            precision=precision, seconds=seconds,
        )  # fmt: skip
        facts["remarks"] = remarks(facts)
        if self.report_json is not None:
            write_json(self.report_json, facts)
        if self.html is not None:
            write_page(self.html, seen, facts, steps)
        ece = {"ece": facts["calibration"]["ece"]} if "calibration" in facts else {}
        scores = {
            **seen.scores,
            **ece,
            "adapter": str(self.adapter),
            "data": protocol.data,
            "split": self.split,
        }
        if self.json:
            console.print_json(scores)
            return 0
        to = console.output()
        report.evaluation(scores, type(seen.task), f"{protocol.data} {self.split}", to)
        for text in facts["remarks"]:
            to.print(f"- {text}", soft_wrap=True)
        if self.html is not None:
            to.print(f"page: {self.html}", soft_wrap=True)
        report.next_steps(to, *steps)
        return 0
