import math

import torch


def test_deep_prompts_replace_those_of_the_block_before(one):
    first, second = one.taps("vpt", tokens=3).blocks
    once = first.block_in(one.tokens)
    twice = second.block_in(once.with_x(once.x + 1))
    for tokens, taps in ((once, first), (twice, second)):
        assert tokens.prompts == 3
        assert torch.equal(tokens.x[:, 1:4], taps.prompts.expand(2, -1, -1))
        assert not tokens.pos[:, 1:4].any()
    assert torch.equal(once.x[:, [0, *range(4, 9)]], one.tokens.x)
    assert torch.equal(twice.x[:, [0, *range(4, 9)]], one.tokens.x + 1)


def test_shallow_prompts_stay(one):
    first, second = one.taps("vpt", tokens=3, deep=False).blocks
    once = first.block_in(one.tokens)
    assert once.prompts == 3
    assert second.block_in(once) is once
    assert not list(second.parameters())


def test_start_values_fill_the_released_range(one):
    from pointadapt.methods import make_method

    prompts = make_method("vpt", {"tokens": 2000}).attach(one.backbone).blocks[0].prompts
    bound = math.sqrt(6 / (3 * 4 + 12))  # patches of 4 points, 12 wide
    assert 0.99 * bound < prompts.abs().max() <= bound
