"""What a trained network, a forest and a linear fit of the frozen backbone say together.

Training is the same with and without the linear fit (``--task-options instant=true``), so the runs
with the forest need not be repeated: their answers are joined with those of ``instant``.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from pointadapt.adapters.protocol import Protocol, load_ready
from pointadapt.core.files import read_json, write_json
from pointadapt.inference.forward import predict_clouds
from pointadapt.inference.score import score

NETWORKS = {"stem-adapter-three": "stem-adapter-forest", "full-three": "full-forest"}
FIT = "instant"
Row = dict[str, Any]


def three_voices(found: dict[str, Row]) -> dict[str, Row]:
    """The rows of all three together, where the two that they are made of have their runs."""
    rows, fit = {}, found.get(FIT, {})
    for name, of in NETWORKS.items():
        network = found.get(of, {})
        if fit.get("runs") and len(fit["runs"]) == len(network.get("runs") or ()):
            pairs = zip(network["runs"], fit["runs"], strict=True)
            scores = [_together(Path(run), Path(other)) for run, other in pairs]
            rows[name] = {
                **{k: v for k, v in network.items() if k not in ("runs", "tuned")},
                "scores": scores, "accuracy": round(statistics.mean(scores), 4),
                "accuracy_sd": round(statistics.stdev(scores), 4) if len(scores) > 1 else None,
                "seconds": round(network["seconds"] + fit["seconds"], 2),
            }  # fmt: skip
    return rows


def _together(network: Path, fit: Path) -> float:
    """Accuracy of a network with its forest, two thirds, and a linear fit, one."""
    path = network / "three.json"
    if not path.exists():
        protocol = Protocol.of(network / "adapter")
        clouds, sums, model = protocol.load("test"), 0, None
        for folder, share in ((network, 2 / 3), (fit, 1 / 3)):
            model = load_ready(folder / "adapter")
            sums = sums + share * predict_clouds(model, clouds, protocol.points)
        write_json(path, score(model, clouds, sums))
    return read_json(path)["accuracy"]
