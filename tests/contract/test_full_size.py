"""Each family in its smallest published size: forward, a DAPT training step, an adapter's file."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.convert import convert
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones import BACKBONES
from pointadapt.backbones.folder import save_backbone
from pointadapt.backbones.published.tags import all_tags
from pointadapt.core.config import Published
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task


def smallest(family):
    """The smallest published size, or the smallest at all where none is published."""
    published = {t.size: t.parameters for t in all_tags().values() if t.family == family}
    sizes = BACKBONES[family].sizes
    return min(published or sizes, key=lambda s: (published.get(s), sizes[s].dim, sizes[s].depth))


@pytest.mark.parametrize("family", list(BACKBONES))
def test_forward_a_step_and_adapter_file(family, toy_batch, tmp_path):
    # few patches: time is in them, and no parameter
    net = load_backbone(f"{family}:{smallest(family)}", groups=6, group_size=8)
    folder = save_backbone(net, tmp_path / "b", torch.float32)
    adapt_and_load_again(folder, toy_batch, tmp_path)


def adapt_and_load_again(folder, toy_batch, tmp_path):
    points, labels = toy_batch[0][:4], toy_batch[1][:4]
    net = load_backbone(folder)
    torch.manual_seed(0)
    adapter = Adapter(
        net,
        make_method("lora" if net.stage_views() else "dapt"),
        make_task("classification"),
        tuple("abcd"),
    )
    model = PointModel(net, adapter).train()
    optimizer = torch.optim.AdamW(model.parameter_groups(0.05), lr=1e-3)
    before = [p.detach().clone() for p in adapter.parameters()]
    adapter.task.loss(model(points), labels).backward()
    optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, adapter.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2
    model.eval()
    with torch.no_grad():
        want = model(points)
    adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(folder), points=64)
    loaded = adapter_folder.load(tmp_path / "a")
    with torch.no_grad():
        assert torch.equal(loaded(points), want)
    assert want.isfinite().all()


GOLDEN = Path(__file__).parents[1] / "golden"
OFFICIAL = SimpleNamespace(**runpy.run_path(str(GOLDEN / "published.py")))


ALIKE = ("maskpoint", "point_bert", "act", "pcp_mae")  # as point_mae's, under other names


@pytest.mark.parametrize(
    "layout",
    [pytest.param(n, marks=pytest.mark.slow) if n in ALIKE else n for n in OFFICIAL.FILES],
)
def test_a_file_of_the_smallest_published_size_is_adapted_and_found_again(
    layout, toy_batch, tmp_path
):
    tensors = OFFICIAL.look_alike(OFFICIAL.FILES[layout](), lambda key: True)
    torch.save({"base_model": tensors}, tmp_path / "p.pth")
    facts = Published(groups=6, group_size=8, points=64)
    report = convert(tmp_path / "p.pth", tmp_path / "out", facts)
    (smallest, *_) = sorted(t.parameters for t in all_tags().values() if t.layout == layout)
    assert report["parameters"] == smallest
    adapt_and_load_again(tmp_path / "out/backbone", toy_batch, tmp_path)
