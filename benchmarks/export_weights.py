"""What fewer bits of an exported adapter's weights cost: size, accuracy and time.

    python benchmarks/export_weights.py ADAPTER --json FILE

The adapter must classify; its own test split is predicted by onnxruntime on one thread, from the
file that ``pointadapt export --weights`` writes, and by the adapter in torch; also with products of
whole numbers (onnxruntime's dynamic quantization). A minute or two.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from _measure import commit, print_table
from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.protocol import training_config
from pointadapt.core.files import write_json
from pointadapt.core.machine import describe_machine
from pointadapt.data import Clouds, load_dataset
from pointadapt.inference.export import export_file
from pointadapt.inference.forward import predict_clouds
from pointadapt.inference.onnx_weights import Weights, shrink

BATCH = 16
RESULTS = Path("benchmarks/results/export_weights.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = adapter_folder.load(options.adapter)
    about = model.adapter.about
    trained = training_config(about)
    told = dict(each.split("=", 1) for each in trained.data_options)
    data = load_dataset(trained.data, root=trained.root, points=about["available"], **told)
    clouds = data.load("test")
    exact = predict_clouds(model, clouds, about["points"]).numpy()
    rows = [{"weights": "torch, fp32", **scored(exact, clouds, exact)}]
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "fp32.onnx"
        inputs = export_file(options.adapter, plain)["inputs"]
        for weights in get_args(Weights):
            file = shutil.copy(plain, plain.with_stem(f"{weights}_weights"))
            shrink(file, weights)
            rows.append({"weights": weights, **measured(file, inputs, clouds, exact)})
        file = plain.with_stem("dynamic")
        quantize_dynamic(
            plain, file, weight_type=QuantType.QInt8, per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm"],
        )  # fmt: skip
        rows.append({"weights": "dynamic int8", **measured(file, inputs, clouds, exact)})
    print_table(f"{about['method']}, {len(clouds)} test clouds", rows)
    record = {
        "command": "python benchmarks/export_weights.py ADAPTER", "commit": commit(),
        "machine": describe_machine(), "method": about["method"], "clouds": len(clouds),
        "classes": list(model.classes), "results": rows,
    }  # fmt: skip
    write_json(options.json, record)


def measured(
    file: Path, inputs: Sequence[str], clouds: Clouds, exact: np.ndarray
) -> dict[str, Any]:
    """A line of the table."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options)
    given = {"points": clouds.points, "traits": clouds.known_traits}
    began, found = time.process_time(), []
    for start in range(0, len(clouds), BATCH):
        part = {name: given[name][start : start + BATCH] for name in inputs}
        found.append(session.run(None, part)[0])
    spent = (time.process_time() - began) / len(clouds)
    return {
        "megabytes": round(file.stat().st_size / 1e6, 1),
        **scored(np.concatenate(found), clouds, exact),
        "milliseconds a cloud": round(1000 * spent, 1),
    }


def scored(found: np.ndarray, clouds: Clouds, exact: np.ndarray) -> dict[str, Any]:
    """Accuracy, answers that changed, and how far probabilities moved."""
    best, apart = found.argmax(axis=1), np.abs(found - exact)
    return {
        "accuracy %": round(float(100 * (best == clouds.labels).mean()), 1),
        "other answers": int((best != exact.argmax(axis=1)).sum()),
        "mean difference": float(f"{apart.mean():.2g}"),
        "largest": float(f"{apart.max():.2g}"),
    }


if __name__ == "__main__":
    main()
