"""Which methods are tested on which families of backbones, and which of it ``make test`` runs."""

from importlib.util import find_spec

import pytest

from pointadapt.backbones import BACKBONES
from pointadapt.methods import METHODS

STAGED = tuple(f for f in BACKBONES if "points_in" not in BACKBONES[f].sites)  # several widths
ONE_WIDTH = tuple(f for f in BACKBONES if f not in STAGED)
REFUSED = (  # by stages: what adds prompts, acts on the whole cloud, or exchanges layers
    "dapt", "gaprompt", "gft", "idpt", "most", "partial", "point_lora", "point_peft", "pointgst",
    "ppt", "stag", "vpt", "peft:lora", "peft:ia3",
)  # fmt: skip
FEW = ("lora", "ssf", "full")  # on stages: beside, in and of the layers
# What "make test" runs; make test-all takes all methods on all families.
QUICK = {
    "point_vit": (*METHODS, "peft:lora", "peft:ia3"),
    "uni3d": ("dapt", "full", "ia3", "lora", "prefix", "ssf", "stem_adapter"),  # gated blocks
    **dict.fromkeys(STAGED, FEW),
}
no_peft = pytest.mark.skipif(not find_spec("peft"), reason="the extra [peft] is not installed")


def marked(name, *values, slow=False):
    """A parameter for the method ``name``."""
    marks = [no_peft] if name.startswith("peft:") else []
    return pytest.param(name, *values, marks=[*marks, *([pytest.mark.slow] if slow else [])])


def pairs(methods=(*METHODS, "peft:lora", "peft:ia3"), families=tuple(BACKBONES)):
    """(method, family) for all that go together."""
    return [
        marked(name, family, slow=name not in QUICK.get(family, ()))
        for family in families for name in methods if family not in STAGED or name not in REFUSED
    ]  # fmt: skip
