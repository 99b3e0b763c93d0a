"""Adapter folders: ``adapter_config.json``, ``adapter_model.safetensors``, a card.

The layout follows Hugging Face PEFT's. A folder holds what the backbone's own file does not: the
method's tensors, the head, and the backbone tensors and buffers that training moved. It names the
backbone by the sha256 of its tensors and fits no other.

A folder may be written while another process reads it. No system replaces two files at once, so the
configuration names the sha256 of the weights that it belongs to: a reader that gets the files of
two adapters reads them again, and takes no mixture.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..backbones import Backbone
from ..backbones.base import tensors_sha256
from ..core.errors import (
    AdapterError,
    CheckpointError,
    DataLayoutError,
    UnknownNameError,
)
from ..core.fields import BUNDLED, LAST_SEED, is_a
from ..core.files import atomic, read_json
from ..core.foreign_text import for_json
from ..core.plain import finite
from ..core.tensors import check_numbers, read_safetensors, write_safetensors
from ..core.version import __version__
from ..methods import METHODS, make_method
from ..pretrained.hf_hub import repository_of
from ..pretrained.load import load_backbone
from ..tasks import make_task
from .card import SIZES, card
from .model import Adapter, PointModel
from .promises import no_larger_than, numbers_of

CONFIG, WEIGHTS, CARD = "adapter_config.json", "adapter_model.safetensors", "README.md"
FORMAT = 1
DIGEST = "weights_sha256"  # key of the configuration; folders of old have none
WAITS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # seconds before a folder is read again
SIZED = 100.0  # largest logarithm of a radius: float32 has no larger numbers
INPUT = ("recipe", "grid")  # the same of a backbone over voxels; others have none
MOST_POINTS = 1 << 24  # of a cloud that enters a network
FILES = re.compile(  # what an adapter may consist of; on the Hub there may be more
    r"adapter_config\.json|adapter_model\.safetensors|"
    r"backbone/(?:config\.json|model[\w.-]*\.safetensors(?:\.index\.json)?)"
)
SHAPE = ("groups", "group_size", "heads", "sampling_rule")  # what no tensor of a backbone tells


def save_adapter(
    model: PointModel,
    folder: Path | str,
    *,
    backbone: str,
    points: int,
    results: Mapping[str, Any] | None = None,
    dataset: str = "",
    available: int | None = None,
) -> Path:
    """Write the active adapter of ``model`` to ``folder``; returns it.

    Args:
        model: what to save from.
        folder: made if missing; an older adapter in it is replaced.
        backbone: the name or folder the backbone was loaded from; a folder inside ``folder`` is
            found again wherever that is moved.
        points: points of a cloud the adapter was trained with.
        results: protocol and scores, for the card and the configuration.
        dataset: what it was trained on, for the card.
        available: points of a cloud as it was read, from which ``points`` are taken once they are
            prepared; None for ``points`` themselves.
    """
    folder, adapter, net = Path(folder), model.adapter, model.backbone
    name = _name_of(backbone, folder)
    tensors = {k: v.cpu().clone() for k, v in model.adapter_state().items()}
    config = {
        "format": FORMAT,
        "pointadapt": __version__,
        "peft_type": adapter.method.name.upper(),
        "base_model_name_or_path": name,
        "backbone": {
            "name": name,
            "family": net.name,
            "seed": net.seed,
            **{key: getattr(net.config, key) for key in _shape_of(net)},
            "sha256": net.fingerprint,
        },
        "method": adapter.method.name,
        "method_options": adapter.method.to_dict(),
        "task": adapter.task.name,
        "task_options": asdict(adapter.task),
        "head_inputs": list(adapter.head_inputs),
        "classes": list(adapter.classes),
        "parts": list(adapter.names.parts),
        "features": list(adapter.names.features),
        "points": points,
        "available": available or points,
        "normalise": adapter.normalise,
        **({SIZES: list(adapter.sizes)} if adapter.sizes else {}),
        "dataset": dataset,
        "results": dict(results or {}),
    }
    written, about = adapter.method.to_file(adapter.taps, tensors, config)
    config[DIGEST] = tensors_sha256(written)
    with atomic(folder / CONFIG) as temporary:
        temporary.write_text(for_json(finite(about)) + "\n", encoding="utf-8")
        write_safetensors(folder / WEIGHTS, written)  # one rename at once after the other
    with atomic(folder / CARD) as temporary:
        text = card(config, (folder / WEIGHTS).stat().st_size)
        temporary.write_text(text, encoding="utf-8")
    return folder


def located(folder: Path | str) -> Path:
    """``folder`` itself, or that of an adapter on the Hugging Face Hub: "hf://owner/name".

    Raises:
        FetchError: it cannot be had.
        AdapterError: it is no adapter of ours.
    """
    if (repository := repository_of(folder)) is None:
        return Path(folder)
    from ..pretrained.hub_folder import here  # what downloads is not needed otherwise

    return here(repository, FILES, CONFIG, _config_in)


def read_adapter_config(folder: Path | str) -> dict[str, Any]:
    """What an adapter folder says of itself; see :func:`located`.

    Raises:
        AdapterError: the folder is missing or holds no adapter of a format we know.
    """
    return _config_in(located(folder))


def _config_in(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG).is_file():
        what = "is no adapter folder: it has no " + CONFIG if folder.exists() else "does not exist"
        raise AdapterError(f"{folder} {what}; pass the folder that training wrote")
    config = read_json(folder / CONFIG)
    if isinstance(config, dict) and "peft_type" in config and not config.keys() & _NEEDED.keys():
        config = _inside_peft(config, folder)
    _check_keys(config, _NEEDED, folder)
    _check_keys(config["backbone"], _NEEDED_OF_BACKBONE, folder)
    _check_keys(config, {k: v for k, v in _ONCE_ABSENT.items() if k in config}, folder)
    config = {"available": _once_available(config), "normalise": True, **config}  # once absent
    _check_keys(config, {"available": int}, folder)
    _check_range(config["backbone"], "seed", LAST_SEED, folder)
    for key in ("points", "available"):
        _check_range(config, key, MOST_POINTS, folder)
    if config["format"] > FORMAT:
        raise AdapterError(
            f"{folder} has adapter format {config['format']}, but pointadapt {__version__} reads "
            f"up to {FORMAT}: upgrade pointadapt"
        )
    return config


@dataclass(frozen=True)
class Saved:
    """An adapter folder as one whole.

    Attributes:
        folder: where it lies.
        config: what it says of itself.
        tensors: its weights, under the names of the file.
    """

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]


def read_adapter(folder: Path | str) -> Saved:
    """An adapter folder's configuration and the weights that belong to it; see :func:`located`.

    Raises:
        AdapterError: it is damaged, or holds the files of two adapters also after a second.
    """
    folder = located(folder)
    for wait in (*WAITS, None):
        saved = Saved(folder, _config_in(folder), _tensors(folder))
        if saved.config.get(DIGEST) in (None, tensors_sha256(saved.tensors)):
            return saved
        if wait is not None:
            time.sleep(wait)
    raise AdapterError(
        f"{folder}: {WEIGHTS} is not what {CONFIG} was written with (other sha256): an adapter is "
        "being written over it again and again, or was copied or written by half; get it anew"
    )


def load(
    folder: Path | str, *, backbone: str | Path | Backbone | None = None, name: str = "default"
) -> PointModel:
    """A model in evaluation mode from an adapter folder; ``model.adapter.about`` is what it says.

    Args:
        folder: what :func:`save_adapter` wrote, or an adapter on the Hugging Face Hub,
            "hf://owner/name" or "hf://owner/name@revision".
        backbone: where the backbone is now, or a loaded one that no other model uses (for a
            second adapter on it, see :func:`load_into`); by default where it was at training.
        name: what the adapter is called in the model.

    Raises:
        AdapterError: the folder is damaged, or the adapter was made for another backbone.
        FetchError: it cannot be had from the Hub.
    """
    saved = read_adapter(folder)
    net = _backbone(saved.config, backbone, saved.folder)
    model = PointModel(net, _adapter(saved.config, net, saved.folder), name)
    model.load_adapter_state(_weights(saved, model.adapter), str(folder))
    return model.eval()


def load_into(model: PointModel, folder: Path | str, name: str) -> PointModel:
    """Add the adapter in ``folder`` to ``model`` under ``name`` and use it; no backbone is read.

    Raises:
        AdapterError: as :func:`load`; the model is left as it was.
    """
    saved = read_adapter(folder)
    _check_fits(saved.config, model.backbone, saved.folder)
    adapter = _adapter(saved.config, model.backbone, saved.folder)
    model.add(name, adapter, _weights(saved, adapter), str(folder))
    return model.use(name)


def _name_of(backbone: str, folder: Path) -> str:
    """How an adapter names its backbone: one inside its own folder by a relative path."""
    path = Path(backbone)
    if backbone in BUNDLED or not path.exists():
        return backbone
    path, folder = path.resolve(), folder.resolve()
    return f"./{path.relative_to(folder).as_posix()}" if folder in path.parents else str(path)


_NEEDED = {
    "format": int, "backbone": dict, "method": str, "method_options": dict, "task": str,
    "task_options": dict, "head_inputs": list[str], "classes": list[str], "points": int,
}  # fmt: skip
_ONCE_ABSENT = {
    "parts": list[str], "features": list[str], "results": dict, "dataset": str, "available": int,
    "normalise": bool, SIZES: list[float],
}  # fmt: skip
_NEEDED_OF_BACKBONE = {
    "name": str, "seed": int, "sha256": str, "groups": int, "group_size": int, "heads": int,
    "sampling_rule": str,
}  # fmt: skip


def _check_keys(values: Any, needed: Mapping[str, Any], folder: Path) -> None:
    for key, kind in needed.items():
        if not isinstance(values, dict) or not is_a(values.get(key), kind):
            what = kind.__name__ if isinstance(kind, type) else str(kind)
            raise AdapterError(f"{folder / CONFIG}: key {key!r} is missing or no {what}")


def _check_range(values: Mapping[str, Any], key: str, last: int, folder: Path) -> None:
    if not 0 <= values.get(key, 0) <= last:
        raise AdapterError(f"{folder / CONFIG}: {key} must be 0 to {last}, not {values[key]}")


def _once_available(config: Mapping[str, Any]) -> Any:
    """``available`` of an adapter that does not say it: of its training run, or its ``points``."""
    results = config.get("results")
    run = results.get("config") if isinstance(results, Mapping) else None
    stated = run.get("available") if isinstance(run, Mapping) else None
    return stated or config["points"]


def _inside_peft(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Our configuration out of peft's, where :mod:`pointadapt.methods.hf_peft.method` puts it."""
    mapping = config.get("auto_mapping")
    ours = mapping.get("pointadapt") if isinstance(mapping, dict) else None
    if not isinstance(ours, dict):
        raise AdapterError(
            f"{folder} was written by peft itself, without a head: "
            "open it with pointadapt.adapters.hf_peft.from_peft"
        )
    return ours


