"""Smaller ONNX files: the factors of large products in fewer bits, computed with as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

Weights = Literal["fp32", "fp16", "int8"]
PRODUCTS = ("MatMul", "Gemm", "Conv")
LEAST = 1 << 14  # numbers of a factor that is worth it: those of heads are fewer, and stay exact


def shrink(file: Path | str, weights: Weights) -> None:
    """Write the factors in an ONNX file anew, in fewer bits.

    Runtimes make them 32 bits again, so that nothing is quicker. "int8" has a scale for each row or
    column. (Products of whole numbers, onnxruntime's dynamic quantization, cost accuracy:
    ``docs/decisions/weights-of-exports.md``.)
    """
    if weights == "fp32":
        return
    import onnx

    model = onnx.load(file)
    graph = model.graph
    used = {name for node in graph.node if node.op_type in PRODUCTS for name in node.input}
    for tensor in graph.initializer:
        large = tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= LEAST
        if large and tensor.name in used:
            (_halve if weights == "fp16" else _quantize)(graph, tensor)
    onnx.save(model, file)


def _halve(graph: Any, tensor: Any) -> None:
    """Put float16 in the place of an initializer, and a cast with its name."""
    import onnx

    values = onnx.numpy_helper.to_array(tensor)
    if np.abs(values).max() >= np.finfo(np.float16).max:
        return
    name = tensor.name
    tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
    cast = onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
    graph.node.insert(0, cast)


def _quantize(graph: Any, tensor: Any) -> None:
    """Put int8 in the place of an initializer, and its product with scales, with its name."""
    import onnx

    values, name = onnx.numpy_helper.to_array(tensor), tensor.name
    tries = [_rounded(values, axis) for axis in range(values.ndim)]
    axis = int(np.argmin([error for *_, error in tries]))
    whole, scale, _ = tries[axis]
    tensor.CopyFrom(onnx.numpy_helper.from_array(whole, f"{name}_int8"))
    graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}_scale"))
    inputs = [tensor.name, f"{name}_scale"]
    graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", inputs, [name], axis=axis))


def _rounded(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Whole numbers from -127 to 127, the scale of each slice along ``axis``, and the error."""
    others = tuple(k for k in range(values.ndim) if k != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / 127
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    whole = np.rint(values / scale).astype(np.int8)
    error = float(np.square(whole * scale - values).sum())
    return whole, scale.ravel(), error
