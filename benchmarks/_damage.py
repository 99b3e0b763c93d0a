"""Changes of valid inputs: of bytes, of plain values in JSON and YAML, of tensors."""

from __future__ import annotations

import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

Draw = random.Random
DEEP = 100_000


VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 10**6, 10**7, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**30,
    0.5, -0.0, 1e308, 5e-324, "", "x", "0", "12", "1e9", "true", "nan", "inf", "../../etc/passwd",
    "hf://owner/repo/file", "https://example.org/x", "a" * 100_000, "\ud800", "\udfff\ud800",
    "a\0b", "\x1b[31mred", "=1+1", "\u202egnp.exe", [], [[]], {}, [1, 2, 3], ["a"], [None],
    {"a": 1}, {"": None}, [{"b": [1]}], ["chair"] * 1000, [1e309], list(range(3000)),
)  # fmt: skip


def paths_in(values: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value inside ``values``."""
    if isinstance(values, dict):
        inner = [p for key, value in values.items() for p in paths_in(value, (*here, key))]
    elif isinstance(values, list):
        inner = [p for i, value in enumerate(values) for p in paths_in(value, (*here, i))]
    else:
        inner = []
    return [here, *inner] if here else inner


def changed(values: Any, draw: Draw) -> tuple[Any, str]:
    """``values`` with one of them replaced, removed, moved or doubled, and what was done."""
    values = json.loads(json.dumps(values))
    path = draw.choice(paths_in(values))
    holder = values
    for key in path[:-1]:
        holder = holder[key]
    last, name = path[-1], "/".join(map(str, path))
    way = draw.choice(("replace",) * 6 + ("remove", "wrap", "rename", "swap"))
    if way == "remove":
        del holder[last]
    elif way == "wrap":
        holder[last] = [holder[last]] if draw.random() < 0.5 else {"a": holder[last]}
    elif way == "rename" and isinstance(holder, dict):
        holder[f"{last}x"] = holder.pop(last)
    elif way == "swap":
        other = draw.choice(paths_in(values))
        holder[last] = _at(values, other) if path not in (other, other[: len(path)]) else None
    else:
        value = draw.choice(VALUES)
        holder[last] = value
        return values, f"{name} = {str(value)[:40]!r}"
    return values, f"{way} {name}"


def _at(values: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        values = values[key]
    return json.loads(json.dumps(values))


def damaged(raw: bytes, draw: Draw) -> tuple[bytes, str]:
    """Bytes with a part cut, turned, doubled or put before."""
    ways: dict[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "cut": lambda: raw[: draw.randrange(len(raw) or 1)],
        "zeros": lambda: _over(raw, bytes(draw.randrange(1, 200)), draw),
        "noise": lambda: _over(raw, draw.randbytes(draw.randrange(1, 40)), draw),
        "bits": lambda: _flipped(raw, draw),
        "BOM": lambda: b"\xef\xbb\xbf" + raw,
        "UTF-16": lambda: raw.decode("latin-1").encode("utf-16"),
        "twice": lambda: raw + raw,
        "no UTF-8": lambda: raw + b"\xff\xfe",
        "other": lambda: (
            draw.choice((b"PK\3\4", b"\x89PNG\r\n", b"%PDF-1.7", b"\x1f\x8b\x08")) + raw
        ),
    }
    way = draw.choice(list(ways))
    return ways[way](), f"bytes: {way}"


def _over(raw: bytes, part: bytes, draw: Draw) -> bytes:
    at = draw.randrange(len(raw) or 1)
    return raw[:at] + part + raw[at + len(part) :]


def _flipped(raw: bytes, draw: Draw) -> bytes:
    own = bytearray(raw)
    for _ in range(draw.randrange(1, 20)):
        if own:
            own[draw.randrange(len(own))] ^= 1 << draw.randrange(8)
    return bytes(own)


JSON_TEXTS = {
    "deep lists": "[" * DEEP,
    "deep objects": '{"a":' * DEEP,
    "deep and closed": "[" * DEEP + "]" * DEEP,
    "NaN": '{"format": NaN, "family": NaN}',
    "a number": "12",
    "a string": '"x"',
    "null": "null",
    "many digits": '{"format": ' + "9" * 5000 + "}",
    "many objects": "[" + "{}," * 200_000 + "{}]",
}


def change_json(path: Path, draw: Draw) -> str:
    if draw.random() < 0.12:
        name = draw.choice(list(JSON_TEXTS))
        path.write_text(JSON_TEXTS[name])
        return f"{path.name}: {name}"
    if draw.random() < 0.15:
        raw, what = damaged(path.read_bytes(), draw)
        path.write_bytes(raw)
        return f"{path.name}: {what}"
    values, what = changed(json.loads(path.read_text()), draw)
    path.write_text(json.dumps(values))  # surrogates as \ud800, infinity as Infinity
    return f"{path.name}: {what}"


def change_tensors(tensors: dict[str, Any], draw: Draw) -> tuple[dict[str, Any], str]:
    """One tensor replaced, renamed or removed."""
    key = draw.choice(list(tensors))
    value = tensors[key]
    ways: dict[str, Callable[[], Any]] = {
        "NaN": lambda: torch.full_like(value.float(), torch.nan),
        "infinity": lambda: torch.full_like(value.float(), torch.inf),
        "whole numbers": lambda: value.to(torch.int8),
        "float64": value.double,
        "bfloat16": value.bfloat16,
        "truth values": value.bool,
        "an axis more": lambda: value.unsqueeze(0),
        "flat": value.flatten,
        "a number": lambda: torch.tensor(1.0),
        "nothing": lambda: torch.zeros(0),
        "no columns": lambda: torch.zeros(10**6, 0),
        "twice as much": lambda: torch.cat([value.float().flatten()] * 2),
    }
    way = draw.choice([*ways, "removed", "renamed", "deep", "alone"])
    rest = {k: v for k, v in tensors.items() if k != key}
    if way == "alone":
        return {key: value}, f"{key} alone"
    if way == "deep":
        return rest | {key.replace(".0.", f".{10 ** draw.randrange(1, 12)}."): value}, f"{key} deep"
    if way in ("removed", "renamed"):
        return rest | ({} if way == "removed" else {f"{key}x": value}), f"{key} {way}"
    return rest | {key: ways[way]().contiguous()}, f"{key}: {way}"


def change_safetensors(path: Path, draw: Draw) -> str:
    way = draw.choice(("tensors", "tensors", "bytes", "header", "length", "folder", "gone"))
    if way == "tensors":
        tensors, what = change_tensors(load_file(path), draw)
        save_file(tensors, path)
        return f"{path.name}: {what}"
    if way == "bytes":
        raw, what = damaged(path.read_bytes(), draw)
        path.write_bytes(raw)
        return f"{path.name}: {what}"
    raw = path.read_bytes()
    path.unlink()
    if way == "folder":
        path.mkdir()
    elif way == "length":
        path.write_bytes(struct.pack("<Q", draw.choice((0, 1, 2**31, 2**40, 2**63))) + raw[8:])
    elif way == "header":
        length = struct.unpack("<Q", raw[:8])[0]
        header, what = changed(json.loads(raw[8 : 8 + length]), draw)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
        return f"{path.name}: header {what}"
    return f"{path.name}: {way}"


class Code:
    """Code in a pickle; harmless if it should run."""

    def __reduce__(self) -> Any:
        return (print, ("ran",))


def change_checkpoint(path: Path, draw: Draw) -> str:
    if path.suffix == ".safetensors":
        return change_safetensors(path, draw)
    if draw.random() < 0.25:
        raw, what = damaged(path.read_bytes(), draw)
        path.write_bytes(raw)
        return f"{path.name}: {what}"
    old = path.name == "old.pth"
    state, what = _other_state(torch.load(path, weights_only=True)["base_model"], draw)
    torch.save(state, path, _use_new_zipfile_serialization=not old)
    if what == "packed" and not old:
        _pack(path)
    return f"{path.name}: {what}"


def _other_state(tensors: dict[str, Any], draw: Draw) -> tuple[Any, str]:
    key = draw.choice(list(tensors))
    giant = torch.zeros(1).expand(10**9)
    nested: Any = tensors
    for _ in range(150):
        nested = {"model": nested}
    many: Any = tensors
    for _ in range(60):
        many = {"a": many, "b": many}
    states: dict[str, Any] = {
        "code": {"base_model": tensors, "extra": Code()},
        "a list": [tensors],
        "no tensors": {"base_model": {}},
        "names that are numbers": {i: v for i, v in enumerate(tensors.values())},
        "names that are None": {None: tensors[key]},
        "nested 150 deep": nested,
        "shared 60 deep": many,
        "a giant of one number": {"base_model": tensors | {key: giant}},
        "sparse": {"base_model": tensors | {key: torch.eye(4).to_sparse()}},
        "complex": {"base_model": tensors | {key: torch.ones(4, dtype=torch.complex64)}},
        "quantised": {"base_model": tensors | {key: _quantised()}},
        "on the meta device": {"base_model": tensors | {key: torch.empty(10**9, device="meta")}},
        "a giant vector": {"base_model": tensors | {key: torch.zeros(3 * 10**6)}},
        "a long name": {"base_model": tensors | {"x" * 10**6: tensors[key]}},
        "a surrogate": {"base_model": tensors | {"\ud800": tensors[key]}},
        "packed": {"base_model": tensors | {key: torch.zeros(10**7)}},
        "text": {"base_model": tensors | {key: "text"}},
    }  # fmt: skip
    way = draw.choice([*states, *["tensors"] * 12])
    if way != "tensors":
        return states[way], way
    other, what = change_tensors(tensors, draw)
    return {"base_model": other}, what


def _quantised() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to drop them; their files stay
        return torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)


def _pack(path: Path) -> None:
    with zipfile.ZipFile(path) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, raw in parts.items():
            packed.writestr(name, raw)


def _laughs(depth: int) -> str:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth)]
    return "\n".join(lines)


YAML_TEXTS = {
    "aliases of aliases": _laughs(12),
    "aliases as options": _laughs(9) + "\noptions: *a8\n",
    "an alias of itself": "options: &a [*a]",
    "deep lists": "a: " + "[" * DEEP,
    "deep lists, closed": "a: " + "[" * DEEP + "]" * DEEP,
    "deep blocks": "\n".join(" " * i + "a:" for i in range(1500)),
    "a Python object": "lr: !!python/object/apply:os.system ['true']",
    "a date": "lr: 2020-01-01",
    "a broken date": "lr: !!timestamp x",
    "binary": "backbone: !!binary aGFsbG8=",
    "a set": "options: !!set {a, b}",
    "a list as a key": "? [1, 2]\n: 3",
    "many digits": "seed: " + "9" * 5000,
    "NaN": "lr: .nan",
    "infinity": "lr: .inf",
    "seed 2^64": f"seed: {2**64}",
    "two documents": "lr: 1\n---\nlr: 2",
    "a surrogate": 'backbone: "\\ud800"',
    "a NUL": 'root: "a\\0b"',
    "tabs": "\tlr: 1",
    "a broken float": "lr: !!float x",
    "a broken int": 'seed: !!int ""',
    "long": "# " + "x" * 10**6 + "\nlr: 0.1",
    "many keys": "\n".join(f"k{i}: 1" for i in range(30_000)),
    "merge of nothing": "<<: 3",
    "an unknown tag": "lr: !mine 3",
}


def change_yaml(path: Path, draw: Draw) -> str:
    if draw.random() < 0.35:
        name = draw.choice(list(YAML_TEXTS))
        path.write_text(YAML_TEXTS[name])
        return f"{path.name}: {name}"
    if draw.random() < 0.15:
        raw, what = damaged(path.read_bytes(), draw)
        path.write_bytes(raw)
        return f"{path.name}: {what}"
    values, what = changed(yaml.safe_load(path.read_text()), draw)
    path.write_text(yaml.safe_dump(values, allow_unicode=False))
    return f"{path.name}: {what}"
