"""What the stream tells of its clouds besides the class."""

import random

import numpy as np
import pytest

from pointadapt.data.procedural.assembly import random_assembly
from pointadapt.data.procedural.attributes import ATTRIBUTES, CLASSES, PARTS, attributes
from pointadapt.data.procedural.sketch import RECIPES
from pointadapt.data.sets.shapes import ShapeStream


def names(flags):
    return {ATTRIBUTES[i] for i in np.flatnonzero(flags)}


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_has_the_parts_that_its_pieces_belong_to(name):
    for seed in range(5):
        pieces = RECIPES[name].pieces(random.Random(seed))
        has, known = attributes(pieces, name)
        want = {f"{name}/{RECIPES[name].parts[p.part]}" for p in pieces if p.part >= 0}
        assert names(has) & set(PARTS) == want
        assert known.all()


def test_of_an_assembly_only_the_make_up_is_known():
    for seed in range(20):
        pieces = random_assembly(random.Random(seed))
        has, known = attributes(pieces, None)
        assert names(known) == set(ATTRIBUTES) - set(PARTS)
        assert not names(has) & set(PARTS)
        groups = len({p.part for p in pieces if p.part >= 0})
        assert f"has {groups} kinds of pieces" in names(has)
        assert ("has a piece cut out" in names(has)) == any(p.part < 0 for p in pieces)
        most = max(sum(p.part == q.part for p in pieces) for q in pieces if q.part >= 0)
        assert f"has {min(most, 6)} pieces alike" in names(has)


def test_the_stream_describes_the_clouds_that_it_draws():
    stream = ShapeStream(3, points=64, assembly_fraction=0.5)
    d = stream.described(10, 50)
    np.testing.assert_array_equal(d.points, stream.batch(10, 50))
    assert d.has.shape == d.known.shape == (50, len(ATTRIBUTES))
    for label, has, known in zip(d.labels, d.has, d.known, strict=True):
        parts = names(has) & set(PARTS)
        if label < 0:
            assert not parts and not known[: len(PARTS)].any()
        else:
            assert parts and all(p.startswith(CLASSES[label] + "/") for p in parts)
    assert 5 < (d.labels < 0).sum() < 45
