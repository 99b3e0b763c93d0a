"""What an adapter's configuration promises, held against the weights beside it.

A configuration of a few bytes may ask for modules of a terabyte (``rank: 10000000``). The weights
are read before any is made, and what they cannot fill is not begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from ..core.errors import AdapterError, CheckpointError
from ..core.fields import is_a
from ..core.limits import TooLargeError, Within, room_for
from ..core.plain import shown
from ..core.tensors import stored_numbers


@contextmanager
def no_larger_than(
    folder: Path, names: tuple[str, str], config: Mapping[str, Any], besides: int
) -> Iterator[None]:
    """Inside this block modules are made for an adapter, if its weights may fill them.

    Args:
        folder: of the adapter.
        names: of its configuration and its weights.
        config: what it says of itself.
        besides: how many numbers are made besides, and thrown away.

    Raises:
        AdapterError: the configuration is of an adapter that is larger by far.
    """
    told, weights = names
    stored = _stored(folder / weights)
    try:
        with Within(room_for(stored) + besides):
            yield
    except TooLargeError as error:
        raise AdapterError(
            f"{folder}: {weights} holds {stored:,} numbers, but {told} is of an adapter that is "
            f"larger by far ({_largest(config)}): the two do not belong together"
        ) from error


def _stored(path: Path) -> int:
    try:
        return stored_numbers(path)
    except CheckpointError as error:
        raise AdapterError(str(error)) from error


def numbers_of(module: nn.Module) -> int:
    """How many numbers a module holds."""
    return sum(value.numel() for value in module.state_dict().values())


def _largest(config: Mapping[str, Any]) -> str:
    options = {**config["method_options"], **config["task_options"]}
    if not options:
        return "with no options"
    name = max(options, key=lambda key: _size(options[key]))
    return f"with {name}={shown(options[name])}"


def _size(value: Any) -> float:
    numbers = [one for one in (value if isinstance(value, list) else [value]) if is_a(one, int)]
    return max(numbers, default=-1)
