"""The maximum over a patch, as it is in compiled steps; the kernel itself is in test_triton.py."""

import pytest
import torch

from pointadapt.backbones import layers
from pointadapt.ops import largest


def test_it_is_torchs_maximum_and_gradient():
    x = torch.randn(4, 6, 7, 5, generator=torch.Generator().manual_seed(0))
    ours, torchs = (x.clone().requires_grad_() for _ in range(2))
    out, want = largest.largest(ours), torchs.max(dim=2).values
    assert torch.equal(out, want)
    out.backward(x[:, :, 0])
    want.backward(x[:, :, 0])
    assert torch.equal(ours.grad, torchs.grad)


def test_the_operation_is_as_it_is_declared():
    for which in (True, False):
        torch.library.opcheck(torch.ops.pointadapt.largest.default, (torch.randn(4, 5, 6), which))


@pytest.mark.parametrize(("shape", "dim"), [((2, 3, 4), 2), ((2, 128, 4), 1), ((2, 3, 4), 0)])
def test_what_it_does_not_take(shape, dim):
    assert not largest.takes(torch.empty(shape, device="meta"), dim)


@pytest.mark.parametrize("trains", [True, False])
def test_compiled_code_uses_it(monkeypatch, trains):
    """As on a GPU; elsewhere a compiler is left its own."""
    calls = []

    def plain(x, which):
        calls.append(which)
        return largest.plain(x, which)

    monkeypatch.setattr(largest, "_kernels", lambda x: type("M", (), {"largest": plain}))
    monkeypatch.setattr(layers, "takes", lambda x, dim: True)
    encoder = layers.PatchEncoder(6, (4, 5, 6)).train().requires_grad_(trains)
    x = torch.randn(2, 3, 4, 3, generator=torch.Generator().manual_seed(0))
    want = encoder(x)
    assert not calls
    out = torch.compile(encoder, backend="aot_eager", fullgraph=True)(x)
    torch.testing.assert_close(out, want)
    assert calls == [trains] * 2
