"""Adapters for runtimes and browsers that have no pointadapt, in any of the forms there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from ..core.errors import ConfigError, UnknownNameError
from ..inference.export import TARGETS, export_file
from ..inference.onnx_adapters import export_adapters
from ..inference.onnx_weights import Weights
from .shelf import Shelf
from .web import export_web

Form = Literal["onnx", "torch", "executorch", "web", "onnx-adapters"]


def export(
    adapters: Path | str | Sequence[Path | str], out: Path | str, *, to: Form = "onnx",
    ort: Path | str | None = None, weights: Weights = "fp32", backbone: Path | str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write adapters with their backbone for runtimes and browsers that have no pointadapt.

    With "onnx-adapters", onnxruntime takes a file beside the network at each run::

        session = onnxruntime.InferenceSession("shared/base.onnx")
        adapter, run = onnxruntime.LoraAdapter(), onnxruntime.RunOptions()
        adapter.Load("shared/a.onnx_adapter")
        run.add_active_adapter(adapter)
        probabilities = session.run(None, {"points": points}, run)[0]

    Args:
        adapters: an adapter folder or hf://owner/name; for "web" and "onnx-adapters" several, and
            folders of such.
        out: the file; for "web" and "onnx-adapters" a folder that is not there, or empty.
        to: "onnx", "torch" and "executorch": a file that takes points and gives probabilities, see
            :func:`pointadapt.inference.export.export_file`. "web": a page that classifies files in
            the browser, see :func:`pointadapt.serving.web.export_web`. "onnx-adapters": one
            network and a small file for each adapter, see
            :func:`pointadapt.inference.onnx_adapters.export_adapters`.
        ort: for "web", the unpacked npm package onnxruntime-web.
        weights: "fp32", or for "onnx" and "web" "fp16" or "int8".
        backbone: where the backbone is now, if the adapters do not know.

    Returns:
        What was written: see these functions.

    Raises:
        ConfigError: an adapter, its method or its backbone cannot be written in this form.
        PointAdaptError: a package is missing, or a file answers otherwise than its adapter.
    """
    given = (adapters,) if isinstance(adapters, (str, Path)) else tuple(adapters)
    _check(given, to, ort, weights)
    if to == "web":
        return export_web(given, out, ort=ort, weights=weights, backbone=backbone)
    if to == "onnx-adapters":
        return export_adapters(Shelf(given, backbone).folders(), out, backbone=backbone)
    return export_file(given[0], out, to=to, weights=weights, backbone=backbone)


def _check(given: Sequence[Path | str], to: str, ort: Any, weights: str) -> None:
    """Refuse what does not belong together, before anything is read."""
    if to not in get_args(Form):
        raise UnknownNameError("form of export", to, get_args(Form))
    if not given:
        raise ConfigError("give at least one adapter to export")
    if to in TARGETS and len(given) > 1:
        raise ConfigError(f"to={to} takes one adapter; web and onnx-adapters take more")
    if ort is not None and to != "web":
        raise ConfigError("ort is for to=web")
    if weights != "fp32" and to not in ("onnx", "web"):
        raise ConfigError(f"weights={weights} is for to=onnx and to=web")
