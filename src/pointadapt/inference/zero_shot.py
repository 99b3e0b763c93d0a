"""Classes told by their names alone, with a backbone whose clouds lie in the space of texts.

A cloud's embedding is compared with those of the names, which a text model made before (Uni3D: the
text tower of EVA02-E-14-plus); the guide on backbones says how. The nearest name is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import ConfigError, FileFormatError, PointAdaptError, UnknownNameError
from ..core.fields import at_least
from ..data.sets.folder import Axis, Folder
from ..io import NON_FINITE, NonFinite
from ..io.arrays import load_npz
from ..io.opening import naming
from ..ops import normalize
from .predictor import PREDICTORS, Columns, Drawing, Found, OnProgress, Predictor
from .rows import Paths, Prediction, list_files


def read_embeddings(path: Path | str, names: Sequence[str] = ()) -> tuple[tuple[str, ...], Tensor]:
    """Names and their embeddings (n, E), of length 1, from an ``.npz`` file.

    Args:
        path: with the arrays ``names`` (n,) of text and ``embeddings`` (n, E).
        names: which ones, in this order; all in the file by default.

    Raises:
        FileFormatError: the file is missing or holds something else.
        UnknownNameError: a name is not in it.
    """
    path = Path(path)
    with naming(path):
        held = load_npz(path)
    if not {"names", "embeddings"} <= held.keys():
        there = ", ".join(held) or "nothing"
        raise FileFormatError(f"{path}: needs the arrays names and embeddings; it holds {there}")
    known, rows = held["names"], held["embeddings"]
    bad = known.dtype.kind != "U" or rows.dtype.kind != "f" or rows.ndim != 2
    if bad or known.shape != rows.shape[:1] or not len(rows):
        raise FileFormatError(
            f"{path}: names must be n texts and embeddings (n, width) floats, not {known.dtype} "
            f"{known.shape} and {rows.dtype} {rows.shape}"
        )
    if not np.isfinite(rows).all() or not rows.any(axis=1).all():
        raise FileFormatError(f"{path}: an embedding is zero, or not all of it are numbers")
    at = {str(name): k for k, name in enumerate(known)}
    for name in names:
        if name not in at:
            raise UnknownNameError(f"name in {path}", name, at)
    chosen = tuple(names) or tuple(at)
    table = torch.from_numpy(rows[[at[name] for name in chosen]].astype(np.float32))
    return chosen, F.normalize(table, dim=-1)


def over_templates(embeddings: Tensor) -> Tensor:
    """(names, templates, E) embeddings of texts to one (names, E) a name, of length 1.

    Each text's is brought to length 1, then their mean, as in the published scores.
    """
    return F.normalize(F.normalize(embeddings, dim=-1).mean(dim=1), dim=-1)


@torch.no_grad()
def name_scores(net: Any, points: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines (B, n) of clouds (B, N, 3 or 6) and names, and the probabilities of pre-training.

    These are softmax(s · cosine) with the backbone's own s: how sure it is among these names.

    Raises:
        ConfigError: the backbone has no embedding of clouds, or one of another width.
    """
    if not hasattr(net, "text_space"):
        raise ConfigError(
            f"the backbone family {net.name!r} knows no texts: names alone need one such as uni3d"
        )
    if net.config.embedding != table.shape[1]:
        raise ConfigError(
            f"the names' embeddings are {table.shape[1]} wide, the backbone's are "
            f"{net.config.embedding}: take those of the text model that it was trained with"
        )
    cosines = net.embedding(net(points)) @ table.t()
    return cosines, (net.text_space.logit_scale.exp() * cosines).softmax(dim=-1)


def as_input(cloud: Any) -> Tensor:
    """One cloud (1, N, 6), z up, as Uni3D takes it: y up, in the unit sphere, with colours.

    Without colours (1, N, 3).
    """
    x, y, z = torch.from_numpy(np.asarray(cloud.points, dtype=np.float32)).unbind(dim=1)
    points = normalize(torch.stack([x, z, -y], dim=1).unsqueeze(0))
    if cloud.colors is None:
        return points
    colors = torch.from_numpy(np.asarray(cloud.colors, dtype=np.float32)).unsqueeze(0)
    return torch.cat([points, colors], dim=-1)


@PREDICTORS.register("names")
@dataclass(frozen=True, kw_only=True)
class NamedFiles(Predictor):
    """Says which of some names fits each file best, without any training.

    Attributes:
        names: the names that compete, in the words of the file of embeddings; all by default.
        embeddings: .npz file with the arrays names and embeddings, see the guide on backbones.
        points: points of a file that enter the network.
        top: how many names to list for each file.
        up: the files' axis that points up.
        nan: what to do with points that have NaN or infinite coordinates; "drop" leaves them out.
        columns: what the columns with x, y and z are called.
    """

    about: ClassVar[str] = "says which of some names fits each file best"

    names: tuple[str, ...] = ()
    embeddings: Path
    points: int = 10_000
    top: int = 3
    up: Axis = "z"
    nan: NonFinite = "error"
    columns: Columns = ()

    def files(
        self, paths: Paths, adapter: Path | str | None = None, *,
        backbone: Path | str | None = None, draw: int = 0, on_progress: OnProgress | None = None,
    ) -> Found:  # fmt: skip
        """See :meth:`Predictor.files`; there is no adapter."""
        if adapter is not None or backbone is None:
            raise ConfigError("names alone need --backbone, such as uni3d-b, and no adapter")
        at_least(self, 1, "points", "top")
        if self.nan not in NON_FINITE:
            raise UnknownNameError("value of nan", self.nan, NON_FINITE)
        from ..pretrained.load import load_backbone

        names, table = read_embeddings(self.embeddings, self.names)
        net = load_backbone(backbone).eval()
        net.config.check_points(self.points)
        rows, drawn = list_files(paths), []
        for k, row in enumerate(rows):
            if row.error is None:
                rows[k], points = self._answer(row, net, names, table)
                drawn += [(row, points)] if points is not None and len(drawn) < draw else []
            if on_progress is not None and len(rows) > 1:
                on_progress("predicting", k + 1, len(rows))
        if not drawn:
            return Found(rows)
        titles = tuple(f"{row.path.name}\n{row.label}" for row, _ in drawn)
        return Found(rows, Drawing(np.stack([points for _, points in drawn]), titles))

    def _answer(
        self, row: Prediction, net: Any, names: tuple[str, ...], table: Tensor
    ) -> tuple[Prediction, np.ndarray | None]:
        """The row with its answer and the points of the file, or with its error and None."""
        reader = Folder(
            points=self.points, up=self.up, nan=self.nan, columns=self.columns, cache="no"
        )
        try:
            cloud = reader.measured(row.path).cloud
        except PointAdaptError as error:
            return Prediction(row.path, error=str(error)), None
        _, sure = name_scores(net, as_input(cloud), table)
        best = sure[0].topk(min(self.top, len(names)))
        top = tuple(
            (names[i], float(p)) for p, i in zip(best.values, best.indices.tolist(), strict=True)
        )
        said = Prediction(row.path, top[0][0], top[0][1], top, kind="name")
        return said, np.asarray(cloud.points, dtype=np.float32)
