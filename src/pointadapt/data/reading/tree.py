"""Where labelled files lie: which file has which class, and is for train or test.

Told from folder names (three layouts) or from a ``manifest.csv``.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.errors import DataLayoutError
from ...core.notes import note
from ...io import SUFFIXES
from ..copies import merged_groups, with_copies
from ..grouping import held_groups
from .manifest import read_manifest
from .sample import SPLITS, Sample, one_form, split_of

MANIFEST = "manifest.csv"
WANTED = (
    "ROOT/CLASS/FILE, ROOT/train/CLASS/FILE (and test), ROOT/CLASS/train/FILE (and test), or "
    "ROOT/manifest.csv"
)


def all_files(folder: Path) -> list[Path]:
    """Every file under ``folder`` that is not hidden, sorted; links to folders are followed."""
    found: list[Path] = []
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link to a folder that is read already, or to one above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _hidden(name))
        found += [Path(here, name) for name in names if not _hidden(name)]
    return sorted(found)


def _unreadable(error: OSError) -> None:
    raise DataLayoutError(f"{error.filename}: cannot be read: {error.strerror}") from error


def readable_files(
    folder: Path, *, nested: bool = False, suffixes: Collection[str] = SUFFIXES
) -> list[Path]:
    """List the files in ``folder`` of the endings that are read, sorted.

    Hidden files and other endings are left out. ``nested`` looks into sub-folders, too.

    Raises:
        DataLayoutError: there is none; lists the endings that are read.

    """
    found = all_files(folder) if nested else sorted(folder.iterdir())
    files = [p for p in found if p.suffix.lower() in suffixes and not _hidden(p.name)]
    files = [p for p in files if p.is_file()]
    if not files:
        raise DataLayoutError(f"{folder}: holds no file that is read ({' '.join(suffixes)})")
    return files


def tell_unread(root: Path, read: Collection[Path], found: Iterable[Path] | None = None) -> None:
    """Say in a note how many files under ``root`` are not ``read``, by their endings."""
    known = set(read)
    rest = [p for p in (all_files(root) if found is None else found) if p not in known]
    counts = Counter(p.suffix.lower() or "without an ending" for p in rest)
    if counts:
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        each = ", ".join(f"{count:,} {ending}" for ending, count in ranked)
        note(f"{root}: {len(rest):,} of {len(rest) + len(known):,} files are not read: {each}")


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders of the splits in ``folder``: train, test and val, where they are there.

    Without test, val is taken for it; :func:`tell_val` says so.

    Raises:
        DataLayoutError: two folders for one split, such as train and Train.

    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        split = split_of(path.name) if path.is_dir() else None
        if split in found:
            raise DataLayoutError(f"{found[split]} and {path}: which one is for {split}?")
        if split is not None:
            found[split] = path
    if "val" in found and "train" in found and "test" not in found:
        found["test"] = found.pop("val")
    return found


def tell_val(root: Path, tests: Iterable[Path]) -> None:
    """Say in a note that folders called val are taken for test, if any of ``tests`` is."""
    names = {path.name for path in tests if split_of(path.name) == "val"}
    if names:
        note(f"{root}: has nothing for test: {', '.join(sorted(names))} is taken for it")


def find_samples(
    root: Path, manifest: Path | None = None, *, group_folders: bool = False
) -> list[Sample]:
    """Find the labelled files under ``root``, in an order that does not depend on the machine.

    Args:
        root: the folder.
        manifest: the CSV that names files and labels; by default ROOT/manifest.csv, if it is there.
        group_folders: the files of a class lie in folders in its folder, and each of these is a
            group; of a manifest, the folder that a file lies in.

    Raises:
        DataLayoutError: no class, a class without files or with some outside a group's folder, a
            test class that is not in train.

    """
    if not root.is_dir():
        raise DataLayoutError(f"{root}: is not a folder")
    if manifest is None and (root / MANIFEST).is_file():
        manifest = root / MANIFEST
    if manifest is not None:
        samples = _with_test(manifest, read_manifest(manifest, root))
        if group_folders:
            samples = [replace(s, group=s.path.parent.name) for s in samples]
    else:
        samples = _in_folders(root, group_folders)
        tell_unread(root, [sample.path for sample in samples])
    _check_classes(root, samples)
    return samples


def _with_test(manifest: Path, samples: Sequence[Sample]) -> list[Sample]:
    """Samples of a manifest; its split val is taken for test where there is none, else left out."""
    given = {sample.split for sample in samples}
    if "val" in given and "test" not in given:
        tell_val(manifest, [Path("val")])
        samples = [replace(s, split="test") if s.split == "val" else s for s in samples]
    elif "val" in given:
        count = sum(sample.split == "val" for sample in samples)
        note(f"{manifest}: {count:,} files of the split val are not read: there are train and test")
    return [replace(s, label=one_form(s.label)) for s in samples if s.split != "val"]


def draw_split(
    samples: Sequence[Sample], test_fraction: float, seed: int, first: np.ndarray | None = None
) -> list[Sample]:
    """Draw train and test within each class; the order is kept.

    Where files have groups, whole groups are drawn, with shares of the classes as even as can be.
    A class's draw depends on its own name and number of files alone, so adding a class does not
    change the others. Each class has at least one file of either.

    Args:
        samples: files without a split.
        test_fraction: share of test.
        seed: fixes the draw.
        first: (n,) for each file the index of the first with the same points, whose side it takes.

    Raises:
        DataLayoutError: a class has one file only, copies not counted.

    """
    first = np.arange(len(samples)) if first is None else first
    if samples and all(s.group for s in samples):
        labels, groups = [s.label for s in samples], [s.group for s in samples]
        held = held_groups(labels, merged_groups(groups, first), test_fraction, seed)
    else:
        held = with_copies(first, lambda own: _held_files(samples, own, test_fraction, seed))
    return [replace(s, split="test" if h else "train") for s, h in zip(samples, held, strict=True)]


def _held_files(
    samples: Sequence[Sample], index: np.ndarray, test_fraction: float, seed: int
) -> np.ndarray:
    """(m,) bool: which of the files at ``index`` become test."""
    classes: dict[str, list[int]] = defaultdict(list)
    for place, k in enumerate(index):
        classes[samples[k].label].append(place)
    single = sorted(label for label, members in classes.items() if len(members) < 2)
    if single:
        raise DataLayoutError(
            f"{samples[index[classes[single[0]][0]]].path}: is the only file of class "
            f"{single[0]!r}, copies of it not counted, which needs two to have one for train and "
            "one for test"
        )
    held = np.zeros(len(index), bool)
    for label, members in classes.items():
        rng = np.random.default_rng([seed, zlib.crc32(label.encode())])
        count = min(max(round(test_fraction * len(members)), 1), len(members) - 1)
        held[rng.choice(members, size=count, replace=False)] = True
    return held


def _hidden(name: str) -> bool:
    return name.startswith((".", "__"))  # __MACOSX, __pycache__


def _in_folders(root: Path, grouped: bool) -> list[Sample]:
    splits = split_folders(root)
    if {*SPLITS} <= splits.keys():
        tell_val(root, [splits["test"]])
        return [
            Sample(path, one_form(folder.name), split, group=group)
            for split in SPLITS
            for folder in _class_folders(splits[split], root)
            for path, group in _files_of(folder, root, grouped)
        ]
    samples = [s for folder in _class_folders(root, root) for s in _of_class(folder, root, grouped)]
    tell_val(root, [sample.path.parent for sample in samples if sample.split == "test"])
    return samples


def _class_folders(folder: Path, root: Path) -> Iterable[Path]:
    found = sorted(p for p in folder.iterdir() if p.is_dir() and not _hidden(p.name))
    if not found:
        raise _other_layout(folder, root, "holds no class folder")
    return found


def _files_of(folder: Path, root: Path, grouped: bool) -> list[tuple[Path, str]]:
    """The files of a class in ``folder``, with their groups: the folders in it that they are in."""
    try:
        found = readable_files(folder, nested=grouped)
    except DataLayoutError as error:
        raise _other_layout(folder, root, str(error).partition(": ")[2]) from error
    if not grouped:
        return [(path, "") for path in found]
    loose = next((path for path in found if path.parent == folder), None)
    if loose is not None:
        raise DataLayoutError(f"{loose}: is in no group's folder: expected ROOT/CLASS/GROUP/FILE")
    return [(path, one_form(path.relative_to(folder).parts[0])) for path in found]


def _of_class(folder: Path, root: Path, grouped: bool) -> list[Sample]:
    """List the files of a class: in ``folder``, or in its ``train`` and ``test`` (ModelNet40)."""
    inner, label = split_folders(folder), one_form(folder.name)
    if not inner:
        return [Sample(path, label, group=g) for path, g in _files_of(folder, root, grouped)]
    return [
        Sample(path, label, split, group=group)
        for split in SPLITS
        if split in inner
        for path, group in _files_of(inner[split], root, grouped)
    ]


def _other_layout(folder: Path, root: Path, what: str) -> DataLayoutError:
    """What to say of a folder without files: where the first file lies, and where it should."""
    files = [path for path in all_files(root) if path.suffix.lower() in SUFFIXES]
    deep = [path for path in files if path.is_relative_to(folder)] or files
    if not deep:
        return DataLayoutError(f"{folder}: {what}; expected {WANTED} under {root}")
    parts = deep[0].relative_to(root).parts
    found = "/".join(("ROOT", *parts))
    better = ""
    if len(parts) == 4 and split_of(parts[1]):
        better = f"; pass --root {root / parts[0]}"
    elif len(parts) - (split_of(parts[0]) is not None) >= 3:
        better = "; where folders in the class's folder are groups: --data-options group=folder"
    return DataLayoutError(f"{folder}: {what}; found {found}, expected {WANTED}{better}")


def _check_classes(root: Path, samples: Sequence[Sample]) -> None:
    given = {sample.split for sample in samples}
    if given not in ({None}, set(SPLITS)):
        missing = sorted(set(SPLITS) - given) or ["a split for some classes but not for others"]
        raise DataLayoutError(f"{root}: has no {' and '.join(missing)} files; expected {WANTED}")
    known = {sample.label for sample in samples if sample.split != "test"}
    for sample in samples:
        if sample.label not in known:
            raise DataLayoutError(
                f"{sample.path}: class {sample.label!r} is in test but not in train"
            )
