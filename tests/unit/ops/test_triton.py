"""The Triton kernels against the CPU's results: on a GPU, or by Triton's interpreter without one.

The interpreter has to be chosen before Triton is imported, so without a GPU this file does that
while it is imported; where something else was first, the tests say so and skip.
"""

import os
import sys
from types import SimpleNamespace

import pytest
import torch

from pointadapt.ops import (
    _kernels,
    farthest_point_sample,
    group,
    knn,
    largest,
    neighbors,
    sampling,
    sparse_conv,
)
from pointadapt.ops._distance import split_axes

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def load():
    """(kernels, those of the convolution, that of the maximum, "") or (None, …, why not)."""
    if DEVICE == "cpu" and "triton" in sys.modules:
        return None, None, None, "no GPU, and Triton was imported without its interpreter"
    before = os.environ.get("TRITON_INTERPRET")
    if DEVICE == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    try:
        from pointadapt.ops import _triton, _triton_conv, _triton_largest
    except ImportError:
        return None, None, None, "Triton is not installed"
    finally:
        os.environ.pop("TRITON_INTERPRET", None)
        if before is not None:
            os.environ["TRITON_INTERPRET"] = before
    return _triton, _triton_conv, _triton_largest, ""


TRITON, CONV, LARGEST, WHY_NOT = load()
HALF = torch.bfloat16 if DEVICE == "cuda" else torch.float16  # the interpreter has no bfloat16


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    if DEVICE == "cpu":  # parts of Triton are imported when a kernel first runs
        monkeypatch.setenv("TRITON_INTERPRET", "1")


needs_triton = pytest.mark.skipif(TRITON is None, reason=WHY_NOT or "Triton runs")


