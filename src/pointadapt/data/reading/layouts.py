"""Where labelled files lie: which file has which class, and is for train or test.

Told from folder names (three layouts) or from a ``manifest.csv``.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.errors import DataLayoutError
from ...io import SUFFIXES
from ..grouping import held_groups
from .manifest import read_manifest
from .sample import SPLITS, Sample

MANIFEST = "manifest.csv"


def readable_files(folder: Path, *, nested: bool = False) -> list[Path]:
    """List the files in ``folder`` that :func:`pointadapt.io.read_points` reads, sorted.

    Hidden files and other endings are left out. ``nested`` looks into sub-folders, too.

    Raises:
        DataLayoutError: there is none; lists the endings that are read.

    """
    found = folder.rglob("*") if nested else folder.iterdir()
    files = [p for p in found if p.suffix.lower() in SUFFIXES and p.is_file()]
    files = [p for p in files if not any(map(_hidden, p.relative_to(folder).parts))]
    if not files:
        raise DataLayoutError(f"{folder}: holds no file that is read ({' '.join(SUFFIXES)})")
    return sorted(files)


def find_samples(root: Path, manifest: Path | None = None) -> list[Sample]:
    """Find the labelled files under ``root``, in an order that does not depend on the machine.

    Args:
        root: the folder.
        manifest: the CSV that names files and labels; by default ROOT/manifest.csv, if it is there.

    Raises:
        DataLayoutError: no class, a class without files, a test class that is not in train.

    """
    if not root.is_dir():
        raise DataLayoutError(f"{root}: is not a folder")
    if manifest is None and (root / MANIFEST).is_file():
        manifest = root / MANIFEST
    if manifest is not None:
        samples = read_manifest(manifest, root)
    elif all((root / split).is_dir() for split in SPLITS):
        samples = [
            Sample(path, folder.name, split)
            for split in SPLITS
            for folder in _class_folders(root / split)
            for path in readable_files(folder)
        ]
    else:
        samples = [sample for folder in _class_folders(root) for sample in _of_class(folder)]
    _check_classes(root, samples)
    return samples


def split_samples(samples: Sequence[Sample], test_fraction: float, seed: int) -> list[Sample]:
    """Draw train and test within each class where they are not given; the order is kept.

    Where files have groups, whole groups are drawn, with shares of the classes as even as can be.
    A class's draw depends on its own name and number of files alone, so adding a class does not
    change the others. Each class has at least one file of either.

    Raises:
        DataLayoutError: a class has one file only.

    """
    if samples and all(s.split is None and s.group for s in samples):
        labels, groups = [s.label for s in samples], [s.group for s in samples]
        held = held_groups(labels, groups, test_fraction, seed)
        return [
            replace(s, split="test" if h else "train") for s, h in zip(samples, held, strict=True)
        ]
    classes: dict[str, list[int]] = defaultdict(list)
    for k, sample in enumerate(samples):
        if sample.split is None:
            classes[sample.label].append(k)
    single = sorted(label for label, members in classes.items() if len(members) < 2)
    if single:
        raise DataLayoutError(
            f"{samples[classes[single[0]][0]].path}: is the only file of class {single[0]!r}, "
            "which needs two to have one for train and one for test"
        )
    test: set[int] = set()
    for label, members in classes.items():
        rng = np.random.default_rng([seed, zlib.crc32(label.encode())])
        count = min(max(round(test_fraction * len(members)), 1), len(members) - 1)
        test.update(rng.choice(members, size=count, replace=False).tolist())
    return [
        s if s.split else replace(s, split="test" if k in test else "train")
        for k, s in enumerate(samples)
    ]


def _hidden(name: str) -> bool:
    return name.startswith((".", "__"))  # __MACOSX, __pycache__


def _class_folders(folder: Path) -> Iterable[Path]:
    found = sorted(p for p in folder.iterdir() if p.is_dir() and not _hidden(p.name))
    if not found:
        raise DataLayoutError(f"{folder}: holds no class folder; expected {folder}/CLASS/FILE")
    return found


def _of_class(folder: Path) -> list[Sample]:
    """List the files of a class: in ``folder``, or in its ``train`` and ``test`` (ModelNet40)."""
    inner = [split for split in SPLITS if (folder / split).is_dir()]
    if not inner:
        return [Sample(path, folder.name) for path in readable_files(folder)]
    return [
        Sample(path, folder.name, split)
        for split in inner
        for path in readable_files(folder / split)
    ]


def _check_classes(root: Path, samples: Sequence[Sample]) -> None:
    given = {sample.split for sample in samples}
    if given not in ({None}, set(SPLITS)):
        missing = sorted(set(SPLITS) - given) or ["a split for some classes but not for others"]
        raise DataLayoutError(f"{root}: has no {' and '.join(missing)} files")
    known = {sample.label for sample in samples if sample.split != "test"}
    for sample in samples:
        if sample.label not in known:
            raise DataLayoutError(
                f"{sample.path}: class {sample.label!r} is in test but not in train"
            )
