"""Chamfer distance and its gradients against autograd through all pairs."""

import pytest
import torch

from pointadapt.core.errors import PointCloudError
from pointadapt.ops import chamfer, chamfer_distance


def definition(a, b, norm):
    """One pair of sets, every distance in the graph."""
    d = (a[:, None] - b[None]).square().sum(dim=2)
    d1, d2 = d.min(dim=1).values, d.min(dim=0).values
    if norm == "l1":
        return (d1.sqrt().mean() + d2.sqrt().mean()) / 2
    return d1.mean() + d2.mean()


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize(("n", "m"), [(32, 32), (5, 9), (1, 4), (1, 1)])
def test_value_and_gradient(norm, n, m):
    torch.manual_seed(0)
    a = torch.randn(6, n, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(6, m, 3, dtype=torch.float64, requires_grad=True)
    got = chamfer_distance(a, b, norm=norm, reduction="none")
    expected = torch.stack([definition(x, y, norm) for x, y in zip(a, b, strict=True)])
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(chamfer_distance(a, b, norm=norm), expected.mean())
    weights = torch.randn(6, dtype=torch.float64)
    ours = torch.autograd.grad(got @ weights, (a, b))
    theirs = torch.autograd.grad(expected @ weights, (a, b))
    torch.testing.assert_close(ours, theirs)


def test_worked_example():
    a = torch.tensor([[[0.0, 0, 0]]])
    b = torch.tensor([[[1.0, 0, 0], [0, 2, 0]]])
    assert chamfer_distance(a, b).item() == 1 + (1 + 4) / 2
    assert chamfer_distance(a, b, norm="l1").item() == (1 + (1 + 2) / 2) / 2


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_equal_sets_have_no_distance_and_no_gradient(norm):
    a = torch.randn(2, 8, 3, requires_grad=True)
    loss = chamfer_distance(a, a.detach().flip(1), norm=norm)
    loss.backward()
    assert loss.item() == 0
    assert a.grad is not None
    assert (a.grad == 0).all()


def test_blocks_do_not_change_the_answer(monkeypatch):
    a, b = torch.randn(7, 6, 3), torch.randn(7, 5, 3)
    whole = chamfer_distance(a, b, reduction="none")
    monkeypatch.setattr(chamfer, "block_size", lambda points: 60)
    assert torch.equal(whole, chamfer_distance(a, b, reduction="none"))


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_float32_under_autocast_and_for_half_input(norm):
    a, b = torch.randn(3, 9, 3), torch.randn(3, 9, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = chamfer_distance(a, b, norm=norm)
    assert torch.equal(got, chamfer_distance(a, b, norm=norm))
    half = chamfer_distance(a.bfloat16(), b.bfloat16(), norm=norm)
    assert half.dtype == torch.float32


def test_nan_stays_visible():
    """A diverged prediction must give a NaN loss, not an error about indices."""
    a, b = torch.randn(2, 4, 3), torch.randn(2, 5, 3)
    b[1, 2, 0] = torch.nan
    got = chamfer_distance(a, b, reduction="none")
    assert got.isnan().tolist() == [False, True]


def test_compiles_without_a_graph_break():
    a, b = torch.randn(3, 9, 3), torch.randn(3, 9, 3)
    compiled = torch.compile(chamfer_distance, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(a, b), chamfer_distance(a, b))


def test_errors():
    a = torch.randn(2, 4, 3)
    for call, message in (
        (lambda: chamfer_distance(a, a[:1]), "a holds 2 clouds and b 1"),
        (lambda: chamfer_distance(a, a[:, :0]), "b: each cloud needs at least 1 points, got 0"),
        (lambda: chamfer_distance(a, a, norm="l3"), "unknown norm 'l3'"),  # type: ignore[arg-type]
        (lambda: chamfer_distance(a, a, reduction="sum"), "reduction"),  # type: ignore[arg-type]
    ):
        with pytest.raises(PointCloudError, match=message):
            call()
