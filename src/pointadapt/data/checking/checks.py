"""Is a data set on disk what it should be? Every check is a line, and none stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...core.errors import PointAdaptError
from ..base import Clouds, Dataset
from ..reading.benchmark import Release

Status = Literal["ok", "note", "wrong"]
OnStep = Callable[[int, int], None]  # loads done, of how many


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: where and what, such as "train: coordinates".
        status: "wrong" is a fault of the data; a "note" is worth knowing and may be as published.
        text: what was found.
    """

    what: str
    status: Status
    text: str


def check(dataset: Dataset, on_step: OnStep | None = None) -> tuple[list[Check], dict[str, Any]]:
    """Load all of a data set and look at it.

    Args:
        dataset: with its options set; :meth:`Dataset.variants` says what belongs to it.
        on_step: called with the splits done and their number.

    Returns:
        The checks, and what is known of each split: see :func:`describe`.
    """
    jobs = [(name, each, split) for name, each in dataset.variants() for split in each.splits]
    checks: list[Check] = []
    facts: dict[str, Any] = {}
    loaded: dict[str, Clouds] = {}
    for done, (name, each, split) in enumerate(jobs):
        where = f"{name} {split}" if name and len(each.splits) > 1 else name or split
        try:
            clouds, stored = each.load(split), each.point_counts(split)
        except PointAdaptError as error:
            checks.append(Check(f"{where}: files", "wrong", str(error)))
        else:
            facts[where] = describe(clouds, stored)
            checks += look(where, clouds, stored)
            if not name:  # each variant is a data set of its own, and there may be many
                loaded[split] = clouds
        if on_step is not None:
            on_step(done + 1, len(jobs))
    checks += _across(loaded)
    checks += _release(dataset, {check.what for check in checks if check.status == "wrong"})
    return checks, facts


def describe(clouds: Clouds, stored: np.ndarray | None = None) -> dict[str, Any]:
    """Counts of a split, as plain values.

    Args:
        clouds: what was loaded.
        stored: (n,) points of each cloud on disk, if that is known.

    Returns:
        ``clouds``, ``points`` loaded of each, ``stored_points`` (least, median, most, or None),
        ``classes`` name -> clouds and, where points are labelled, ``parts`` name -> points.
    """
    counts = np.bincount(clouds.labels, minlength=len(clouds.classes)).tolist()
    facts: dict[str, Any] = {
        "clouds": len(clouds),
        "points": clouds.points.shape[1],
        "stored_points": None if stored is None else _spread(stored),
        "classes": dict(zip(clouds.classes, counts, strict=True)),
    }
    if clouds.parts is not None:
        known = clouds.parts[clouds.parts >= 0]
        each = np.bincount(known, minlength=len(clouds.part_names)).tolist()
        facts["parts"] = dict(zip(clouds.part_names, each, strict=True))
    return facts


def _spread(counts: np.ndarray) -> list[int]:
    return [int(counts.min()), int(np.median(counts)), int(counts.max())]


def look(where: str, clouds: Clouds, stored: np.ndarray | None) -> Iterator[Check]:
    """The checks of one loaded split."""
    yield _counts(where, clouds)
    yield _coordinates(where, clouds)
    yield _points(where, clouds, stored)
    if clouds.ids and len(set(clouds.ids)) < len(clouds.ids):
        twice = len(clouds.ids) - len(set(clouds.ids))
        yield Check(f"{where}: names", "wrong", f"{twice} clouds have the name of another")
    if clouds.parts is not None:
        yield _parts(where, clouds, clouds.parts)
    yield _twins(where, clouds)


def _counts(where: str, clouds: Clouds) -> Check:
    n, what = len(clouds), f"{where}: classes"
    if not n:
        return Check(what, "wrong", "no cloud")
    counts = np.bincount(clouds.labels, minlength=len(clouds.classes))
    text = f"{n:,} clouds of {np.count_nonzero(counts)} classes, {_range(counts[counts > 0])} each"
    absent = [name for name, count in zip(clouds.classes, counts, strict=True) if not count]
    if absent:
        return Check(what, "note", f"{text}; none of {_some(absent)}")
    return Check(what, "ok", text)


