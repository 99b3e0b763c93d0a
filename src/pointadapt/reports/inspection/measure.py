"""One pass over the clouds: scales, what each block changes, and what the head is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...adapters.model import PointModel
from ...backbones import BlockTaps, Taps, Tokens
from ...inference.forward import Inputs, network_input
from ...ops import gather_points
from .watch import Steps, bare, watched

BATCH = 16  # clouds at a time: the tokens of all blocks are held
TINY = 1e-12


@dataclass(frozen=True)
class Seen:
    """What the pass showed of M clouds.

    Attributes:
        points: (M, n, 3) as they entered the network.
        centers: (M, G, 3) of the patches.
        scales: block -> (M, G) scale of each patch.
        kinds: block -> kind of tokens -> (mean scale, share that it moves), over all clouds.
        changes: a row for each block, see :func:`_changes`.
        entry: how far the patches are apart before the first block, relative to the bare ones.
        prompts: prompt tokens that the sequence has at most.
        rows: (M, width) what the head is given; None for heads that do not tell.
        outputs: (M, …) what it makes of it; None where points are labelled.
        pooled: (M, 2 D) maximum and mean of the patches of the bare backbone.
    """

    points: np.ndarray
    centers: np.ndarray
    scales: dict[int, np.ndarray]
    kinds: dict[int, dict[str, tuple[float, float]]]
    changes: list[dict[str, float]]
    entry: float
    prompts: int
    rows: Tensor | None
    outputs: Tensor | None
    pooled: Tensor


@torch.no_grad()
def look(
    model: PointModel, inputs: Inputs, n: int, on_batch: Callable[[int], None] | None = None
) -> Seen:
    """Run the clouds through the adapted and the bare backbone."""
    model.eval()
    batches = []
    for start in range(0, len(inputs.points), BATCH):
        batches.append(_batch(model, inputs, start, n))
        if on_batch is not None:
            on_batch(min(start + BATCH, len(inputs.points)))
    return _together(batches)


def _batch(model: PointModel, inputs: Inputs, start: int, n: int) -> dict[str, Any]:
    adapter = model.adapter
    part = inputs.part(start, start + BATCH, model)
    points, told = network_input(model, part, n)
    with watched(model.backbone, adapter.taps) as own:
        tokens = model.tokens(points)
    found: dict[str, Any] = {"prompts": tokens.seen_prompts, **_kept(points, own)}
    if not adapter.task.per_point:
        found["outputs"] = adapter.head(tokens, points, **told).float().cpu()
    if adapter.head.row_names:
        found["rows"] = adapter.head.rows(tokens, told.get("traits")).float().cpu()
    with bare(model) as backbone:
        plain = Taps(backbone.config.depth)
        with watched(backbone, plain) as other:
            last = backbone(points, plain)
        found["pooled"] = torch.cat([last.pool("patch_max"), last.pool("patch_mean")], 1).cpu()
        found["entry"], found["changes"] = _changes(own, other, backbone.blocks)
    return found


def _kept(points: Tensor, own: Steps) -> dict[str, Any]:
    centers = own.before[0].centers
    scales = {k: s[:, -centers.shape[1] :].cpu() for k, s in own.scales.items()}
    return {
        "points": points.float().cpu(), "centers": centers.float().cpu(), "scales": scales,
        "kinds": {k: _kinds(s, own.before[k]) for k, s in own.scales.items()},
    }  # fmt: skip


def _kinds(scale: Tensor, tokens: Tokens) -> dict[str, tuple[float, int, int]]:
    """Kind of tokens -> sum of their scales (B, T), how many it moves, of how many."""
    first, last = tokens.prefix, scale.shape[1] - tokens.centers.shape[1]
    parts = {"all": scale, "patches": scale[:, last:], "first": scale[:, :first],
             "prompts": scale[:, first:last]}  # fmt: skip
    return {
        name: (float(part.double().sum()), int((part != 0).sum()), part.numel())
        for name, part in parts.items() if part.numel()
    }  # fmt: skip


def _changes(own: Steps, other: Steps, blocks: Any) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Of each patch: how far apart it is at the start, and what each block does.

    ``change``: size of what the block adds, relative to what it was given; ``bare_change``: the
    same of the frozen backbone alone; ``cosine``: between both additions; ``apart``: distance of
    the results, relative to the bare one; ``own``: how much of the block's result is not what the
    frozen block makes of the same tokens, relative to what that adds.
    """
    match = _matched(own.before[0].centers, other.before[0].centers)

    def of(tokens: Tokens) -> Tensor:
        x = tokens.patches.float()
        return x if match is None else gather_points(x, match)

    rows = []
    for block, given, out, bare_given, bare_out in zip(
        blocks, own.before, own.after, other.before, other.after, strict=True
    ):
        start, end, bare_end = given.patches.float(), out.patches.float(), of(bare_out)
        added, bare_added = end - start, bare_end - of(bare_given)
        frozen = block(given, BlockTaps()).patches.float()
        rows.append({
            "change": _ratio(added, start),
            "bare_change": _ratio(bare_added, of(bare_given)),
            "cosine": torch.cosine_similarity(added, bare_added, dim=-1).cpu(),
            "apart": _ratio(end - bare_end, bare_end),
            "own": _ratio(end - frozen, frozen - start),
        })  # fmt: skip
    first = of(other.before[0])
    return _ratio(own.before[0].patches.float() - first, first), rows


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Norm of each token of ``part`` relative to that of ``whole``, (B, G) on the CPU."""
    return (part.norm(dim=-1) / whole.norm(dim=-1).clamp(min=TINY)).cpu()


def _matched(own: Tensor, bare_centers: Tensor) -> Tensor | None:
    """For methods that move points: the bare patch that is nearest to each; else None."""
    if own.shape == bare_centers.shape and torch.equal(own, bare_centers):
        return None
    return torch.cdist(own.float(), bare_centers.float()).argmin(dim=-1)


def _together(batches: list[dict[str, Any]]) -> Seen:
    first = batches[0]

    def joined(key: str) -> Tensor | None:
        return torch.cat([batch[key] for batch in batches]) if key in first else None

    def mean(parts: list[Tensor]) -> float:
        return float(torch.cat(parts).double().mean())

    def array(key: str) -> np.ndarray:
        return torch.cat([batch[key] for batch in batches]).numpy()

    return Seen(
        array("points"), array("centers"),
        {k: torch.cat([b["scales"][k] for b in batches]).numpy() for k in first["scales"]},
        {k: _summed([b["kinds"][k] for b in batches]) for k in first["kinds"]},
        [
            {key: mean([b["changes"][k][key] for b in batches]) for key in row}
            for k, row in enumerate(first["changes"])
        ],
        mean([b["entry"] for b in batches]), first["prompts"], joined("rows"), joined("outputs"),
        torch.cat([b["pooled"] for b in batches]).float(),
    )  # fmt: skip


def _summed(parts: list[dict[str, tuple[float, int, int]]]) -> dict[str, tuple[float, float]]:
    """Kind -> mean scale, and share in percent of the tokens that it moves."""
    found = {}
    for kind in parts[0]:
        total, moved, count = (sum(part[kind][k] for part in parts) for k in range(3))
        found[kind] = (total / count, 100 * moved / count)
    return found
