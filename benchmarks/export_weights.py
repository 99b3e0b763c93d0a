"""What fewer bits of an exported adapter's weights cost: size, accuracy and time.

    python benchmarks/export_weights.py ADAPTER --json FILE

The adapter must classify; its own test split is predicted by onnxruntime on one thread, from the
file that ``pointadapt export --weights`` writes, and by the adapter in torch. A minute or two.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from _sets import write_record
from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.protocol import training_config
from pointadapt.data import Clouds, load_dataset
from pointadapt.inference.export import export
from pointadapt.inference.forward import predict_clouds
from pointadapt.inference.onnx_weights import Weights

BATCH = 16
RESULTS = Path("benchmarks/results/export_weights.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
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
    rows += [measured(options.adapter, weights, clouds, exact) for weights in get_args(Weights)]
    table = Table(*rows[-1])
    for row in rows:
        table.add_row(*(str(row.get(key, "")) for key in rows[-1]))
    Console().print(table)
    write_record(options.json, {"method": about["method"], "clouds": len(clouds), "rows": rows})


def measured(adapter: Path, weights: Weights, clouds: Clouds, exact: np.ndarray) -> dict[str, Any]:
    """A line of the table, of a file that is written anew."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.onnx"
        done = export(adapter, file, weights=weights)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options)
        given = {"points": clouds.points, "traits": clouds.known_traits}
        given = {name: given[name] for name in done["inputs"]}
        began, found = time.process_time(), []
        for start in range(0, len(clouds), BATCH):
            part = {name: values[start : start + BATCH] for name, values in given.items()}
            found.append(session.run(None, part)[0])
        spent = (time.process_time() - began) / len(clouds)
    line = {"weights": weights, "megabytes": round(done["bytes"] / 1e6, 1)}
    told = scored(np.concatenate(found), clouds, exact)
    return {**line, **told, "milliseconds a cloud": round(1000 * spent, 1)}


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
