"""One ONNX network, and beside it a small file for each adapter, in onnxruntime's own form.

Adapters that were trained alike are written down as the same operators with other numbers. Those
that differ become inputs of one network, with the first adapter's as defaults, and onnxruntime
gives it those of a file (``LoraAdapter``, ``RunOptions.add_active_adapter``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError
from ..core.files import write_json
from ..core.folders import new_folder
from .export import export_file

BASE = "base.onnx"
ENDING = ".onnx_adapter"
TOLD = ("labels", "classes", "features", "inputs", "points")  # of each adapter, in adapters.json


def export_adapters(
    adapters: Mapping[str, Path], out: Path | str, *, backbone: Path | str | None = None
) -> dict[str, Any]:
    """Write ``base.onnx``, a file NAME.onnx_adapter for each adapter, and ``adapters.json``.

    Args:
        adapters: folders, by name: of one backbone, method and task, and as many labels.
        out: a folder that is not there, or empty.
        backbone: where the backbone is now, if the adapters do not know.

    Returns:
        The folder, the names of the numbers that differ, the bytes of each file, and what
        :func:`~.export.export_file` tells of each adapter.

    Raises:
        ConfigError: there are not two, or their networks are not alike.
    """
    if len(adapters) < 2:
        raise ConfigError("one network for several adapters: give at least two")
    with new_folder(out) as place:
        done, models = {}, {}
        for name, folder in adapters.items():
            done[name], models[name] = _one(folder, place / BASE, backbone)
        names = _differing(models)
        _write_base(next(iter(models.values())), names, place / BASE)
        for name, model in models.items():
            _write_adapter(model, names, place / f"{name}{ENDING}")
        told = {name: {key: each[key] for key in TOLD} for name, each in done.items()}
        write_json(place / "adapters.json", told)
        sizes = {file.name: file.stat().st_size for file in sorted(place.iterdir())}
    return {"folder": str(out), "numbers": names, "bytes": sizes, "adapters": told}


def _one(folder: Path, file: Path, backbone: Path | str | None) -> tuple[dict[str, Any], Any]:
    """What is told of an adapter, and its ONNX model, which is no longer at ``file``."""
    told = export_file(folder, file, backbone=backbone)
    import onnx

    model = onnx.load(file)
    file.unlink()
    return told, model


def _differing(models: Mapping[str, Any]) -> list[str]:
    """The initializers that are not the same in all models.

    Raises:
        ConfigError: the models differ in more than their numbers.
    """
    (first, model), *others = models.items()
    names: dict[str, None] = {}
    for other, their in others:
        if _shape(model) != _shape(their):
            raise ConfigError(
                f"{first} and {other} are different networks: one for both needs the same "
                "backbone, method, task and options, and as many labels"
            )
        pairs = zip(model.graph.initializer, their.graph.initializer, strict=True)
        names |= dict.fromkeys(a.name for a, b in pairs if a != b)
    return list(names)


def _shape(model: Any) -> tuple[list[Any], list[Any]]:
    """All of a model but its numbers."""
    nodes = [(n.op_type, list(n.input), list(n.output)) for n in model.graph.node]
    return nodes, [(i.name, i.data_type, list(i.dims)) for i in model.graph.initializer]


def _write_base(model: Any, names: list[str], file: Path) -> None:
    """The model whose initializers ``names`` may be given."""
    import onnx

    for tensor in model.graph.initializer:
        if tensor.name in names:
            free = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            model.graph.input.append(free)
    onnx.save(model, file)


def _write_adapter(model: Any, names: list[str], file: Path) -> None:
    import onnx
    import onnxruntime

    own = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    form: Any = onnxruntime.AdapterFormat()  # whose hints ask for a Path, which it refuses
    form.set_adapter_version(1)
    form.set_model_version(1)
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    form.set_parameters({name: value(own[name]) for name in names})
    form.export_adapter(str(file))
