"""One safetensors file of tensors: written whole or not at all, read or refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import CheckpointError, PointAdaptError, first_line
from .files import atomic, load_state
from .limits import check_memory, memory_named
from .plain import shown


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """``tensors`` as one safetensors file, atomically.

    Raises:
        PointAdaptError: the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary)
        except SafetensorError as error:  # it reports a full disk so
            raise OSError(first_line(error)) from error
        temporary.chmod(mode)  # safetensors itself makes files that only their owner may read


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: it is missing or damaged.
        PointAdaptError: it is larger than the free memory.
    """
    from safetensors.torch import load_file

    with _opened(path):
        check_memory(path.stat().st_size, path)
        return load_file(path)


def read_tensors(path: Path) -> Any:
    """What a file that others wrote holds, as safetensors or as torch saves it; no code in it runs.

    Raises:
        CheckpointError: it is missing, damaged, or holds code.
        PointAdaptError: it is larger than the free memory.
    """
    return read_safetensors(path) if is_safetensors(path) else load_state(path)


def is_safetensors(path: Path) -> bool:
    """Whether it begins as such a file does (eight bytes of a length, then ``{``), or is named so.

    What begins as torch's files do is none, whatever its name.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError:
        return False
    torchs = start.startswith((b"PK\3\4", b"\x80"))
    return start[8:] == b"{" or (path.suffix == ".safetensors" and not torchs)


def stored_numbers(path: Path) -> int:
    """How many numbers a safetensors file holds, by its header alone.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    from safetensors import safe_open

    with _opened(path), safe_open(path, "pt") as file:
        return sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        with memory_named(path):
            yield
    except PointAdaptError:
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file, so copy or make it anew: "
            f"{first_line(error)}"
        ) from error


def check_numbers(tensors: Mapping[str, Tensor], source: object) -> None:
    """Refuse weights that are no finite numbers.

    Args:
        tensors: name to tensor.
        source: where they are from, for the message.

    Raises:
        CheckpointError: one holds NaN or infinity, or is of another kind than numbers.
    """
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise CheckpointError(f"{source}: tensor {shown(name)} is no plain array of numbers")
        if tensor.is_meta:
            raise CheckpointError(f"{source}: tensor {shown(name)} was saved without its numbers")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"{source}: tensor {shown(name)} says {tensor.numel():,} numbers and holds fewer"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
            raise CheckpointError(
                f"{source}: tensor {shown(name)} holds NaN or infinity, so what it was saved from "
                "had broken down: use an earlier checkpoint"
            )
