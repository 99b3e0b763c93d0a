"""Predicting files with any adapter: one call, whatever the task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError
from ..core.fields import build
from .classify_files import answer_files
from .predictor import OnProgress, predictor_of
from .rows import Paths

if TYPE_CHECKING:
    from ..adapters.model import PointModel


def predict(
    paths: Paths, adapter: PointModel | Path | str, *, backbone: Path | str | None = None,
    cluster: str = "", on_progress: OnProgress | None = None, **options: Any,
) -> list[Any]:  # fmt: skip
    """Predict files with any adapter: classes of clouds, labels of points, or what its task says.

    A bad file is reported in its place, as the ``error`` of its row, and does not stop the others.

    Args:
        paths: files, and folders whose readable files are taken, sub-folders included.
        adapter: an adapter folder, or a loaded model of a task that predicts whole clouds.
        backbone: where the backbone is now, if the adapter folder does not know.
        cluster: address of a Ray cluster to predict on, or "local"; its nodes see the files, the
            adapter and the backbone under the same paths.
        on_progress: told what is being done, how much is done, and of how much.
        options: of what predicts for this task: those of ``pointadapt predict --adapter DIR
            --help``; for a loaded model also ``points``, how many of a cloud enter it.

    Returns:
        A row a file, in order; which class of rows depends on the task. Each has ``path``,
        ``error``, ``to_dict()`` and what was found, such as ``label`` and ``confidence``.

    Raises:
        AdapterError: the adapter folder is damaged or belongs to another backbone.
        ConfigError, UnknownNameError: an option is wrong.
    """
    if not isinstance(adapter, (str, Path)):
        if cluster:
            raise ConfigError("a cluster needs the adapter's folder, not a loaded model")
        return answer_files(paths, adapter, **options)
    cls = predictor_of(adapter)
    predictor = build(cls, options, f"predict, which {cls.about}")
    if cluster:
        from .on_ray import predict_on

        return list(
            predict_on(
                cluster, predictor, paths, adapter, backbone=backbone, on_progress=on_progress
            )
        )
    found = predictor.files(paths, adapter, backbone=backbone, on_progress=on_progress)
    return list(found.rows)