def cloud(kind, b, n, seed=0):
    g = torch.Generator().manual_seed(seed)
    if kind == "duplicated":
        return torch.randn(b, n // 4 + 1, 3, generator=g).repeat_interleave(4, dim=1)[:, :n]
    if kind == "collinear":
        line = torch.arange(n)[:, None] * torch.tensor([0.25, 0.5, 0.0])
        return line.expand(b, n, 3)
    if kind == "equal":
        return torch.ones(b, n, 3)
    if kind == "grid":
        return torch.randint(-2, 3, (b, n, 3), generator=g).float()
    if kind == "ball":  # around the edge of the pointnet2 ball
        p = torch.nn.functional.normalize(torch.randn(b, n, 3, generator=g), dim=2)
        radius = 1e-3**0.5 * (1 + 3e-7 * torch.randint(-2, 3, (b, n, 1), generator=g))
        return p * radius
    if kind == "huge":  # squared distances are infinite: all tie
        return torch.randn(b, n, 3, generator=g) * 1e25
    if kind == "denormal":  # squares that a GPU may flush to zero
        return torch.randn(b, n, 3, generator=g) * 1e-20
    return torch.randn(b, n, 3, generator=g)


KINDS = ("random", "duplicated", "collinear", "equal", "grid", "ball", "huge", "denormal")
SIZES = ((1, 1), (7, 7), (64, 9), (130, 24))  # the interpreter takes a millisecond a step


@needs_triton
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("ball", [False, True], ids=["plain", "pointnet2"])
@pytest.mark.parametrize("kind", KINDS)
def test_sampling_equals_the_cpu(kind, ball):
    for n, m in SIZES:
        axes, start = split_axes(cloud(kind, 2, n)), n // 3
        got = TRITON.sample(axes.to(DEVICE), m, start, ball)
        assert torch.equal(got.cpu(), sampling._sample(axes, m, start, ball))


@needs_triton
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_equal_the_cpu(kind):
    for n, k in SIZES:
        points, queries = split_axes(cloud(kind, 2, n)), split_axes(cloud(kind, 2, 3, seed=1))
        queries = torch.cat([queries, points[:, :, :2]], dim=2).contiguous()
        count = min(k, 33)
        got = TRITON.nearest(queries.to(DEVICE), points.to(DEVICE), count)
        expected = neighbors._nearest(queries, points, count)
        for ours, theirs in zip(got, expected, strict=True):
            assert torch.equal(ours.cpu(), theirs)


@needs_triton
@pytest.mark.parametrize("warps", [1, 8])
def test_any_number_of_warps(warps):
    axes = split_axes(cloud("grid", 1, 70))
    assert torch.equal(
        TRITON.sample(axes.to(DEVICE), 20, 0, True, warps).cpu(),
        sampling._sample(axes, 20, 0, True),
    )
    got = TRITON.nearest(axes.to(DEVICE), axes.to(DEVICE), 9, warps)[1]
    assert torch.equal(got.cpu(), neighbors._nearest(axes, axes, 9)[1])


@needs_triton
def test_coordinates_that_do_not_stay_in_registers(monkeypatch):
    axes = split_axes(cloud("grid", 1, 70))
    monkeypatch.setattr(TRITON, "RESIDENT", 16)
    assert torch.equal(
        TRITON.sample(axes.to(DEVICE), 20, 0, False).cpu(), sampling._sample(axes, 20, 0, False)
    )


@needs_triton
def test_no_clouds_and_no_queries():
    none = torch.empty(3, 0, 5, device=DEVICE)
    assert TRITON.sample(none, 2, 0, False).shape == (0, 2)
    assert TRITON.nearest(none, none, 2)[1].shape == (0, 5, 2)


@needs_triton
def test_unchecked_nan_gives_indices_in_range():
    axes = torch.full((3, 1, 50), torch.nan, device=DEVICE)
    for index in (TRITON.sample(axes, 9, 0, True), TRITON.nearest(axes, axes, 3)[1]):
        assert index.min() >= 0
        assert index.max() < 50


@pytest.fixture
def chosen(monkeypatch):
    """The public functions on the kernels, whatever the device; the values they then give."""
    if TRITON is None:
        pytest.skip(WHY_NOT)
    calls = []

    def always(axes):
        calls.append(axes.shape)
        return TRITON

    def use(on):
        for module in (sampling, neighbors):
            monkeypatch.setattr(module, "kernels", always if on else (lambda axes: None))
        return calls

    return use


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("layout", ["contiguous", "strided", "transposed"])
def test_the_public_functions(chosen, dtype, layout):
    points = cloud("duplicated", 2, 60).to(dtype)
    if layout == "strided":
        points = torch.stack([points, points], dim=2)[:, :, 0]
    elif layout == "transposed":
        points = points.transpose(1, 2).contiguous().transpose(1, 2)
    chosen(False)
    expected = (
        *group(points, 9, 7, rule="pointnet2"),
        farthest_point_sample(points, 8, start=2),
        *knn(points[:, :3], points, 7),
    )
    calls = chosen(True)
    points = points.to(DEVICE)
    with torch.autocast(DEVICE, torch.bfloat16):
        got = (
            *group(points, 9, 7, rule="pointnet2"),
            farthest_point_sample(points, 8, start=2),
            *knn(points[:, :3], points, 7),
        )
    assert len(calls) == 4
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.equal(ours.cpu(), theirs)


def test_compiled(chosen):
    points = cloud("grid", 2, 100)
    chosen(False)
    expected = group(points, 9, 8, rule="pointnet2")
    calls = chosen(True)
    compiled = torch.compile(
        lambda p: group(p, 9, 8, rule="pointnet2"), backend="aot_eager", fullgraph=True
    )
    for ours, theirs in zip(compiled(points.to(DEVICE)), expected, strict=True):
        assert torch.equal(ours.cpu(), theirs)
    assert len(calls) == 2


# ---- the submanifold convolution


@needs_triton
@pytest.mark.parametrize(
    ("voxels", "c_in", "c_out", "kernel"), [(150, 8, 6, 3), (70, 20, 70, 3), (40, 5, 3, 5)]
)
def test_the_convolution_is_that_of_pytorch(voxels, c_in, c_out, kernel):
    draw = torch.Generator().manual_seed(voxels)
    grid = torch.unique(torch.randint(0, 7, (voxels, 3), generator=draw), dim=0)
    batch = torch.zeros(len(grid), dtype=torch.long)
    table = sparse_conv.find_neighbors(grid, batch, kernel, table=True).table
    x, g = (torch.randn(len(grid), c, generator=draw) for c in (c_in, c_out))
    kernels = torch.randn(kernel**3, c_in, c_out, generator=draw)
    near = torch.cat([x, x.new_zeros(1, c_in)])[table]
    there = [part.to(DEVICE) for part in (x, kernels, table, g)]
    torch.testing.assert_close(
        CONV.convolved(*there[:3]).cpu(), torch.einsum("nuc,uco->no", near, kernels),
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip
    torch.testing.assert_close(
        CONV.kernel_gradient(there[0], there[3], there[2]).cpu(),
        torch.einsum("nuc,no->uco", near, g), atol=1e-4, rtol=1e-4,
    )  # fmt: skip


@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, HALF])
def test_layers_use_it_forward_and_backward(dtype, monkeypatch):
    draw = torch.Generator().manual_seed(3)
    grid = torch.unique(torch.randint(0, 6, (90, 3), generator=draw), dim=0).to(DEVICE)
    near = sparse_conv.find_neighbors(
        grid, torch.zeros(len(grid), dtype=torch.long, device=DEVICE), 3, table=True
    )
    x = torch.randn(len(grid), 12, generator=draw).to(DEVICE, dtype).requires_grad_()
    weight = torch.randn(9, 3, 3, 3, 12, generator=draw).to(DEVICE, dtype).requires_grad_()
    found = []
    for module in (None, CONV):
        monkeypatch.setattr(sparse_conv, "_kernels", lambda x, module=module: module)
        out = sparse_conv.submanifold_conv(x, weight, None, near)
        grads = torch.autograd.grad((out.float() ** 2).sum(), (x, weight))
        found.append([out, *grads])
    for plain, fast in zip(*found, strict=True):
        assert fast.dtype == plain.dtype
        error = (fast.float() - plain.float()).norm() / plain.float().norm()
        assert error < (1e-5 if dtype == torch.float32 else 1e-2)


