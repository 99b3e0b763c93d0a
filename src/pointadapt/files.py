"""Writing that leaves nothing half-written: write beside the target, then rename."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import CheckpointError, PointAdaptError


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without error.

    Raises:
        PointAdaptError: the disk is full or the folder cannot be written; the old file stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise PointAdaptError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path | str, values: Any) -> None:
    """``values`` as indented JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """What ``path`` holds.

    Raises:
        PointAdaptError: it is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise PointAdaptError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise PointAdaptError(f"{path} is not JSON: {error}") from error


def save_state(path: Path | str, state: Mapping[str, Any]) -> None:
    """A training checkpoint (``torch.save``), atomically."""
    import torch

    with atomic(path) as temporary:
        try:
            torch.save(dict(state), temporary)
        except RuntimeError as error:  # torch reports a full disk so
            raise OSError(str(error).splitlines()[0]) from error


def load_state(path: Path | str) -> dict[str, Any]:
    """A checkpoint, tensors and plain values only: no code in it can run.

    Raises:
        CheckpointError: it is missing, damaged, or holds anything but tensors and plain values.
    """
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain values, so it is not read "
            f"(it could run code): {first_line(error)}"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