def _tensors(folder: Path) -> dict[str, Tensor]:
    try:
        return read_safetensors(folder / WEIGHTS)
    except CheckpointError as error:
        raise AdapterError(str(error)) from error


def _weights(saved: Saved, adapter: Adapter) -> dict[str, Tensor]:
    try:
        tensors = adapter.method.from_file(adapter.taps, saved.tensors)
        check_numbers(tensors, saved.folder / WEIGHTS)
        return tensors
    except CheckpointError as error:
        raise AdapterError(str(error)) from error


def _adapter(config: dict[str, Any], net: Backbone, folder: Path) -> Adapter:
    try:
        name, options = config["method"], config["method_options"]
        method = make_method(name, {**METHODS[name].formerly, **options})
        task = make_task(config["task"], config["task_options"])
        parts, features = (config.get(key, ()) for key in ("parts", "features"))  # once absent
        task.names(config["classes"], parts, features)
    except (UnknownNameError, DataLayoutError) as error:
        raise AdapterError(f"{folder / CONFIG}: {error}") from error
    names = config["classes"], config["head_inputs"], parts, features
    besides = method.scratch and method.scratch * numbers_of(net)
    with no_larger_than(folder, (CONFIG, WEIGHTS), config, besides):
        new = Adapter(net, method, task, *names, config["normalise"])
    new.about, new.sizes = config, _sizes(config, folder)
    return new


