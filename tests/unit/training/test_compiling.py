"""Compiled steps: how they are made, what they are told, and what happens where none can be.

Inductor itself, which takes minutes, is for benchmarks/gpu/test_gpu.py.
"""

import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pointadapt.core.errors import ConfigError, PointCloudError
from pointadapt.training import compiling, step
from pointadapt.training.compiling import REPAYS, Compiled, is_short, settings, short_products
from pointadapt.training.step import GraphStep, make_step

GPU = SimpleNamespace(device=torch.device("cuda"), num_processes=1, scaler=None)
POINTS = torch.ones(2, 3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POINTADAPT_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


@pytest.fixture
def model():
    """What a step asks of a model."""
    net = nn.Linear(3, 3)
    net.keep, taps = "lean", SimpleNamespace(lean=True)
    net.adapter = SimpleNamespace(task=None, taps=taps)
    net.backbone = SimpleNamespace(name="toy", stage_views=tuple)
    return net


def compiled(model, forward, must):
    made = Compiled(model, model, must)
    made.forward = forward
    return made


def refuse(*_):
    raise RuntimeError("no compiler\nlong story")


def test_what_is_compiled_is_kept_for_later_runs(model, tmp_path, capsys, monkeypatch):
    made = compiled(model, lambda x: x * 2, must=True)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "compiled")
    assert model.keep == "all"  # the compiler decides what is kept
    for _ in range(2):
        assert made(POINTS).equal(POINTS * 2)
    said = capsys.readouterr().err
    assert said.count("compiling the training step takes about a minute") == 1
    assert str(tmp_path) in "".join(said.split())
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    assert compiling.keep_results() == "elsewhere"


def test_what_cannot_be_compiled_runs_as_it_is(model, capsys):
    made = compiled(model, refuse, must=False)
    for _ in range(2):
        assert made(POINTS).equal(model(POINTS))
    assert model.keep == "lean"
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("cannot be compiled, so it is not (no compiler)") == 1


def test_where_it_was_asked_for_it_is_an_error(model):
    with pytest.raises(ConfigError, match=r"toy cannot be compiled here .no compiler"):
        compiled(model, refuse, must=True)(POINTS)


@pytest.mark.parametrize("kind", [PointCloudError, torch.OutOfMemoryError])
def test_other_errors_are_not_the_compilers(model, kind):
    def forward(_):
        raise kind("other")

    with pytest.raises(kind, match="other"):
        compiled(model, forward, must=False)(POINTS)


@pytest.mark.parametrize(
    ("how", "clouds", "triton", "compiles"),
    [
        ("auto", REPAYS, True, True), ("auto", REPAYS - 1, True, False),
        ("auto", REPAYS, False, False), ("graph", REPAYS, True, False),
        ("compile", 0, False, True), ("eager", REPAYS, True, False),
    ],
)  # fmt: skip
def test_long_runs_are_compiled(model, monkeypatch, how, clouds, triton, compiles):
    monkeypatch.setattr(step, "why_not_compile", lambda: "" if triton else "no Triton")
    made = make_step(how, model, model, None, GPU, clip=1.0, clouds=clouds)
    assert isinstance(made.losses.forward, Compiled) == compiles
    assert isinstance(made, GraphStep) == (how != "eager")
    if compiles:
        assert made.losses.forward.must == (how == "compile")


@pytest.mark.parametrize(
    ("keep", "can", "lean"),
    [("lean", True, True), ("lean", False, False), ("all", True, False)],
)
def test_lean_where_the_method_can_be(model, keep, can, lean):
    model.keep, model.adapter.taps.lean = keep, can
    assert Compiled(model, model, must=True).lean == lean


def test_only_a_lean_step_changes_what_is_computed_again():
    import torch._functorch.config as autograd
    import torch._inductor.config as inductor

    before = autograd.ban_recompute_used_far_apart
    with settings(lean=False):
        assert autograd.ban_recompute_used_far_apart == before
        assert inductor.joint_custom_post_pass is None
    with settings(lean=True):
        assert not autograd.ban_recompute_used_far_apart
        assert inductor.joint_custom_post_pass is not None
    assert autograd.ban_recompute_used_far_apart == before
    assert inductor.joint_custom_post_pass is None


@pytest.mark.parametrize(
    ("inner", "outer", "short"),
    [(64, 900, True), (65, 66, False), (384, 64, True), (385, 4, False)],
)
def test_short_products(inner, outer, short):
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(torch.mm, tracing_mode="fake")(torch.ones(2, inner), torch.ones(inner, outer))
    short_products()(graph.graph)
    (product,) = (n for n in graph.graph.nodes if n.op == "call_function")
    assert is_short(product) == short
    assert ("recompute" in product.meta) == short
