"""Folding: what a method added moves into the frozen layers, which then compute the same alone.

A folded model costs what the backbone costs (or, of DAPT, without its scale-shifts). It is a new
backbone, no longer shared with other adapters, so a folded folder holds it whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..backbones import Folding
from ..backbones.folder import save_backbone
from ..core.errors import AdapterError, CannotFold
from ..core.results import FoldReport
from ..methods.staged import fold as fold_taps
from ..tasks.metrics import parameter_counts
from . import folder as adapter_folder
from .model import Adapter, PointModel

FROZEN = (
    "this adapter asks the frozen backbone as well, which folding would replace: train it with "
    "--task-options instant=false"
)
FEWEST = 64  # points of a made-up cloud, of families that cut no patches
TOLERANCE = 1e-4  # of the largest output: far above rounding, far below a wrong fold


def fold_model(model: PointModel) -> PointModel:
    """A new model in evaluation mode, on the same device, that computes what ``model`` does.

    Its backbone holds everything of the active adapter that frozen layers can take up, computed in
    float64, with its trained tensors and moved BatchNorm statistics. Its adapter is what stays: the
    head and, of DAPT, the dynamic adapters and prompts. ``model`` is left as it is.

    Raises:
        CannotFold: the adapter asks the frozen backbone as well, the method adds nothing that
            frozen layers could take up, or this family's layers compute something else with it.
    """
    if model.adapter.head.frozen_fit is not None:
        raise CannotFold(FROZEN)
    old, folding = model.adapter, Folding(model.backbone)
    method = fold_taps(old.method, folding, old.taps)
    net = folding.backbone()
    with torch.random.fork_rng(devices=[]):
        names = old.names
        adapter = Adapter(
            net, method, old.task, names.classes, old.head_inputs, names.parts, names.features,
            old.normalise,
        )  # fmt: skip
    adapter.sizes = old.sizes
    before = old.taps.state_dict()
    adapter.taps.load_state_dict({k: before[k] for k in adapter.taps.state_dict()})
    adapter.head.load_state_dict(old.head.state_dict())
    device = next(model.parameters()).device
    folded = PointModel(net, adapter, model.active).eval().to(device)
    _check(model, folded)
    return folded


def fold(adapter: Path | str, out: Path | str, backbone: Path | str | None = None) -> FoldReport:
    """Fold the adapter in ``adapter`` and write it, with its own backbone in ``out``/backbone.

    ``out`` is an adapter folder like any other, except that it needs no backbone from elsewhere and
    may be moved. ``adapter`` is left as it is.

    Args:
        adapter: what training wrote.
        out: folder to write.
        backbone: where the adapter's backbone is now; by default where it was at training.

    Returns:
        What was done: folders, method before and after, parameters added to the backbone's.

    Raises:
        AdapterError: ``adapter`` is no adapter, or ``out`` is the same folder.
        CannotFold: see :func:`fold_model`.
    """
    adapter, out = Path(adapter), Path(out)
    if out.resolve() in (adapter.resolve(), *adapter.resolve().parents):
        raise AdapterError(f"{out} is or holds the adapter to be folded: choose another --out")
    model = adapter_folder.load(adapter, backbone=backbone)
    config, folded = model.adapter.about, fold_model(model)
    own = save_backbone(folded.backbone, out / "backbone")
    results = {**config.get("results", {}), "folded_from": config["method"]}
    adapter_folder.save_adapter(
        folded, out, backbone=str(own), points=config["points"], results=results,
        dataset=config.get("dataset", ""), available=config.get("available"),
    )  # fmt: skip
    sizes = [parameter_counts(m)[1] for m in (model, folded)]
    done: Any = {
        "adapter": str(out),
        "backbone": str(own),
        "folded_from": str(adapter),
        "method": config["method"],
        "foldable": model.adapter.method.foldable,
        "left": folded.adapter.method.name,
        "parameters_before": sizes[0],
        "parameters": sizes[1],
        "sha256": folded.backbone.fingerprint,
    }
    return done


@torch.no_grad()
def _check(model: PointModel, folded: PointModel) -> None:
    """Compare both on made-up clouds: a family may compute otherwise than its layers' names say."""
    config, training = model.backbone.config, model.training
    count = 2 * max(config.groups, config.group_size, FEWEST)
    points = torch.rand(2, count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    points = points.to(next(model.parameters()).device)
    model.eval()
    expected, found = (m.backbone(points, m.adapter.taps).x for m in (model, folded))
    model.train(training)
    error = float((expected - found).abs().max())
    if not error <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise CannotFold(
            f"{model.adapter.method.title} does not fold exactly into the family "
            f"{model.backbone.name!r}: tokens differ by {error:.1g}; use the adapter as it is"
        )


__all__ = ["fold", "fold_model"]
