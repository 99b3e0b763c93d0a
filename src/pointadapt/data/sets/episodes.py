"""Few-shot episodes of a data set, written down as JSON so that anyone can use the same ones.

An episode names a few classes, some clouds of each to train on (the support) and others to be told
apart (the queries). A folder holds one file for each fold: ``0.json``, ``1.json`` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ...core.errors import ConfigError, DataLayoutError, FileFormatError
from ...core.fields import at_least, seeds
from ...core.files import read_json, write_json
from ..base import DATASETS, Clouds, Dataset, load_dataset, load_indexed, load_split
from ..reading.benchmark import SPLITS, check_choice
from ..reading.files import existing

FORMAT = "pointadapt-episode/1"
Pool = Literal["split", "all"]
Members = dict[str, dict[str, str]]  # split -> index in it -> id of the cloud there


@dataclass(frozen=True)
class Setting:
    """What a series of episodes has in common.

    Attributes:
        data: name of the data set.
        options: its options, without its folder.
        way: classes of an episode.
        shot: support clouds of each.
        queries: query clouds of each.
        seed: with a fold's number, fixes that fold.
        pool: "split" takes the support from the split "train" and the queries from "test"; "all"
            takes both from both.
    """

    data: str
    options: Mapping[str, Any]
    way: int = 5
    shot: int = 10
    queries: int = 20
    seed: int = 0
    pool: Pool = "split"

    def __post_init__(self) -> None:
        at_least(self, 2, "way")
        at_least(self, 1, "shot", "queries")
        seeds(self, "seed")


@dataclass(frozen=True)
class Episode:
    """One fold: for each of its classes, in the order of labels, (name, support, queries)."""

    setting: Setting
    fold: int
    classes: tuple[tuple[str, Members, Members], ...]

    def write(self, folder: Path | str) -> Path:
        """Write ``<fold>.json``, atomically."""
        classes = [{"name": n, "support": s, "query": q} for n, s, q in self.classes]
        path = Path(folder) / f"{self.fold}.json"
        head = {"format": FORMAT, **asdict(self.setting), "fold": self.fold}
        write_json(path, {**head, "classes": classes})
        return path


def draw_episodes(setting: Setting, folds: int, root: Path | str | None = None) -> list[Episode]:
    """Folds 0 to ``folds`` - 1; each depends on the data, the setting and its number alone.

    Args:
        setting: what to draw, and from what.
        folds: how many.
        root: folder of the data set.

    Raises:
        DataLayoutError: too few classes have enough clouds.
    """
    options = {"points": 16, **setting.options, **({"root": root} if root else {})}
    source = load_dataset(setting.data, **options)  # only labels and ids are of interest
    splits = {split: source.load(split) for split in SPLITS}
    return [_draw(setting, fold, splits) for fold in range(folds)]


def _draw(setting: Setting, fold: int, splits: Mapping[str, Clouds]) -> Episode:
    rng = np.random.default_rng((setting.seed, fold))
    names = splits["train"].classes
    members = {s: [np.flatnonzero(c.labels == k) for k in range(len(names))]
               for s, c in splits.items()}  # fmt: skip
    enough = [
        k for k in range(len(names)) if _enough(setting, *(len(members[s][k]) for s in SPLITS))
    ]
    if len(enough) < setting.way:
        raise DataLayoutError(_too_few(setting, len(enough), len(names)))
    classes = []
    for k in np.sort(rng.choice(enough, setting.way, replace=False)):
        order = {s: [(s, int(i)) for i in rng.permutation(members[s][k])] for s in SPLITS}
        support, queries = order["train"], order["test"]
        if setting.pool == "all":
            both = [*support, *queries]
            support = [both[i] for i in rng.permutation(len(both))]
            queries = support[setting.shot :]
        picked = support[: setting.shot], queries[: setting.queries]
        classes.append((names[k], *(_named(items, splits) for items in picked)))
    return Episode(setting, fold, tuple(classes))


def _enough(setting: Setting, train: int, test: int) -> bool:
    if setting.pool == "all":
        return train + test >= setting.shot + setting.queries
    return train >= setting.shot and test >= setting.queries


def _too_few(setting: Setting, enough: int, classes: int) -> str:
    need = f"{setting.shot} training and {setting.queries} test clouds"
    remedy = "lower --way, --shot or --queries, or draw both from all clouds with --pool all"
    if setting.pool == "all":
        need = f"{setting.shot + setting.queries} clouds"
        remedy = "lower --way, --shot or --queries"
    return (
        f"{setting.data}: {enough} of {classes} classes have {need}, "
        f"but an episode needs {setting.way}: {remedy}"
    )


def _named(items: Sequence[tuple[str, int]], splits: Mapping[str, Clouds]) -> Members:
    found: Members = {}
    for split, i in items:
        ids = splits[split].ids
        found.setdefault(split, {})[str(i)] = ids[i] if ids else ""
    return found


def read_episode(path: Path | str) -> Episode:
    """The episode in a file.

    Raises:
        DataLayoutError: there is no such file.
        FileFormatError: it is something else.
    """
    path = existing(Path(path), 'episodes are written by "pointadapt few-shot"')
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise FileFormatError(f"{path}: is no {FORMAT} file")
    try:
        setting = Setting(**{k: values[k] for k in Setting.__dataclass_fields__})
        classes = tuple((str(c["name"]), c["support"], c["query"]) for c in values["classes"])
        members = [part for _, *parts in classes for part in parts]
        for split, items in ((s, i) for part in members for s, i in part.items()):
            check_choice("split", split, SPLITS)
            items.update({str(int(index)): str(name) for index, name in items.items()})
        return Episode(setting, int(values["fold"]), classes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"{path}: damaged: {type(error).__name__} {' '.join(str(error).split())}"
        ) from error


@DATASETS.register("episodes")
@dataclass
class Episodes(Dataset):
    """One few-shot episode of another data set, as an index file describes it.

    Attributes:
        root: the folder with the index files.
        fold: which of them.
        source_root: the folder of the data set that they index.
    """

    licence: ClassVar[str] = "that of the data set the episodes are drawn from"
    citation: ClassVar[str] = (
        "Sharma and Kaul, Self-Supervised Few-Shot Learning on Point Clouds, NeurIPS 2020"
    )
    url: ClassVar[str] = "https://arxiv.org/abs/2009.14168"
    where: ClassVar[str] = 'The index files are written by "pointadapt few-shot".'

    fold: int = 0
    source_root: Path | None = None

    def origin(self) -> Dataset:
        """The data set that the episodes index."""
        path = Path(self.root or ".") / f"{self.fold}.json"
        return self._source(path, read_episode(path).setting).origin()

    def title(self) -> str:
        """That of the data set that the episode indexes."""
        return self.origin().title()

    def _source(self, path: Path, setting: Setting) -> Dataset:
        options = {"points": self.points, **setting.options}
        return load_indexed(path, setting.data, self.source_root, options)

    def load(self, split: str) -> Clouds:
        """The support ("train") or the queries ("test"), in the order of the file.

        Raises:
            DataLayoutError, FileFormatError: no such index file, a damaged one, or one whose clouds
                are not those of the data set at hand.
        """
        check_choice("split", split, SPLITS)
        if self.points < 1:
            raise ConfigError(f"points={self.points}: use points >= 1")
        path = self.found_root() / f"{self.fold}.json"
        episode = read_episode(path)
        setting, loaded = episode.setting, {}
        source = self._source(path, setting)
        parts, labels, ids = [], [], []
        for label, (_, support, query) in enumerate(episode.classes):
            for part, items in (support if split == "train" else query).items():
                loaded[part] = loaded.get(part) or load_split(source, part)
                parts.append(_picked(path, loaded[part], part, items))
                labels += [label] * len(items)
                ids += [f"{part}/{index}/{name}" for index, name in items.items()]
        names = tuple(name for name, _, _ in episode.classes)
        points, traits = ([getattr(part, key) for part in parts] for key in ("points", "traits"))
        return Clouds(
            np.concatenate(points), np.array(labels, np.int64), names, tuple(ids),
            traits=None if any(x is None for x in traits) else np.concatenate(traits),
            groups=tuple(group for part in parts for group in part.groups),
            digests=None if any(part.digests is None for part in parts) else np.concatenate(
                [part.known_digests for part in parts]
            ),
            normalise=all(clouds.normalise for clouds in loaded.values()),
        )  # fmt: skip


def _picked(path: Path, clouds: Clouds, split: str, items: Mapping[str, str]) -> Clouds:
    """The clouds that ``items`` name."""
    for index, name in items.items():
        i = int(index)
        there = (clouds.ids[i] if clouds.ids else "") if 0 <= i < len(clouds) else None
        if there != name:
            raise FileFormatError(
                f"{path}: cloud {i} of {split} is {name!r} there, but "
                f"{'missing' if there is None else repr(there)} in the data at hand: these "
                "episodes belong to another version of it"
            )
    return clouds.subset([int(index) for index in items])
