"""What a head is given: poolings of any block, and traits of the cloud."""

import math

import pytest
import torch

from pointadapt.backbones import Tokens
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.ops.traits import NAMES, columns
from pointadapt.tasks.inputs import CLIP, HeadInputs, parse_inputs, pooled_inputs, size_doubts

DIM, DEPTH = 4, 6


def tokens(value):
    x = torch.full((2, 4, 4), float(value))  # CLS and three patches
    return Tokens(x=x, centers=torch.zeros(2, 3, 3), pos=torch.zeros_like(x))


def levels(*values):
    *hidden, last = map(tokens, values)
    last.hidden = tuple(hidden)
    return last


def test_a_block_is_a_number_or_the_middle():
    given = HeadInputs(("patch_max@mid", "cls", "patch_mean@0", "patch_max@5"), DIM, DEPTH)
    assert given.blocks == (0, 2)  # in the order in which they come; 5 is the last
    found = given(levels(10, 12, 15))
    assert found[0].tolist() == [12] * 4 + [15] * 4 + [10] * 4 + [15] * 4
    assert HeadInputs(("cls@mid",), DIM).blocks == ()


@pytest.mark.parametrize(
    ("names", "kind", "said"),
    [
        ((), ConfigError, "at least one"),
        (("cls", "cls"), ConfigError, "twice"),
        (("patch_max@last",), ConfigError, "block's number"),
        (("size@2",), ConfigError, "block's number"),
        (("patch_mx@2",), UnknownNameError, "did you mean 'patch_max'"),
        (("patch_max@6",), ConfigError, "blocks are 0 to 5"),
    ],
)
def test_other_inputs_are_refused(names, kind, said):
    with pytest.raises(kind, match=said):
        HeadInputs(names, DIM, DEPTH)


def test_heads_of_points_take_poolings_alone():
    assert pooled_inputs(("token_max", "cls")) == ("token_max", "cls")
    for name in ("size", "patch_max@1"):
        with pytest.raises(ConfigError, match="labels points"):
            pooled_inputs((name,))
    assert [item.of_cloud for item in parse_inputs(("shape", "cls"))] == [True, False]


def test_traits_are_standardised_over_the_training_clouds():
    train = torch.randn(50, len(NAMES), generator=torch.Generator().manual_seed(0)) * 3 + 7
    train[:, 4] = 2.0  # the same for all
    given = HeadInputs(("size", "profile"), DIM, DEPTH)
    given.see(train)
    found = given(levels(0, 0, 0), train)
    want = (train - train.mean(0)) / train.std(0, unbiased=False).clamp(min=1e-6)
    want = torch.cat([want[:, columns(name)] for name in ("size", "profile")], dim=1)
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)
    far = given(levels(0, 0, 0), train + 1e6)
    assert far.max() == CLIP


def test_without_traits_it_says_how_to_get_them():
    with pytest.raises(ConfigError, match=r"size.*cloud_traits"):
        HeadInputs(("size", "cls"), DIM, DEPTH)(levels(0, 0, 0))


def test_clouds_far_outside_the_training_clouds_are_doubtful():
    at, given = NAMES.index("radius"), HeadInputs(("size",), DIM, DEPTH)
    train = torch.zeros(3, len(NAMES))
    train[:, at] = torch.tensor([0.5, 1.0, 2.0]).log()
    given.see(train)
    new = torch.zeros(4, len(NAMES))
    new[:, at] = torch.tensor([1.0, 9.0, 1000.0, 0.01]).log()
    near, also, large, small = size_doubts(new, given.sizes())
    assert near == also == ""  # 9 is less than five times 2
    assert large == ("2e+03 across, 500 times as large as any training cloud (1 to 4): in another "
                     "unit?")  # fmt: skip
    assert small.startswith("0.02 across, 50 times as small")
    assert size_doubts(new, HeadInputs(("shape",), DIM, DEPTH).sizes()) == [""] * 4
    assert math.isfinite(float(given.mean.sum()))
