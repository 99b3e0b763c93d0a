from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pointadapt.backbones import BlockTaps, CloudView, Tokens
from pointadapt.backbones.layers import DropPath
from pointadapt.core.config import TrainConfig
from pointadapt.methods.gaprompt import SharedMlp, keep_nearest, neighborhoods
from pointadapt.training.setup import build_model


@pytest.fixture
def taps(one):
    """Taps for 6 patches of 4 points, every parameter random."""

    def make(**options):
        one.backbone.config = type(one.backbone.config)(
            dim=12, depth=2, heads=2, groups=6, group_size=4, sampling_rule="plain"
        )
        return one.taps("gaprompt", tokens=2, depth=1, points=3, **options)

    return make


@pytest.fixture
def tokens():
    torch.manual_seed(4)
    x = torch.randn(2, 7, 12)
    return Tokens(x=x, centers=torch.randn(2, 6, 3), pos=torch.zeros_like(x))


class Positions:
    """A backbone that embeds a place as twelve times the sum of its coordinates."""

    def position(self, centers):
        return centers.sum(dim=-1, keepdim=True).expand(*centers.shape[:-1], 12)


def view(memo):
    return CloudView(Positions(), torch.zeros(2, 1, 3), memo)


def test_points_move_along_themselves_and_others_join(taps):
    taps = taps(shift=0.5, point_factor=5.0)
    points = torch.randn(2, 20, 3)
    out, vector = taps.points_in(points)
    assert out.shape == (2, 23, 3)
    assert vector.shape == (2, 1, 12)
    assert torch.equal(out[:, 20:], (5 * taps.points).expand(2, -1, -1))
    assert not torch.allclose(out[:, :20], points)
    taps.shift.shift = 0.0
    assert torch.equal(taps.points_in(points)[0][:, :20], points)


def test_shared_mlp_takes_every_row_alike():
    torch.manual_seed(0)
    mlp = SharedMlp(3, 5, 4).eval()
    x = torch.randn(2, 6, 3)
    a, b = mlp.layers
    expected = F.relu(mlp.norms[1](b(F.relu(mlp.norms[0](a(x[1]))))))
    torch.testing.assert_close(mlp(x)[1], expected)


def test_seeds_reach_patches_by_inverse_squared_distance(taps, tokens):
    taps = taps()
    shape = taps.tokens_in(tokens, view(torch.zeros(2, 1, 12))).context
    seeds, near, at = neighborhoods(tokens.centers, 3, 2, "plain")
    assert torch.equal(shape.seeds, seeds)
    assert torch.equal(shape.near, near)
    weights = 1 / (torch.cdist(tokens.centers, at) ** 2 + 1e-8)
    expected = weights / weights.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(shape.weights, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(shape.position, Positions().position(taps.places[None]))


def test_the_weights_have_a_gradient_to_the_centers(taps, tokens):
    """The network that moves points, and the points that join, learn by it too, as released."""
    taps, memo = taps(), torch.zeros(2, 1, 12)
    value = torch.randn(2, 6, 3)

    def of(centers):
        moved = replace(tokens, centers=centers)
        return (taps.tokens_in(moved, view(memo)).context.weights * value).sum()

    centers = tokens.centers.clone().requires_grad_()
    (found,) = torch.autograd.grad(of(centers), centers)
    assert found.isfinite().all()  # though a seed is at no distance from itself
    step = torch.zeros_like(centers)
    step[1, 4, 2] = 1e-2
    slope = (of(tokens.centers + step) - of(tokens.centers - step)) / 2e-2
    torch.testing.assert_close(found[1, 4, 2], slope, atol=1e-3, rtol=5e-2)


def test_only_the_largest_weights_are_kept():
    weights = torch.tensor([[4.0, 1.0, 12.0, 2.0]])
    assert keep_nearest(weights, 2).tolist() == [[0.25, 0, 0.75, 0]]
    torch.testing.assert_close(keep_nearest(weights[:, :2], 2), torch.tensor([[0.8, 0.2]]))


@pytest.mark.parametrize("propagation", ["permutation", "replacement"])
@pytest.mark.parametrize("index", [0, 1])
def test_block_is_the_formula(one, taps, tokens, propagation, index):
    taps = taps(propagation=propagation)
    vector = torch.randn(2, 1, 12)
    one.tokens = taps.tokens_in(tokens, view(vector))
    c, block = one.tokens.context, taps.blocks[index]
    prompts = torch.zeros(2, 0, 12)
    if index == 0:
        prompts = block.prompts + vector / 2 + c.position
    x = torch.cat([tokens.x[:, :1], prompts, tokens.patches], dim=1)
    h = x + one.block.attn(one.block.norm1(x), BlockTaps())
    h = h + one.block.mlp(one.block.norm2(h), BlockTaps())
    n = prompts.shape[1]
    seen = h[:, 1:]
    if propagation == "replacement":
        seen = torch.cat([h[:, 1 + n : 7], h[:, 1 : 1 + n]], dim=1)
    e = h[:, 1 + n :].clone()
    for b in range(2):
        best = torch.stack([2 * seen[b][i].amax(dim=0) for i in c.near[b]])
        v = F.gelu(block.pooled(best)) + 0.3 * seen[b][c.seeds[b]]
        e[b] += 0.3 * c.weights[b] @ v
    inner = block.adapter.down(block.norm(e + vector / 2 if index == 0 else e))
    e = e + 0.7 * block.adapter.up(inner * torch.sigmoid(1.702 * inner))
    expected = torch.cat([h[:, :1], e], dim=1)
    torch.testing.assert_close(one.run(block), expected, atol=1e-4, rtol=1e-4)


def test_head_sees_the_shape_alone_as_prompt(taps, tokens):
    taps, vector = taps(), torch.randn(2, 1, 12)
    start = taps.tokens_in(tokens, view(vector))
    assert start.prompts == 0
    assert torch.equal(taps.tokens_out(start).pool("prompt_mean"), vector[:, 0])


@pytest.mark.parametrize(
    ("options", "rate", "want"),
    [((), 0.0, [0, 0]), ((), 0.2, [0, 0.2]), (("drop_path=0.1",), 0.2, [0, 0.1])],
)
def test_drop_path_of_the_run_is_its_own_too(options, rate, want, micro_backbone):
    config = TrainConfig(
        backbone=str(micro_backbone), method="gaprompt", options=options, points=64, drop_path=rate
    )
    taps = build_model(config, ("a", "b")).adapter.taps
    assert [m.rate for m in taps.modules() if isinstance(m, DropPath)] == pytest.approx(want)
