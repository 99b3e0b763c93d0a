"""The tensors of a file that others wrote, whatever they are wrapped in.

It is read with ``weights_only=True``, or as safetensors: no code in it can run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..backbones.published.torch_pointcloud import official
from ..core.errors import CheckpointError
from ..core.plain import shown
from ..core.tensors import read_tensors

CONTAINERS = (
    "base_model", "model", "state_dict", "model_state_dict", "net", "network", "module", "weights",
)  # fmt: skip
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "base_model.")
TRAINING = ("optim", "sched", "lr_", "scaler", "ema")  # beside the model
DEEPEST = 8  # dictionaries in dictionaries


def read_published(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a published file under their official names.

    Dictionaries around them (``model``, ``state_dict`` and such, one in another) and what wrappers
    put before all names (``module.``, ``_orig_mod.``, ``model.``) are taken away.

    Raises:
        CheckpointError: it is missing, damaged, holds code, no tensors, or two under one name.
    """
    path = Path(path)
    state = read_tensors(path)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds no dictionary of tensors, but {type(state).__name__}")
    tensors: dict[str, Tensor] = {}
    for key, value in _flat(_inside(state)):
        name = _unwrapped(key)
        if tensors.get(name, value) is not value:
            raise CheckpointError(
                f"{path} holds two models: {name!r} is there twice; save the tensors of one alone"
            )
        tensors[name] = value
    if not tensors:
        keys = shown([str(key) for key in list(state)[:5]])
        raise CheckpointError(f"{path} holds no tensors; its keys are {keys}")
    return official(tensors)


def _inside(state: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The dictionary of the model, out of those around it."""
    for _ in range(DEEPEST):
        inner = {key: value for key, value in state.items() if _is_tree(value)}
        model = {k: v for k, v in inner.items() if not str(k).startswith(TRAINING)} or inner
        named = [key for key in CONTAINERS if key in model]
        bare = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        if named:
            state = model[named[0]]
        elif len(model) == 1 and not bare:
            state = next(iter(model.values()))
        else:
            return {**bare, **model}
    return state


def _is_tree(value: Any) -> bool:
    return isinstance(value, dict) and any(True for _ in _flat(value))


def _flat(state: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    """Dotted name and tensor; a dictionary that stands in two places is looked at once."""
    seen: set[int] = set()

    def walk(values: Mapping[Any, Any], before: str, depth: int) -> Iterator[tuple[str, Tensor]]:
        if id(values) in seen or depth > DEEPEST:
            return
        seen.add(id(values))
        for key, value in values.items():
            if isinstance(value, Tensor):
                yield f"{before}{key}", value
            elif isinstance(value, dict):
                yield from walk(value, f"{before}{key}.", depth + 1)

    yield from walk(state, "", 0)


def _unwrapped(key: str) -> str:
    while True:
        wrapper = next((one for one in WRAPPERS if key.startswith(one)), None)
        if wrapper is None:
            return key
        key = key.removeprefix(wrapper)
