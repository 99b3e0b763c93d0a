"""Smaller ONNX files: weights in fewer bits, computed with as before, or in whole numbers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np

Weights = Literal["fp32", "fp16", "int8"]
LEAST = 1 << 10  # numbers of a tensor that is worth the trouble


def shrink(file: Path, weights: Weights) -> None:
    """Write the weights of an ONNX file anew, in fewer bits.

    "fp16" halves the file; a runtime makes them 32 bits again when it opens it, so nothing is
    quicker. "int8" is onnxruntime's dynamic quantization of products of matrices, whose other
    factor is brought to 8 bits as well, anew for each batch.
    """
    if weights == "fp16":
        _halve(file)
    elif weights == "int8":
        _quantize(file)


def _quantize(file: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises steps that change nothing here
    try:
        quantize_dynamic(
            file, file, weight_type=QuantType.QInt8, per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm"],
        )  # fmt: skip
    finally:
        root.setLevel(level)


def _halve(file: Path) -> None:
    import onnx

    model = onnx.load(file)
    graph = model.graph
    largest = np.finfo(np.float16).max
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < LEAST:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if np.abs(values).max() < largest:
            _replace(graph, tensor, onnx.numpy_helper.from_array(values.astype(np.float16)))
    onnx.save(model, file)


def _replace(graph: Any, tensor: Any, half: Any) -> None:
    """Put ``half`` in the place of the initializer ``tensor``, with a cast of its name."""
    import onnx

    name = tensor.name
    half.name = f"{name}_half"
    tensor.CopyFrom(half)
    cast = onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT)
    graph.node.insert(0, cast)
