"""Folding: what a method added moves into the frozen layers, which then compute the same alone.

A folded model costs what the backbone costs (or, of DAPT, without its scale-shifts). It is a new
backbone, no longer shared with other adapters, so a folded folder holds it whole.

Once folded, its weights can also be moved back towards the pre-trained ones (WiSE-FT: Wortsman et
al., Robust fine-tuning of zero-shot models, CVPR 2022, arXiv 2109.01903)::

    W = W_pretrained + share · (W_folded - W_pretrained)

The paper mixes the classifier too, whose pre-trained half comes from text; here there is none, and
the head stays as it was trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..backbones import Backbone, Folding
from ..backbones.folder import save_backbone
from ..core.errors import AdapterError, CannotFold, ConfigError
from ..core.results import FoldReport
from ..methods import Method
from ..methods.staged import fold as fold_taps
from ..tasks.metrics import parameter_counts
from . import folder as adapter_folder
from .model import Adapter, PointModel

FROZEN = (
    "this adapter asks the frozen backbone as well, which folding would replace: train it with "
    "--task-options instant=false"
)
FEWEST = 64  # points of a made-up cloud, of families that cut no patches
TOLD = ("data", "title", "protocol", "settled", "config", "folded_from")  # whatever the weights
TOLERANCE = 1e-4  # of the largest output: far above rounding, far below a wrong fold


def fold_model(model: PointModel, share: float = 1.0) -> PointModel:
    """A new model in evaluation mode, on the same device, that computes what ``model`` does.

    Its backbone holds everything of the active adapter that frozen layers can take up, computed in
    float64, with its trained tensors and moved BatchNorm statistics. Its adapter is what stays: the
    head and, of DAPT, the dynamic adapters and prompts. ``model`` is left as it is.

    Args:
        model: what to fold.
        share: how far the folded weights are from the pre-trained ones (0) to the adapted ones (1).
            Below 1 the fold is checked first and then moved back; what the backbone's file does not
            give (a CLS token that was never pre-trained) stays as it was trained.

    Raises:
        CannotFold: the adapter asks the frozen backbone as well, the method adds nothing that
            frozen layers could take up, or this family's layers compute something else with it;
            or, with a share below 1, something of the method would stay beside the backbone.
        ConfigError: ``share`` is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the share of the adapted weights must be from 0 to 1, not {share:g}")
    if model.adapter.head.frozen_fit is not None:
        raise CannotFold(FROZEN)
    old, folding = model.adapter, Folding(model.backbone)
    method = fold_taps(old.method, folding, old.taps)
    if share < 1 and old.method.foldable == "partly":
        raise CannotFold(
            f"{old.method.title} folds partly, and what stays beside the backbone has no "
            "pre-trained half: a share below 1 is for methods that fold wholly"
        )
    folded = _model_over(folding.backbone(), method, model)
    _check(model, folded)
    if share < 1:
        folding.back_towards(model.pretrained(), share)
        folded = _model_over(folding.backbone(), method, model)
    return folded


def _model_over(net: Backbone, method: Method, model: PointModel) -> PointModel:
    """``net`` with what is left of the adapter in use of ``model``."""
    old = model.adapter
    names = old.names
    with torch.random.fork_rng(devices=[]):
        adapter = Adapter(
            net, method, old.task, names.classes, old.head_inputs, names.parts, names.features,
            old.normalise,
        )  # fmt: skip
    adapter.sizes = old.sizes
    before = old.taps.state_dict()
    adapter.taps.load_state_dict({k: before[k] for k in adapter.taps.state_dict()})
    adapter.head.load_state_dict(old.head.state_dict())
    device = next(model.parameters()).device
    return PointModel(net, adapter, model.active).eval().to(device)


def fold(
    adapter: Path | str,
    out: Path | str,
    backbone: Path | str | None = None,
    share: float = 1.0,
) -> FoldReport:
    """Fold the adapter in ``adapter`` and write it, with its own backbone in ``out``/backbone.

    ``out`` is an adapter folder like any other, except that it needs no backbone from elsewhere and
    may be moved. ``adapter`` is left as it is.

    Args:
        adapter: what training wrote.
        out: folder to write.
        backbone: where the adapter's backbone is now; by default where it was at training.
        share: of the adapted weights, the rest being pre-trained ones; see :func:`fold_model`.

    Returns:
        What was done: folders, method before and after, parameters added to the backbone's.

    Raises:
        AdapterError: ``adapter`` is no adapter, or ``out`` is the same folder.
        CannotFold, ConfigError: see :func:`fold_model`.
    """
    adapter, out = Path(adapter), Path(out)
    if out.resolve() in (adapter.resolve(), *adapter.resolve().parents):
        raise AdapterError(f"{out} is or holds the adapter to be folded: choose another --out")
    model = adapter_folder.load(adapter, backbone=backbone)
    config, folded = model.adapter.about, fold_model(model, share)
    own = save_backbone(folded.backbone, out / "backbone")
    results = _results(config, share)
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
        "share": share,
        "left": folded.adapter.method.name,
        "parameters_before": sizes[0],
        "parameters": sizes[1],
        "sha256": folded.backbone.fingerprint,
    }
    return done


def _results(config: dict[str, Any], share: float) -> dict[str, Any]:
    """What the folded adapter's file says; scores belong to the weights that were scored."""
    results = {**config.get("results", {}), "folded_from": config["method"]}
    if share == 1:
        return results
    kept = {k: v for k, v in results.items() if k in TOLD}
    return {**kept, "share_of_adapted_weights": share}


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
