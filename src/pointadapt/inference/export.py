"""An adapter for other runtimes: points in, probabilities out, by ONNX, torch.export, ExecuTorch.

Cutting a cloud into patches is inside, in plain operators: the same indices as here. The number of
clouds and of points is free, but in ExecuTorch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..adapters import folder as adapter_folder
from ..adapters.model import Adapter, PointModel, told_of
from ..backbones import Backbone
from ..core.errors import (
    ConfigError,
    PointAdaptError,
    UnknownNameError,
    first_line,
    package_missing,
)
from ..core.files import atomic
from ..ops import cloud_traits, farthest_point_sample, gather_points
from . import executorch
from .onnx_weights import Weights, shrink

Target = Literal["onnx", "torch", "executorch"]
TARGETS: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2", "executorch": ".pte"}
TOLERANCE = 1e-4  # largest difference of a probability
OPSET = 18
MOST = 1 << 20  # clouds, and points of one


class Whole(nn.Module):
    """Everything between points (B, N, 3), as their file has them, and what the task says of them.

    That is (B, classes), or (B, N, labels) where points are labelled. What a head is told besides
    the points comes beside them: the class (B,) of each cloud, the features (B, N, C) of points, or
    the traits (B, 29) of clouds, since their main axes are no operator of other runtimes.
    ``picks`` of the points enter the network, farthest ones, or all of them if it is 0.
    """

    def __init__(self, model: PointModel, picks: int = 0) -> None:
        super().__init__()
        self.adapter, self.backbone, self.picks = model.adapter, model.backbone, picks
        self.frozen = model.frozen() if self.adapter.head.frozen_fit is not None else None

    @property
    def inputs(self) -> list[str]:
        """Names of what goes in."""
        return list(self.given(1, 1))

    def given(self, clouds: int, points: int) -> dict[str, Tensor]:
        """Made-up clouds, and what else goes in with them, by the names of the inputs."""
        own = self.adapter
        given = own.task.example(own.names, clouds, points)
        draw = torch.Generator().manual_seed(clouds)
        given["points"] = torch.rand(clouds, points, 3, generator=draw) * 2 - 1
        if own.head.takes_traits:
            given["traits"] = cloud_traits(given["points"])
        return given

    def forward(
        self, points: Tensor, category: Tensor | None = None, features: Tensor | None = None,
        traits: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Probabilities, or what else the adapter's task makes of its output."""
        own, points = self.adapter, points.float()
        told, seen = told_of(own, category, features, traits), own.prepared(points)
        if self.picks:
            seen = gather_points(seen, farthest_point_sample(seen, self.picks, check=False))
        out = own.head(self.backbone(seen, own.taps), seen, **told)
        return own.task.activate(own.joined(out, self._frozen, seen, traits))

    def _frozen(self) -> Backbone:
        assert self.frozen is not None  # who does not need it does not ask
        return self.frozen