def test_the_convolution_checks_its_kernels(chosen):
    chosen(False)
    if CONV is not None:
        assert sparse_conv.differs(CONV, DEVICE) == ""

    class Wrong:
        convolved = staticmethod(lambda x, kernels, table: torch.zeros(90, 33))
        kernel_gradient = staticmethod(lambda x, g, table: torch.zeros(27, 20, 33))

    assert "submanifold" in sparse_conv.differs(Wrong, "cpu")
    assert sparse_conv._kernels(torch.zeros(1, 1)) is None


# ---- which code runs


def test_the_check_at_first_use(chosen):
    chosen(False)
    assert _kernels.differs(TRITON, DEVICE) == ""

    class Wrong:
        sample = staticmethod(lambda axes, m, start, ball: TRITON.sample(axes, m, 0, ball))
        nearest = staticmethod(TRITON.nearest)

    assert "other points" in _kernels.differs(Wrong, DEVICE)


def test_a_cpu_runs_the_plain_code():
    assert _kernels.kernels(torch.zeros(3, 1, 5)) is None


class Elsewhere(torch.Tensor):
    is_cuda = True


def test_what_kernels_do_not_take(monkeypatch):
    """A tensor that says it is on a GPU, so that the rest of the decision is reached."""
    monkeypatch.setattr(_kernels, "Tensor", Elsewhere)
    monkeypatch.setattr(_kernels, "_checked", {("pointadapt.ops._triton", None): "triton"})
    monkeypatch.delenv("POINTADAPT_TRITON", raising=False)

    def on_gpu(n=5, dtype=torch.float32):
        return torch.zeros(3, 1, n, dtype=dtype).as_subclass(Elsewhere)

    assert _kernels.kernels(on_gpu()) == "triton"
    assert _kernels.kernels(on_gpu(n=_kernels.MOST_POINTS)) == "triton"
    assert _kernels.kernels(on_gpu(n=_kernels.MOST_POINTS + 1)) is None
    assert _kernels.kernels(on_gpu(dtype=torch.float64)) is None
    monkeypatch.setenv("POINTADAPT_TRITON", "0")
    assert _kernels.kernels(on_gpu()) is None


def first_use(device):
    return _kernels.checked("pointadapt.ops._triton", device, _kernels.differs)


def test_kernels_that_differ_are_not_used(monkeypatch):
    monkeypatch.setattr(_kernels.importlib, "import_module", lambda name: object())
    monkeypatch.setattr(_kernels, "differs", lambda module, device: "sample other points")
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.autocast("cpu", enabled=False))
    with pytest.warns(RuntimeWarning, match="sample other points on cuda:0: the slower PyTorch"):
        assert first_use(torch.device("cuda:0")) is None

    def broken(module, device):
        raise RuntimeError("no C compiler\nmore")

    monkeypatch.setattr(_kernels, "differs", broken)
    with pytest.warns(RuntimeWarning, match="failed .RuntimeError: .*no C compiler"):
        assert first_use(torch.device("cuda:0")) is None


@needs_triton
@pytest.mark.parametrize("shape", [(3, 32, 40), (2, 5, 1030), (1, 1, 3)])
def test_the_largest_entries(shape):
    """More channels than a program takes, and a NaN among them."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x[0, -1, -1] = torch.nan
    for ours, plain in zip(
        LARGEST.largest(x.to(DEVICE), True), largest.plain(x, True), strict=True
    ):
        torch.testing.assert_close(ours.cpu(), plain, rtol=0, atol=0, equal_nan=True)
    assert LARGEST.largest(x.to(DEVICE), False)[1].shape == (0, shape[2])


@needs_triton
def test_the_check_of_the_largest_entries_sees_what_is_wrong():
    assert largest.differs(LARGEST, DEVICE) == ""
    assert "other maxima" in largest.differs(SimpleNamespace(largest=smallest), DEVICE)


def smallest(x, which):
    return largest.plain(-x, which)
