"""The linear fit of the frozen backbone that answers beside a trained network."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.fold import fold_model
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.errors import CannotFold
from pointadapt.methods import make_method
from pointadapt.methods.linear_fit import votes
from pointadapt.ops import cloud_traits
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES = ("ball", "bar", "helix")


def new(folder, method="full", **options):
    """A model whose fit is drawn, not fitted."""
    net, task = load_backbone(folder, seed=4), make_task("classification", options)
    torch.manual_seed(1)
    model = PointModel(net, Adapter(net, make_method(method, {}), task, CLASSES))
    if (fit := model.adapter.head.frozen_fit) is not None:
        fit.become(torch.randn_like(fit.weight), torch.randn_like(fit.bias))
    return model.eval()


@torch.no_grad()
def answer(model, points):
    traits = cloud_traits(points)
    given = {"traits": traits} if model.adapter.head.takes_traits else {}
    return log_softmax(model(model.adapter.prepared(points), **given).double().numpy(), axis=1)


def fit_alone(model, points):
    """What the fit says, worked out apart from the network."""
    fit = model.adapter.head.frozen_fit
    rows = fit.rows(model.frozen(), model.adapter.prepared(points), cloud_traits(points))
    out = rows.numpy() @ fit.weight.numpy().T + fit.bias.numpy()
    return log_softmax(votes(out, len(CLASSES)), axis=1)


def disturb(model):
    """Move every tensor that trains, and the statistics."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.train()
    model(torch.rand(4, 64, 3))
    model.eval()


@pytest.fixture
def clouds():
    return torch.rand(5, 64, 3, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize(("forest", "share"), [(0, 1 / 2), (3, 1 / 3)])
@torch.no_grad()
def test_all_voices_count_alike(forest, share, bare_backbone, clouds):
    model = new(bare_backbone("point_vit"), forest=forest, instant=True)
    together, head = answer(model, clouds), model.adapter.head
    said = fit_alone(model, clouds)
    head.frozen_fit = None
    want = share * np.exp(said) + (1 - share) * np.exp(answer(model, clouds))
    np.testing.assert_allclose(np.exp(together), want, atol=1e-5)
    assert np.abs(together - answer(model, clouds)).max() > 0.01


@pytest.mark.parametrize("method", ["full", "stem_adapter", "dapt"])
@torch.no_grad()
def test_it_sees_the_backbone_as_it_was(method, bare_backbone, clouds, tmp_path):
    folder = bare_backbone("point_vit")
    model = new(folder, method, instant=True)
    before, was = fit_alone(model, clouds), answer(model, clouds)
    disturb(model)
    np.testing.assert_array_equal(fit_alone(model, clouds), before)
    expected = answer(model, clouds)
    assert np.abs(expected - was).max() > 1e-3
    adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(folder), points=64)
    loaded = adapter_folder.load(tmp_path / "a").eval()
    np.testing.assert_array_equal(answer(loaded, clouds), expected)
    other = new(folder, "linear_probe")  # another adapter's model, which has it as a second one
    adapter_folder.load_into(other, tmp_path / "a", "second")
    np.testing.assert_array_equal(answer(other.use("second"), clouds), expected)


def test_it_does_not_train(bare_backbone):
    with_fit, without = (new(bare_backbone("point_vit"), instant=on) for on in (True, False))
    names = [{n for n, p in m.named_parameters() if p.requires_grad} for m in (with_fit, without)]
    assert names[0] == names[1]
    points = torch.rand(4, 64, 3)
    outs = []
    for model in (with_fit, without):
        torch.manual_seed(0)
        outs.append(model.train()(points))
    assert torch.equal(*outs)


def test_it_cannot_be_folded(bare_backbone):
    with pytest.raises(CannotFold, match="instant=false"):
        fold_model(new(bare_backbone("point_vit"), "lora", instant=True))
