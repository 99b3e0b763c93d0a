"""One safetensors file of tensors: written whole or not at all, read or refused."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from .errors import CheckpointError
from .files import atomic, first_line


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
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file, so copy or make it anew: "
            f"{first_line(error)}"
        ) from error
