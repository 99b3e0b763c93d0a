"""Which methods are tested on which families of backbones, and which of it ``make test`` runs."""

from importlib.util import find_spec

import pytest

from pointadapt.backbones import BACKBONES
from pointadapt.methods import METHODS

STAGED = tuple(f for f in BACKBONES if "points_in" not in BACKBONES[f].sites)  # several widths
ONE_WIDTH = tuple(f for f in BACKBONES if f not in STAGED)
REFUSED = (  # by stages: what adds prompts, acts on the whole cloud, or exchanges layers
    "dapt", "gaprompt", "idpt", "most", "partial", "point_lora", "point_peft", "pointgst", "ppt",
    "stag", "vpt", "peft:lora", "peft:ia3",
)  # fmt: skip
SHORT = ("point_vit", "uni3d")  # one of plain blocks, one of gated ones; make test-all takes all
FEW = ("lora", "ssf", "full")  # on stages: beside, in and of the layers
no_peft = pytest.mark.skipif(not find_spec("peft"), reason="the extra [peft] is not installed")


def marked(name, *values, slow=False):
    """A parameter for the method ``name``."""
    marks = [no_peft] if name.startswith("peft:") else []
    return pytest.param(name, *values, marks=[*marks, *([pytest.mark.slow] if slow else [])])


def pairs(methods=(*METHODS, "peft:lora", "peft:ia3"), families=tuple(BACKBONES)):
    """(method, family) for all that go together."""
    return [
        marked(name, family, slow=not (family in SHORT or (family in STAGED and name in FEW)))
        for family in families for name in methods if family not in STAGED or name not in REFUSED
    ]  # fmt: skip
