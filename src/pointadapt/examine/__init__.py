"""Evaluation that says something: where a model errs, how sure it is, and what it was scored on."""

from ._facts import facts_of
from ._look import Examination, examine
from ._page import write_page
from ._protocol import protocol_facts
from ._words import next_steps, remarks

__all__ = [
    "Examination", "examine", "facts_of", "next_steps", "protocol_facts", "remarks", "write_page",
]  # fmt: skip