def export_file(
    adapter: Path | str, out: Path | str, *, to: Target = "onnx", weights: Weights = "fp32",
    picks: bool = False, backbone: Path | str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write the adapter in ``adapter``, with its backbone, to the file ``out``.

    The program takes float32 ``points`` (B, N, 3), upright as in training, and gives
    ``probabilities`` (B, classes), or (B, N, labels) where points are labelled. Where the head is
    told more, it takes int64 ``category`` (B,), the number of each cloud's class, float32
    ``features`` (B, N, C) of the points, or float32 ``traits`` (B, 29), see
    :func:`pointadapt.ops.cloud_traits`. Training used ``points`` points a cloud, spread by farthest
    point sampling: give it as many. It is run, and compared with the adapter, from which it may
    differ where its ``weights`` have fewer bits: see :func:`.onnx_weights.shrink`.

    A program for "executorch" takes one cloud at a time, of ``points`` points, and its inputs in
    the order that is told.

    With ``picks`` the program takes as many points of a cloud as training had at hand, and picks
    those that enter the network, as predicting does. Only for adapters of whole clouds.

    Returns:
        The file, the names of the inputs, of the labels, of the classes and of the points'
        features, the number of points, the largest difference, and the log radii of the training
        clouds, where they are known.

    Raises:
        ConfigError: the adapter's method or backbone cannot be written down.
        PointAdaptError: a package is missing, or the file answers otherwise than the adapter.
    """
    if to not in get_args(Target):
        raise UnknownNameError("target", to, TARGETS)
    if weights not in get_args(Weights):
        raise UnknownNameError("weights", weights, get_args(Weights))
    if to != "onnx" and weights != "fp32":
        raise ConfigError(f"weights={weights}: only ONNX files have other weights than fp32")
    model = adapter_folder.load(adapter, backbone=backbone)
    about, own = model.adapter.about, model.adapter
    model.backbone.check_one_width("export")
    few = int(about["points"])
    at_hand = max(few, int(about["available"] or 0)) if picks else few
    whole = Whole(model, few if at_hand > few else 0).eval()
    few = at_hand
    program = _program(whole, model, few, own.method.title, to != "executorch")
    out = Path(out)
    with atomic(out) as temporary:
        file = temporary.with_suffix(TARGETS[to])
        try:
            if to == "onnx":
                _write_onnx(program, file, whole.inputs, _about(own, few))
                shrink(file, weights)
            elif to == "executorch":
                executorch.write_program(program, file, own.method.title)
            else:
                torch.export.save(program, file)
            error = _difference(file, to, whole, few, TOLERANCE if weights == "fp32" else np.inf)
            file.replace(temporary)
        finally:
            file.unlink(missing_ok=True)
    return {
        "file": str(out), "to": to, "inputs": whole.inputs,
        "labels": list(own.task.labels(own.names)), "classes": list(own.classes),
        "features": list(own.names.features), "points": few, "largest_difference": error,
        "bytes": out.stat().st_size, "sizes": own.known_sizes,
    }  # fmt: skip


def _program(whole: Whole, model: PointModel, n: int, title: str, free_sizes: bool) -> Any:
    """The forward written down, for any number of clouds and of points, or for one of n."""
    c = model.backbone.config
    least = max(c.groups, c.group_size, whole.picks) + 1
    free = {
        0: torch.export.Dim("clouds", min=1, max=MOST),
        1: torch.export.Dim("points", min=least, max=MOST),
    }
    shapes = {"points": free, "features": free, "category": {0: free[0]}, "traits": {0: free[0]}}
    try:
        with _quiet(), torch.no_grad():
            if not free_sizes:
                return torch.export.export(whole, (), whole.given(1, n), strict=False)
            return torch.export.export(
                whole, (), whole.given(3, max(n, least)), strict=False,
                dynamic_shapes={k: shapes[k] for k in whole.inputs},
            )  # fmt: skip
    except Exception as error:  # torch's tracing raises what it likes
        raise ConfigError(f"{title} cannot be exported: {first_line(error)}") from error


def _about(own: Adapter, n: int) -> dict[str, str]:
    """What the ONNX file says of itself."""
    names = {"classes": own.classes, "parts": own.names.parts, "features": own.names.features}
    return {k: "\n".join(v) for k, v in names.items() if v} | {"points": str(n)}


def _write_onnx(program: Any, file: Path, inputs: list[str], about: dict[str, str]) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise package_missing(error, "onnx") from error
    with _quiet():
        made = torch.onnx.export(
            program, (), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=inputs, output_names=["probabilities"],
        )  # fmt: skip
    assert made is not None
    proto = made.model_proto
    onnx.helper.set_model_props(proto, about)
    onnx.save(proto, file)


def _difference(file: Path, to: Target, whole: Whole, n: int, most: float = TOLERANCE) -> float:
    """The largest one between the file's answers and the adapter's, for two sizes if it takes any.

    Raises:
        PointAdaptError: it is more than ``most``, or there are answers that are no number.
    """
    run, found = _opened(file, to), []
    sizes = ((1, n), (4, n + 7))
    for clouds, points in sizes[:1] if to == "executorch" else sizes:
        given = whole.given(clouds, points)
        with torch.no_grad():
            want = whole(**given).numpy()
        found.append(np.abs(run(given) - want).max())
    worst = float(np.max(found))  # which is NaN where one is
    if not worst <= most:
        raise PointAdaptError(f"the exported file answers otherwise, by {worst:.1g}: not written")
    return worst


def _opened(file: Path, to: Target) -> Any:
    if to == "executorch":
        return executorch.opened(file)
    if to == "torch":
        module = torch.export.load(file).module()
        return lambda given: module(**given).detach().numpy()
    try:
        import onnxruntime
    except ImportError as error:
        raise package_missing(error, "onnx") from error
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, {k: v.numpy() for k, v in given.items()})[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """What torch's exporters tell of their own progress is for their makers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
