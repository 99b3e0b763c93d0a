"""A backbone's tensors on disk: one safetensors file, or shards with an index as Hugging Face's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from .errors import CheckpointError
from .files import read_json, write_json
from .tensors import read_safetensors, stored_numbers, write_safetensors

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def write_weights(folder: Path, tensors: Mapping[str, Tensor], largest: int = 0) -> None:
    """``tensors`` as ``model.safetensors``, or as ``model-00001-of-00003.safetensors`` and so on.

    Args:
        folder: where to; weights that lie there are replaced.
        tensors: name to tensor.
        largest: bytes of tensors in a file; a tensor that is larger has one of its own. 0 writes
            a single file.

    Raises:
        PointAdaptError: the disk is full or the folder cannot be written.
    """
    from huggingface_hub import split_torch_state_dict_into_shards

    if largest:
        split = split_torch_state_dict_into_shards(dict(tensors), max_shard_size=largest)
        files, metadata = split.filename_to_tensors, split.metadata
    else:
        files, metadata = {SINGLE: list(tensors)}, {}
    for name, keys in files.items():
        write_safetensors(folder / name, {key: tensors[key] for key in keys})
    if len(files) > 1:  # last: a folder without its index is no sharded one yet
        where = {key: name for name, keys in files.items() for key in keys}
        write_json(folder / INDEX, {"metadata": metadata, "weight_map": where})
    else:
        (folder / INDEX).unlink(missing_ok=True)
    for old in (folder / SINGLE, *folder.glob("model-*-of-*.safetensors")):
        if old.name not in files:
            old.unlink(missing_ok=True)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors that :func:`write_weights`, or Hugging Face's libraries, wrote to ``folder``.

    Raises:
        CheckpointError: a file is missing or damaged, or holds other tensors than its index says.
    """
    where = _index(folder)
    if where is None:
        return read_safetensors(folder / SINGLE)
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(where.values())):
        part = read_safetensors(folder / name)
        said = {key for key, file in where.items() if file == name}
        if set(part) != said:
            key = min(set(part) ^ said)
            raise CheckpointError(
                f"{folder / name} does not hold what {INDEX} says (tensor {key!r}): "
                "get the files again"
            )
        tensors.update(part)
    return tensors


def weights_numbers(folder: Path) -> int:
    """How many numbers the weights in ``folder`` hold, by the headers of their files alone.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    where = _index(folder)
    names = [SINGLE] if where is None else sorted(set(where.values()))
    return sum(stored_numbers(folder / name) for name in names)


def _index(folder: Path) -> dict[str, str] | None:
    """Tensor to file, where there are several."""
    if not (folder / INDEX).is_file():
        return None
    index = read_json(folder / INDEX)
    where = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(where, dict) or not all(_is_name(name) for name in where.values()):
        raise CheckpointError(f"{folder / INDEX} is no index of weights: it has no weight_map")
    return where


def _is_name(value: object) -> bool:
    """Whether it is a file's name and no path, which could lead out of the folder."""
    return isinstance(value, str) and 0 < len(value) < 256 and Path(value).name == value