def _sizes(config: Mapping[str, Any], folder: Path) -> tuple[float, float] | None:
    if SIZES not in config:
        return None
    known = config[SIZES]
    if len(known) != 2 or not -SIZED <= known[0] <= known[1] <= SIZED:
        raise AdapterError(f"{folder / CONFIG}: {SIZES} must be two numbers, the smaller one first")
    return known[0], known[1]


def _backbone(
    config: dict[str, Any], backbone: str | Path | Backbone | None, folder: Path
) -> Backbone:
    if isinstance(backbone, Backbone):
        net = backbone
        if net.sha256() != net.fingerprint:
            raise AdapterError(
                "this backbone's tensors have been changed, as training does: load it anew, or add "
                "the adapter to its model with load_into"
            )
    else:
        name = backbone if backbone is not None else _stated(config, folder)
        changes = {k: config["backbone"][k] for k in ("groups", "group_size")}
        try:
            net = load_backbone(name, seed=config["backbone"]["seed"], **changes)
        except UnknownNameError as error:
            raise AdapterError(
                f"{folder} needs the backbone {name!r}, which is not here: pass --backbone DIR"
            ) from error
    _check_fits(config, net, folder)
    return net


def _stated(config: dict[str, Any], folder: Path) -> str:
    name = config["backbone"]["name"]
    if "://" in name:  # a stranger's adapter must not choose what this machine connects to
        raise AdapterError(f"{folder} was trained on the backbone {name}: pass --backbone {name}")
    return str(folder / name) if name.startswith("./") else name


def _check_fits(config: dict[str, Any], net: Backbone, folder: Path) -> None:
    needs = config["backbone"]
    if needs["sha256"] != net.fingerprint:
        raise AdapterError(
            f"{folder} was made for the backbone {needs['name']} (sha256 {needs['sha256'][:12]}…), "
            f"not for this one (sha256 {net.fingerprint[:12]}…): pass --backbone with the right one"
        )
    for key in _shape_of(net):
        if needs.get(key) != getattr(net.config, key):
            raise AdapterError(
                f"{folder} needs {key}={needs.get(key)}, but this backbone was built with "
                f"{getattr(net.config, key)}"
            )


def _shape_of(net: Backbone) -> tuple[str, ...]:
    """What of a backbone's configuration no tensor tells."""
    return (*SHAPE, *(key for key in INPUT if hasattr(net.config, key)))
