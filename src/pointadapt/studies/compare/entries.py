"""Which methods a board compares, and with what options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...core.config import TrainConfig, read_config, to_plain
from ...core.errors import ConfigError, UnknownNameError
from ...core.fields import build
from ...methods import METHODS, make_method

# What a method may have of its own: what its authors tune. All else is the protocol.
TUNED = ("lr", "min_lr", "warmup_epochs", "weight_decay", "clip", "drop_path", "head", "start",
         "task_options")  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A line of the board: a method under a label, with what differs from the protocol.

    Attributes:
        label: its name in the table.
        method: name of the method.
        changes: values of ``TUNED`` that are its own.
        options: the method's own options, as key=value.
    """

    label: str
    method: str
    changes: Mapping[str, Any]
    options: tuple[str, ...]

    def train_config(self, base: TrainConfig, seed: int, out: Path) -> TrainConfig:
        """The training run of this entry with ``seed``, in a folder of its own below ``out``."""
        values = {f.name: getattr(base, f.name) for f in fields(TrainConfig)}
        run = out / "runs" / self.folder / f"seed{seed}"
        values |= {"method": self.method, "options": self.options, "seed": seed, "out": run}
        return replace(TrainConfig(**{**values, "resume": False}), **self.changes)

    @property
    def folder(self) -> str:
        return re.sub(r"[^\w.+-]", "_", self.label)

    @property
    def stated(self) -> str:
        """What is its own, as a table states it: lr=0.002 rank=32."""
        plain = {k: f"{v:g}" if isinstance(v, float) else _text(v)
                 for k, v in self.changes.items()}  # fmt: skip
        return " ".join([*(f"{k}={v}" for k, v in plain.items()), *self.options])


def make_entries(
    methods: Sequence[str], options: Sequence[str], file: Path | None, base: TrainConfig
) -> list[Entry]:
    """The lines of the board, in order.

    Args:
        methods: names of methods, LABEL=METHOD, labels in ``file``, or "all"; none is all labels of
            the file, or all methods where there is no file.
        options: ``LABEL:key=value,key=value``, on top of the file's.
        file: YAML, ``label: {method: name, key: value}``; without ``method`` the label is one.
        base: the protocol, whose values are checked together with the entries'.

    Raises:
        UnknownNameError: no such method or option.
        ConfigError: anything else that is wrong.
    """
    given = _from_file(file) if file else {}
    chosen = _chosen(methods, given)
    for item in options:
        label, values = _parse(item)
        if label not in chosen:
            raise UnknownNameError("label in --method-options", label, chosen)
        method, before = chosen[label]
        chosen[label] = (method, {**before, **values})
    entries = [_entry(label, *chosen[label], base) for label in chosen]
    folders = [entry.folder for entry in entries]
    twice = next((entry.label for entry in entries if folders.count(entry.folder) > 1), None)
    if twice is not None:
        raise ConfigError(f"label {twice!r} is too like another: use letters, digits, - and _")
    return entries


def _chosen(
    methods: Sequence[str], given: Mapping[str, tuple[str, dict[str, Any]]]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label -> (method, its values)."""
    chosen: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in methods or tuple(given) or ("all",):
        label, equals, method = name.partition("=")
        if name == "all":
            chosen |= {m: (m, {}) for m in METHODS} | dict(given)
        elif label in given and not equals:
            chosen[label] = given[label]
        else:
            chosen[label] = (method if equals else label, {})
    return chosen


def _from_file(path: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    found = {}
    for label, values in read_config(path).items():
        if values is not None and not isinstance(values, dict):
            raise ConfigError(f"{path}: {label} must be followed by key: value, not by {values!r}")
        own = dict(values or {})
        found[str(label)] = (str(own.pop("method", label)), own)
    return found


def _parse(item: str) -> tuple[str, dict[str, str]]:
    """``dapt:rank=32,head=cls,patch_max``: what holds no "=" belongs to the value before it."""
    head, equals, _ = item.partition("=")
    label, colon, _ = head.rpartition(":")  # a label may hold a colon itself
    if not equals or not colon:
        raise ConfigError(f"{item!r}: write method options as dapt:rank=32,lr=2e-3")
    values: dict[str, str] = {}
    key = ""
    for part in item[len(label) + 1 :].split(","):
        if "=" in part:
            key, _, value = part.partition("=")
            values[key.strip()] = value.strip()
        else:
            values[key] += f",{part.strip()}"
    return label, values


def _entry(label: str, method: str, values: Mapping[str, Any], base: TrainConfig) -> Entry:
    """An entry whose values are checked: of the method where it has such an option."""
    own = {f.name for f in fields(make_method(method))}
    wrong = [key for key in values if key not in own and key not in TUNED]
    if wrong:
        known = {f.name for f in fields(TrainConfig)}
        if wrong[0] in known:
            raise ConfigError(
                f"{label}: {wrong[0]} is part of the protocol, the same for all methods; "
                f"a method of its own may have {', '.join(TUNED)} and its options"
            )
        raise UnknownNameError(f"option of {label}", wrong[0], own | set(TUNED))
    options = tuple(f"{k}={_text(v)}" for k, v in values.items() if k in own)
    make_method(method, {k: v for k, v in values.items() if k in own})
    changes = {k: v for k, v in values.items() if k not in own}
    checked = build(TrainConfig, {**_plain(base), **changes}, f"{label} on the board")
    return Entry(label, method, {k: getattr(checked, k) for k in changes}, options)


def _plain(base: TrainConfig) -> dict[str, Any]:
    names = {f.name for f in fields(TrainConfig)}
    return {k: v for k, v in to_plain(base).items() if k in names}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
