import pytest
import torch
import torch.nn.functional as F

from pointadapt.methods import edge_conv
from pointadapt.methods.edge_conv import EdgeConv, EdgeConvs, nearest


@pytest.mark.parametrize("out", [12, 7])
def test_is_the_formula_edge_by_edge(out):
    torch.manual_seed(1)
    conv = EdgeConv(12, out)
    torch.nn.init.uniform_(conv.norm.running_mean, -1, 1)
    conv.eval()
    x, index = torch.randn(2, 5, 12), torch.randint(5, (2, 5, 3))
    found = conv(x, index)
    assert found.shape == (2, 5, out)
    for b in range(2):
        for i in range(5):
            edges = [torch.cat([x[b, i], x[b, j] - x[b, i]]) for j in index[b, i]]
            h = F.leaky_relu(conv.norm(conv.linear(torch.stack(edges))), 0.2)
            torch.testing.assert_close(found[b, i], h.amax(dim=0))


def test_nearest_include_the_row_itself():
    x = torch.tensor([[[0.0], [1.0], [1.5], [9.0]]])
    assert [sorted(row) for row in nearest(x, 2)[0].tolist()] == [[0, 1], [1, 2], [1, 2], [2, 3]]
    assert nearest(x, 20).shape == (1, 4, 4)


def test_what_is_exported_finds_the_same(monkeypatch):
    torch.manual_seed(0)
    x = 3 + torch.randn(2, 40, 8)
    want = (x.unsqueeze(2) - x.unsqueeze(1)).square().sum(dim=-1).argsort(dim=-1)[..., :7]
    for exported in (False, True):
        monkeypatch.setattr(edge_conv, "is_exporting", lambda answer=exported: answer)
        assert torch.equal(nearest(x, 7), want)


def test_each_of_a_row_has_the_graph_of_its_own_input():
    torch.manual_seed(0)
    convs, x = EdgeConvs(6, 4, 3, neighbors=2).eval(), torch.randn(2, 5, 6)
    first = convs[0](x, nearest(x, 2))
    second = convs[1](first, nearest(first, 2))
    assert not torch.equal(nearest(x, 2), nearest(first, 2))
    for found, want in zip(convs(x), (first, second), strict=True):
        assert torch.equal(found, want)


def test_places_give_one_graph_for_all():
    torch.manual_seed(0)
    convs, x, places = (
        EdgeConvs(6, 6, 6, neighbors=2).eval(),
        torch.randn(2, 5, 6),
        torch.rand(2, 5, 3),
    )
    index = nearest(places, 2)
    first = convs[0](x, index)
    for found, want in zip(convs(x, places), (first, convs[1](first, index)), strict=True):
        assert torch.equal(found, want)
