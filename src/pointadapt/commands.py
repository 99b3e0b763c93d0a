"""The sub-commands: options as a dataclass, and ``run``, which makes one library call and prints.

Nothing here imports torch until a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

from tyro.conf import Positional, arg

from . import report
from .config import Precision, PretrainConfig, Published, TrainConfig
from .errors import ConfigError, PointAdaptError

if TYPE_CHECKING:
    from .predict import Prediction

T = TypeVar("T")


def _plain(cls: type[T], command: Any) -> T:
    """The configuration inside a command: the fields that ``cls`` has, checked by it."""
    return cls(**{f.name: getattr(command, f.name) for f in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Train(TrainConfig):
    """Adapt a backbone to a labelled data set.

    Attributes:
        recipe: start from this preset; see "pointadapt list recipes". Flags override it.
        config: start from this YAML file, such as an earlier run's config.yaml. Flags override it.
        json: print the results as JSON on standard output, all else on standard error.
        summary: print the summary at the end.
    """

    config: Path | None = None
    json: bool = False
    summary: bool = True

    def __post_init__(self) -> None:
        """Checked in :meth:`run`, where a wrong value is answered by one line."""

    def run(self) -> int:
        config = _plain(TrainConfig, self)
        _check_recipe(config)
        from .train import train

        results = train(config)
        if "adapter" not in results:  # not the main process of several
            return 0
        if self.summary:
            report.train_summary(results, report.console(stderr=self.json))
        if self.json:
            report.print_json(results)
        return 0


def _check_recipe(config: TrainConfig) -> None:
    """Say what to get where a recipe's backbone is not there yet."""
    from .recipes import RECIPES

    recipe = RECIPES.get(config.recipe)
    if not recipe or not recipe.needs or config.backbone != recipe.config.backbone:
        return
    if not Path(config.backbone).exists():
        raise ConfigError(
            f"recipe {recipe.name!r} needs the backbone {config.backbone}: {recipe.needs}; "
            "or pass another --backbone"
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score an adapter on a data set; by default as at the end of its training.

    Attributes:
        adapter: the folder that training wrote.
        data: name of the data set; by default the one it was trained on.
        root: its folder on disk.
        data_options: its other options, as key=value.
        split: which part of it.
        votes: augmented copies whose probabilities are averaged; 0 scores the clouds as they are.
        backbone: where the backbone is now, if the adapter does not find it.
        precision: number format of the forward pass; by default as in training.
        json: print the scores as JSON on standard output.
    """

    adapter: Path
    data: str | None = None
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    split: Literal["train", "test"] = "test"
    votes: int = 0
    backbone: str | None = None
    precision: Precision | None = None
    json: bool = False

    def run(self) -> int:
        from .evaluate import evaluate
        from .protocol import Protocol, autocast, load_ready

        protocol = Protocol.of(self.adapter, self.data, self.root, self.data_options)
        model = load_ready(self.adapter, self.backbone)
        clouds = protocol.load(self.split)
        bar = report.progress(f"{protocol.data} {self.split}", len(clouds))
        with bar as done, autocast(model, self.precision or protocol.precision):
            scores = evaluate(model, clouds, protocol.points, votes=self.votes, on_batch=done)
        scores |= {"adapter": str(self.adapter), "data": protocol.data, "split": self.split}
        if self.json:
            report.print_json(scores)
        else:
            report.evaluation(scores, f"{protocol.data} {self.split}", report.console())
        return 0


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Classify files in any format that is read, or all such files in a folder.

    Attributes:
        paths: files and folders; folders are searched with their sub-folders.
        adapter: the folder that training wrote.
        backbone: where the backbone is now, if the adapter does not find it.
        top: how many classes to list for each file.
        up: the files' axis that points up; by default as in training.
        csv: also write the predictions to this CSV file.
        picture: also draw the first 24 clouds to this .png, .pdf or .svg file.
        json: print the predictions as JSON on standard output.
    """

    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE_OR_DIR …")]
    adapter: Path
    backbone: str | None = None
    top: int = 3
    up: Literal["x", "y", "z"] | None = None
    csv: Path | None = None
    picture: Path | None = None
    json: bool = False

    def run(self) -> int:
        if not self.paths:
            raise PointAdaptError("give at least one file or folder to predict")
        from .predict import list_files, predict

        many = len(list_files(self.paths))
        bar = report.progress("predicting", many) if many > 1 else nullcontext(lambda done: None)
        with bar as done:
            rows = predict(
                self.paths, self.adapter, backbone=self.backbone, up=self.up, top=self.top,
                on_batch=done,
            )  # fmt: skip
        if self.csv is not None:
            _write_csv(self.csv, rows, self.top)
        if self.picture is not None:
            self._draw(rows)
        if self.json:
            report.print_json([row.to_dict() for row in rows])
        else:
            report.predictions(rows, report.console())
        errors = [row.error for row in rows if row.error is not None]
        for error in errors:
            report.error_line(error)
        return 2 if errors else 0

    def _draw(self, rows: Sequence[Prediction]) -> None:
        import numpy as np

        from .hub import read_adapter_config
        from .predict import reader_of
        from .viz import prediction_grid

        good = [row for row in rows if row.error is None][:24]
        if good and self.picture is not None:
            read = reader_of(read_adapter_config(self.adapter), self.up)
            titles = [f"{row.path.name}\n{row.label} {100 * row.confidence:.0f} %" for row in good]
            clouds = np.stack([read(row.path) for row in good])
            prediction_grid(clouds, titles, [None] * len(good), self.picture)


def _write_csv(path: Path, rows: Sequence[Prediction], top: int) -> None:
    from .files import atomic

    ranks = range(2, top + 1)
    header = ["path", "label", "confidence"]
    header += [name for k in ranks for name in (f"label_{k}", f"confidence_{k}")]
    with atomic(path) as temporary, temporary.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow([*header, "error"])
        for row in rows:
            cells = [cell for name, p in row.top for cell in (name, f"{p:.6f}")]
            cells += [""] * (2 * top - len(cells))
            table.writerow([row.path, *cells, row.error or ""])


@dataclass(frozen=True, kw_only=True)
class Pretrain(PretrainConfig):
    """Make a backbone from scratch by masked autoencoding (Point-MAE).

    Attributes:
        json: print the summary as JSON on standard output.
    """

    json: bool = False

    def __post_init__(self) -> None:
        """Checked in :meth:`run`, as for :class:`Train`."""

    def run(self) -> int:
        from .pretrain import pretrain

        summary = pretrain(_plain(PretrainConfig, self))
        if self.json:
            report.print_json(summary)
        else:
            report.pretrain_summary(summary, report.console())
        return 0


@dataclass(frozen=True, kw_only=True)
class Convert(Published):
    """Turn a published checkpoint into a backbone folder, and an adapter if it was fine-tuned.

    Attributes:
        file: the published .pth file; told apart by its keys.
        out: folder to write.
        backbone: for a DAPT checkpoint, the backbone it was trained from, to be shared.
        json: print the report as JSON on standard output.
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    out: Path
    backbone: str | None = None
    json: bool = False

    def run(self) -> int:
        from .convert import convert

        done = convert(self.file, self.out, _plain(Published, self), self.backbone)
        if self.json:
            report.print_json(done)
        else:
            report.convert_summary(done, report.console())
        return 0


Kind = Literal["all", "backbones", "methods", "tasks", "data", "recipes", "augmentations"]


@dataclass(frozen=True, kw_only=True)
class List:
    """Show what there is to choose from.

    Attributes:
        kind: what to show.
        json: print it as JSON on standard output.
    """

    kind: Positional[Kind] = "all"
    json: bool = False

    def run(self) -> int:
        from .listing import LISTS

        kinds = list(LISTS) if self.kind == "all" else [self.kind]
        tables = {kind: LISTS[kind]() for kind in kinds}
        if self.json:
            report.print_json(tables if self.kind == "all" else tables[self.kind])
        else:
            for kind, rows in tables.items():
                report.listing(kind, rows, report.console())
        return 0


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Linear probe, DAPT and full fine-tuning on made-up shapes, side by side, in minutes.

    Attributes:
        out: folder for all that it writes; an earlier demo's is replaced.
        backbone: a bundled backbone or a backbone folder.
        quick: a few steps only, to see that everything runs; the scores mean nothing.
    """

    out: Path = Path("demo")
    backbone: str = "tiny"
    quick: bool = False

    def run(self) -> int:
        from .demo import demo

        return demo(self.out, backbone=self.backbone, quick=self.quick)


Command: TypeAlias = Train | Evaluate | Predict | Pretrain | Convert | List | Demo
