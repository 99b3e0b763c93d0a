"""A random transformer block and tokens, for methods' formulas."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pointadapt.backbones import BackboneConfig, Tokens
from pointadapt.backbones.layers import Block
from pointadapt.backbones.taps import BlockTaps
from pointadapt.methods import make_method

DIM, HEADS, PATCHES = 12, 2, 5


def randomize(module):
    """Every parameter N(0, .3): away from start values, so that each term counts."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


class OneBlock:
    """A frozen block, tokens (2, 1 + 5, 12), and the first block's taps of any method."""

    def __init__(self):
        torch.manual_seed(0)
        self.block = randomize(Block(DIM, HEADS)).eval()
        x = torch.randn(2, 1 + PATCHES, DIM)
        self.tokens = Tokens(x=x, centers=torch.zeros(2, PATCHES, 3), pos=torch.randn_like(x))
        config = BackboneConfig(dim=DIM, depth=2, heads=HEADS, group_size=4)
        self.backbone = SimpleNamespace(config=config)

    def taps(self, method, **options):
        """All taps of ``method``, every parameter random."""
        taps = make_method(method, options).attach(self.backbone)
        return randomize(taps).eval().requires_grad_(False)

    def run(self, taps=None, block=None):
        """Features after ``block`` (the frozen one) with one block's taps."""
        return (block or self.block)(self.tokens, taps or BlockTaps()).x

    def copy(self):
        """The block, to be changed; its qkv has a zero bias."""
        block = copy.deepcopy(self.block)
        bias = nn.Linear(DIM, 3 * DIM)
        bias.weight = block.attn.qkv.weight
        nn.init.zeros_(bias.bias)
        block.attn.qkv = bias
        return block.requires_grad_(False)


@pytest.fixture
def one():
    return OneBlock()
