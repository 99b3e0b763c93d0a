"""Features of files, and which files to label next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..adapters.model import PointModel
from ..adapters.protocol import load_ready
from ..backbones import Tokens
from ..core.errors import ConfigError
from ..core.files import atomic
from ..io import NonFinite
from ..ops import gather_points, interpolate
from ..ops.subset import taken_index
from .classify_files import Read, read_clouds, reader_of
from .prefetch import one_ahead
from .rows import Paths, list_files

BATCH = 32  # files at a time
OnBatch = Callable[[int, int], None]  # is told how many files are done, and of how many


@torch.no_grad()
def embed(
    paths: Paths, adapter: PointModel | Path | str, *, backbone: Path | str | None = None,
    per_point: bool = False, out: Path | str | None = None, nan: NonFinite | None = None,
    on_batch: OnBatch | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """What the network, with an adapter, makes of files; a bad one is reported in its place.

    Args:
        paths: files, and folders whose readable files are taken, sub-folders included.
        adapter: an adapter folder, or a loaded model.
        backbone: where the backbone is now, if the adapter does not know.
        per_point: also a feature of each point that was read.
        out: also write them to this .npz file.
        nan: what to do with points that are not finite; by default as in training.
        on_batch: called after each batch.

    Returns:
        Arrays by name, a row for each file that could be read, in order: "paths"; "cls" (M, D);
        "mean" and "max" (M, D) over the patches; "logits" (M, …) of the head, where it answers for
        clouds, and what they come to, "probabilities"; with ``per_point`` "points" (M, N, 3) and
        "features" (M, N, D). "bad" and "errors" name the files that could not.

    Raises:
        AdapterError: the adapter folder is damaged or belongs to another backbone.
        ConfigError: no file could be read.
    """
    model = load_ready(adapter, backbone)
    model.eval()
    reader = reader_of(model.adapter.about, nan=nan)
    rows: list[dict[str, np.ndarray]] = []
    entries, done = list_files(paths), 0
    bad = [(str(entry.path), entry.error) for entry in entries if entry.error is not None]
    good = [entry for entry in entries if entry.error is None]
    batches = [good[k : k + BATCH] for k in range(0, len(good), BATCH)]
    for batch, clouds in one_ahead(lambda batch: read_clouds(batch, reader), batches):
        bad += [(str(entry.path), entry.error) for entry in batch if entry.error is not None]
        if clouds:
            names = np.array([str(batch[k].path) for k in clouds])
            rows.append({"paths": names, **_features(model, clouds, reader.points, per_point)})
        done += len(batch)
        if on_batch is not None:
            on_batch(done, len(good))
    if not rows:
        raise ConfigError(f"no file could be read: {bad[0][1]}" if bad else "there are no files")
    arrays = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    names, errors = zip(*bad, strict=True) if bad else ((), ())
    arrays |= {"bad": np.array(names, str), "errors": np.array(errors, str)}
    if out is not None:
        write_features(out, arrays)
    return arrays


def _features(model: PointModel, clouds: Read, n: int, per_point: bool) -> dict[str, np.ndarray]:
    own, device = model.adapter, next(model.parameters()).device
    points, traits = (
        torch.from_numpy(np.stack(arrays)).to(device)
        for arrays in zip(*clouds.values(), strict=True)
    )
    whole = own.prepared(points)
    index = taken_index(whole, n)
    seen = whole if index is None else gather_points(whole, index)
    tokens = model.tokens(seen)
    found = {"cls": tokens.pool("cls"), "mean": tokens.pool("patch_mean"),
             "max": tokens.pool("patch_max")}  # fmt: skip
    if not own.task.per_point:
        given = {"traits": traits} if own.head.takes_traits else {}
        found["logits"] = own.head(tokens, seen, **given)
        found["probabilities"] = own.task.activate(found["logits"].float())
    if per_point:
        found |= {"points": points, "features": _of_points(tokens, whole)}
    return {k: v.float().cpu().numpy() for k, v in found.items()}


def _of_points(tokens: Tokens, points: torch.Tensor) -> torch.Tensor:
    """(B, N, D): of each point what its three nearest patches have, by inverse squared distance."""
    return interpolate(points, tokens.centers, tokens.patches.float())


def write_features(path: Path | str, features: dict[str, np.ndarray]) -> None:
    """The arrays of :func:`embed` as a compressed .npz file."""
    path = Path(path)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **features)  # type: ignore[arg-type]


def suggest(
    paths: Paths, adapter: PointModel | Path | str, *, count: int = 20,
    backbone: Path | str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Which of these files to label next, see :func:`choose`; files that are bad are left out.

    Args:
        paths: files and folders without labels.
        adapter: an adapter folder, or a loaded model.
        count: how many files.
        backbone: where the backbone is now, if the adapter does not know.

    Raises:
        AdapterError, ConfigError: as :func:`embed` and :func:`choose`.
    """
    return choose(embed(paths, adapter, backbone=backbone), count)


def choose(features: dict[str, np.ndarray], count: int) -> list[dict[str, Any]]:
    """Which files to label next: far from all chosen before, and those that the adapter doubts.

    Greedy k-centre choice (Sener and Savarese, ICLR 2018) on the features "mean" and "max", each of
    variance 1, where a distance counts the more, the less sure the adapter is: it is multiplied by
    1 + the answer's entropy, as a share of the largest that there can be.

    Args:
        features: of :func:`embed`.
        count: how many files.

    Returns:
        For each file, the best first: its path, how far it is from all before, and how unsure the
        adapter is of it, 0 to 1 (None where it gives no probabilities).

    Raises:
        ConfigError: ``count`` is below 1.
    """
    if count < 1:
        raise ConfigError(f"count={count}: it must be at least 1")
    x = np.concatenate([features["mean"], features["max"]], axis=1).astype(np.float64)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    doubt = _entropy(features.get("probabilities"))
    weight = np.ones(len(x)) if doubt is None else 1 + doubt
    near = np.linalg.norm(x, axis=1) / np.sqrt(x.shape[1])  # from the middle of all, at first
    left, rows = np.ones(len(x), bool), []
    for _ in range(min(count, len(x))):
        best = int(np.argmax(np.where(left, near * weight, -1.0)))
        rows.append({
            "path": str(features["paths"][best]), "distance": float(near[best]),
            "doubt": None if doubt is None else float(doubt[best]),
        })  # fmt: skip
        left[best] = False
        away = np.linalg.norm(x - x[best], axis=1) / np.sqrt(x.shape[1])
        near = away if len(rows) == 1 else np.minimum(near, away)
    return rows


def _entropy(probabilities: np.ndarray | None) -> np.ndarray | None:
    """Of each row, as a share of the largest; None where the rows are no probabilities."""
    p = probabilities
    if p is None or p.ndim != 2 or p.shape[1] < 2 or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        return None
    p = np.clip(p, 1e-12, 1)
    return -(p * np.log(p)).sum(axis=1) / np.log(p.shape[1])
