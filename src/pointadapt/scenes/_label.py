"""Labelling a scene of any size with bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import ConfigError, FileFormatError, PointCloudError, UnknownNameError
from ..core.files import atomic
from ..core.folders import sweep
from ..core.machine import peak_memory
from ..io.columns import xyz_called
from ..io.labelled import SceneLabels
from ..io.opening import format_of
from ..io.read import NON_FINITE, NonFinite
from . import _las, _npy, _ply, _text  # noqa: F401 - they register what they read
from ._features import Channels
from ._grid import Grid
from ._source import SOURCES, Source, naming
from ._spill import Spill, blank_labels, check_room, full_disk_said, record_type
from ._survey import CHUNK, survey
from ._tiles import Cutter, Tile, Votes

Predict = Callable[[np.ndarray, "np.ndarray | None"], np.ndarray]
Progress = Callable[[str, int, int], None]
SUFFIXES = tuple(SOURCES)
"""Endings of the files that can be labelled as scenes."""


@dataclass(frozen=True)
class Tiling:
    """How a scene is cut, and what the network sees of it.

    Attributes:
        block: width of a tile in metres: that of training.
        overlap: share of a tile that the next one covers too, 0 to 0.75. Votes are averaged,
            weighted less towards a tile's border.
        points: points that enter the network at a time: as in training.
        passes: how often the network runs for a tile at most; 0: until it has seen every point.
            Points that it saw in no tile take the probabilities of the three nearest it saw.
        batch: samples that are predicted at a time.
        seed: fixes which points are seen.

    Raises:
        ConfigError: a value out of range.
    """

    block: float = 20.0
    overlap: float = 0.5
    points: int = 4096
    passes: int = 1
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        Grid(self.block, self.overlap)
        if min(self.points, self.batch) < 1 or min(self.passes, self.seed) < 0:
            raise ConfigError(
                f"points={self.points}, batch={self.batch}: at least 1; "
                f"passes={self.passes}, seed={self.seed}: at least 0"
            )


def open_scene(path: Path | str, columns: Sequence[str] = ()) -> Source:
    """A scene file, to be read in pieces; ``columns`` are what x, y and z are called in it.

    Raises:
        FileFormatError: it is missing, damaged, or of a format that cannot be read in pieces.
    """
    path = Path(path)
    with naming(path):
        if path.suffix.lower() not in SOURCES and path.is_file():
            raise FileFormatError(f"is no scene: its ending is none of {' '.join(SUFFIXES)}")
        with xyz_called(() if format_of(path).fixed else columns):
            return SOURCES[path.suffix.lower()](path)


def label_scene(
    path: Path | str,
    out: Path | str,
    predict: Predict,
    classes: Sequence[str],
    tiling: Tiling | None = None,
    *,
    features: Sequence[str] = (),
    codes: Sequence[int] | None = None,
    field: str | None = None,
    temp: Path | str | None = None,
    nan: NonFinite = "error",
    columns: Sequence[str] = (),
    on_progress: Progress | None = None,
    chunk: int = CHUNK,
    trait_width: float = 0.0,
) -> SceneLabels:
    """Label every point of a scene and write a copy of the file that differs in the labels alone.

    Memory holds a chunk of the file, the points of a batch of tiles, and the votes of the cells of
    about one row of tiles along the scene's shorter side. A temporary file takes about 16 bytes a
    point, and 4 more for each column that is read; it is gone afterwards, whatever happens.

    Args:
        path: LAS, LAZ, PLY, NPY or text.
        out: the labelled file, of the same ending; appears whole, by a rename.
        predict: gives (B, n, K) probabilities for (B, n, 3) float32 points, in metres from their
            tile's middle and above the scene's lowest point, and (B, n, C) float32 features or
            None.
        classes: (K,) names.
        tiling: how the scene is cut.
        features: what ``predict`` is given: see :class:`Channels`.
        codes: (K,) what is written for each class; by default its number, from 0.
        field: where it is written: by default LAS' classification, or a column with a usual name
            for labels; a name that the file does not have yet is added to it.
        temp: folder for the temporary file; by default that of ``out``.
        nan: "drop" leaves points with NaN or infinite coordinates or features without a class: in
            the copy they have the smallest number that is no class's.
        columns: what x, y and z are called, where that is not x, y and z.
        on_progress: called with what is done, how many points of it, and of how many.
        chunk: points of the file in memory at a time.
        trait_width: width of a block in training, which traits of points go by; 0: that of a tile.

    Raises:
        FileFormatError, PointCloudError: the file is damaged, lacks a feature, or has no place for
            the labels.
        ConfigError: an option out of range.
        PointAdaptError: a disk is full, or the model predicts NaN.
    """
    began, path, out = time.perf_counter(), Path(path), Path(out)
    tiling = tiling or Tiling()
    values = _codes(codes, len(classes))
    if nan not in NON_FINITE:
        raise UnknownNameError("value of nan", nan, NON_FINITE)
    source = open_scene(path, columns)
    folder = _folders(path, out, temp)
    tell = on_progress or (lambda what, done, total: None)
    with naming(path):
        if not source.count:
            raise PointCloudError("has no points")
        none = next(k for k in range(len(values) + 1) if k not in values) if nan == "drop" else 0
        values = values.astype(np.min_scalar_type(max(int(values.max()), none)))
        copy = source.prepare(field, max(int(values.max()), none))
        channels = Channels.of(features, source)
    sweep(out.parent, name=out.name)
    size = source.count * record_type(source.count, len(channels.columns)).itemsize
    size += source.count * values.itemsize
    check_room([(folder, size, "temporary files"), (out.parent, copy, "the labelled copy")])
    with ExitStack() as stack:
        with full_disk_said(folder):
            labels = blank_labels(folder, source.count, values.dtype, stack)
            labels[:] = none
        with _spilled(source, tiling, channels, folder, tell, chunk, nan == "drop") as spill:
            cutter = Cutter(spill, channels, tiling.points, tiling.passes, tiling.seed, trait_width)
            counts, sure, samples = _all_tiles(cutter, predict, values, labels, tiling.batch, tell)
            tiles, known = len(spill.found.cells), source.count - spill.found.dropped
        with atomic(out) as temporary, naming(path):
            for done in source.write(temporary, labels, field):
                tell("writing", done, source.count)
        del labels
    named = dict(zip(classes, counts.tolist(), strict=True))
    return SceneLabels(
        path, out, source.field_name(field), source.count, tiles, samples, named,
        sure / known, time.perf_counter() - began, peak_memory(),
    )  # fmt: skip


@contextmanager
def _spilled(
    source: Source, tiling: Tiling, channels: Channels, folder: Path, tell: Progress, chunk: int,
    drop: bool,
) -> Iterator[Spill]:  # fmt: skip
    grid, total = Grid(tiling.block, tiling.overlap), source.count
    with full_disk_said(folder), naming(source.path):
        found = survey(
            source, grid, channels.columns, lambda n: tell("reading", n, total), chunk, drop
        )
        spill = Spill(
            source, grid, found, channels.columns, folder, lambda n: tell("sorting", n, total),
            chunk, drop,
        )  # fmt: skip
    with closing(spill):
        yield spill


def _all_tiles(
    cutter: Cutter, predict: Predict, codes: np.ndarray, labels: np.ndarray, batch: int,
    tell: Progress,
) -> tuple[np.ndarray, float, int]:  # fmt: skip
    """Fill ``labels``; the points of each class, the sum of confidences, and passes of the network.

    A batch waits until its tiles fill it; tiles are put together in their own order, so the result
    does not depend on its size.
    """
    spill = cutter.spill
    votes, counts = Votes(spill, len(codes)), np.zeros(len(codes), np.int64)
    sure, samples, waiting = 0.0, 0, []

    def flush() -> None:
        nonlocal sure, samples
        for tile, probabilities in _predicted(waiting, predict, batch):
            votes.add(tile, probabilities)
            ids, mean = votes.close(tile)
            best = mean.argmax(axis=1)
            labels[ids] = codes[best]
            counts[:] += np.bincount(best, minlength=len(codes))
            sure += float(mean.max(axis=1).sum(dtype=np.float64))
            samples += len(tile.points)
        waiting.clear()
        tell("labelling", int(counts.sum()), len(labels))

    for own, places in spill.found.cells.tiles(spill.grid.reach):
        waiting.append(cutter.cut(own, places))
        if sum(len(tile.points) for tile in waiting) >= batch:
            flush()
    flush()
    return counts, sure, samples


def _predicted(
    tiles: Sequence[Tile], predict: Predict, batch: int
) -> Iterator[tuple[Tile, np.ndarray]]:
    """Each tile with its (P, n, K) probabilities."""
    if not tiles:
        return
    points = np.concatenate([tile.points for tile in tiles])
    given = [tile.features for tile in tiles if tile.features is not None]
    features = np.concatenate(given) if given else None
    parts = []
    for start in range(0, len(points), batch):
        at = slice(start, start + batch)
        parts.append(np.asarray(predict(points[at], None if features is None else features[at])))
    every, start = np.concatenate(parts), 0
    for tile in tiles:
        yield tile, every[start : start + len(tile.points)]
        start += len(tile.points)


def _codes(codes: Sequence[int] | None, classes: int) -> np.ndarray:
    values = list(range(classes)) if codes is None else [int(code) for code in codes]
    if len(values) != classes or not classes or min(values) < 0 or max(values) > 2**31:
        raise ConfigError(f"codes {values}: one whole number from 0 for each of {classes} classes")
    return np.array(values, np.min_scalar_type(max(values)))


def _folders(path: Path, out: Path, temp: Path | str | None) -> Path:
    """Check where the copy goes; the folder of the temporary files."""
    if out.suffix.lower() != path.suffix.lower():
        raise ConfigError(f"{out}: the copy has the input's format: call it {path.suffix}")
    if out.exists() and out.samefile(path):
        raise ConfigError(f"{out} is the scene itself: write the copy elsewhere")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent if temp is None else Path(temp)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: pass one for temporary files")
    return folder