def _coordinates(where: str, clouds: Clouds) -> Check:
    what = f"{where}: coordinates"
    finite = np.isfinite(clouds.points).all(axis=(1, 2))
    if not finite.all():
        bad = [_name(clouds, int(i)) for i in np.flatnonzero(~finite)]
        return Check(what, "wrong", f"NaN or infinite in {len(bad)} clouds: {_some(bad)}")
    size = np.ptp(clouds.points, axis=1).max(axis=1)
    if not size.all():  # a block at the edge of a scene may hold one point; other clouds may not
        bad = [_name(clouds, int(i)) for i in np.flatnonzero(size == 0)]
        return Check(what, "note", f"finite; {len(bad)} blocks hold one point: {_some(bad)}")
    low, high = (f"{x:.3g}" for x in (size.min(), size.max()))
    sizes = low if low == high else f"{low} to {high}"
    return Check(what, "ok", f"finite; longest side {sizes}")


def _points(where: str, clouds: Clouds, stored: np.ndarray | None) -> Check:
    n, what = clouds.points.shape[1], f"{where}: points"
    if stored is None:
        return Check(what, "ok", f"{n:,} each")
    text = f"{_range(stored)} stored, {n:,} loaded of each"
    few = int((stored < n).sum())
    if few:
        return Check(what, "note", f"{text}; {few:,} clouds have fewer, so points are made of them")
    return Check(what, "ok", text)


def _parts(where: str, clouds: Clouds, parts: np.ndarray) -> Check:
    used = np.bincount(parts[parts >= 0], minlength=len(clouds.part_names))
    what, text = f"{where}: parts", f"{np.count_nonzero(used)} parts are on points"
    unlabelled = float((parts < 0).mean())
    if unlabelled:
        text += f", {100 * unlabelled:.1f} % of the points have no label"
    absent = [name for name, count in zip(clouds.part_names, used, strict=True) if not count]
    if absent:
        return Check(what, "note", f"{text}; none has {_some(absent)}")
    return Check(what, "ok", text)


def _twins(where: str, clouds: Clouds) -> Check:
    first: dict[int, int] = {}
    pairs, labels = [], 0
    for i, key in enumerate(clouds.known_digests.tolist()):
        j = first.setdefault(key, i)
        if j != i:
            pairs.append(f"{_name(clouds, i)} = {_name(clouds, j)}")
            labels += int(clouds.labels[i] != clouds.labels[j])
    if not pairs:
        return Check(f"{where}: duplicates", "ok", "none")
    text = f"{len(pairs)} clouds are copies of others"
    text += f", {labels} of them with another class" if labels else ""
    return Check(f"{where}: duplicates", "note", f"{text}: {_some(pairs)}")


def _across(loaded: Mapping[str, Clouds]) -> Iterator[Check]:
    """What splits have in common, and should or should not."""
    if len(loaded) < 2:
        return
    (first, a), *others = loaded.items()
    known = {key: i for i, key in enumerate(a.known_digests.tolist())}
    for name, b in others:
        both = f"{first} and {name}"
        if (a.classes, a.part_names) != (b.classes, b.part_names):
            yield Check(f"{both}: classes", "wrong", "they name different classes or parts")
        pairs = [
            f"{_name(b, i)} = {_name(a, known[key])}"
            for i, key in enumerate(b.known_digests.tolist()) if key in known
        ]  # fmt: skip
        if pairs:
            text = f"{len(pairs)} clouds are in both: {_some(pairs)}"
            yield Check(f"{both}: duplicates", "note", text)
        else:
            yield Check(f"{both}: duplicates", "ok", "no cloud is in both")


def _release(dataset: Dataset, failed: set[str]) -> Iterator[Check]:
    """What differs from the official release, but for what could not even be loaded."""
    looked_at, notes = False, []
    for name, each in dataset.variants():
        if f"{name or each.splits[0]}: files" not in failed:
            looked_at |= isinstance(each, Release) and bool(each.official_counts())
            where = f"{name}: release" if name else "release"
            notes += [Check(where, "wrong", note) for note in each.verify()]
    notes = [n for n in notes if f"{n.text.partition(':')[0]}: files" not in failed]
    yield from notes
    if looked_at and not notes and not failed:
        yield Check("release", "ok", "splits, counts and classes of the official release")


def _name(clouds: Clouds, i: int) -> str:
    return clouds.ids[i] if clouds.ids else str(i)


def _range(counts: np.ndarray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
