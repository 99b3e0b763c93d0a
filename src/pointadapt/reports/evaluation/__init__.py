"""Evaluation that says something: where a model errs, how sure it is, and what it was scored on."""

from .draw import draw_examination
from .facts import facts_of
from .look import Examination, examine
from .page import write_page
from .protocol import protocol_facts
from .run import Evaluation, evaluate, run
from .words import next_steps, remarks

__all__ = [
    "Evaluation", "Examination", "draw_examination", "evaluate", "examine", "facts_of",
    "next_steps", "protocol_facts", "remarks", "run", "write_page",
]  # fmt: skip
