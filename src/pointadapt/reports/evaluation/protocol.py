"""What a score was measured on, so that it can be repeated."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...adapters import folder as adapter_folder
from ...adapters.model import PointModel
from ...adapters.protocol import Protocol
from ...core.machine import describe_machine
from ...core.version import __version__
from ...tasks.metrics import parameter_counts


def protocol_facts(
    folder: Path | str, model: PointModel, protocol: Protocol, **settings: Any
) -> dict[str, Any]:
    """Data, adapter, backbone, versions and machine as plain values.

    Args:
        folder: the adapter's.
        model: loaded from it.
        protocol: what it is scored on.
        settings: what else matters: split, votes, precision, clouds, seconds.
    """
    adapter = model.adapter
    config = adapter.about or adapter_folder.read_adapter_config(folder)
    trainable, total = parameter_counts(model)
    trained = config.get("results", {})
    training = {k: trained["protocol"][k] for k in _TRAINING if k in trained.get("protocol", {})}
    return {
        "data": protocol.data,
        "title": protocol.dataset.title(),
        "data_options": {k: _plain(v) for k, v in protocol.options.items()},
        "points": protocol.points,
        "normalised": protocol.normalise,
        **settings,
        "adapter": str(folder),
        "adapter_bytes": (adapter_folder.located(folder) / adapter_folder.WEIGHTS).stat().st_size,
        "method": adapter.method.name,
        "method_options": adapter.method.to_dict(),
        "task": adapter.task.name,
        "head_inputs": list(adapter.head_inputs),
        "backbone": config["backbone"]["name"],
        "backbone_sha256": config["backbone"]["sha256"],
        "trainable_parameters": trainable,
        "total_parameters": total,
        "training": training,
        "pointadapt": __version__,
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
    }


_TRAINING = (
    "selection", "selected_epoch", "epochs", "seed", "augmentation", "train_clouds",
)  # fmt: skip


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


def _commit() -> str:
    """The commit of the code that runs, where it lies in its own git work tree; else empty."""
    here = Path(__file__).resolve().parents[2]
    if not (here.parents[2] / ".git").exists():  # installed, maybe inside another project's tree
        return ""
    run = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
