"""Pickles of numpy arrays, read without running anything that is in them.

A pickle names the functions that rebuild its objects. Here a name is never imported: the few that
numpy arrays use are looked up in a table of harmless stand-ins, and any other name is refused.
Types are restricted to numbers and text too, since an array of objects, or a type with a forged
layout, could make numpy follow pointers that come from the file.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import FileFormatError
from .files import existing

PLAIN_KINDS = "biufSU"  # booleans, whole and real numbers, bytes, text


class _Dtype:
    """Stands in for ``numpy.dtype``: a type given by its code and byte order, and nothing else."""

    def __init__(self, code: str) -> None:
        self.plain = np.dtype(str(code))
        if self.plain.kind not in PLAIN_KINDS:
            raise pickle.UnpicklingError(f"an array of type {str(code)!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, order, *layout = state
        if any(part is not None for part in layout[:3]):  # subarray, names, fields
            raise pickle.UnpicklingError("an array with fields")
        self.plain = self.plain.newbyteorder(order)


class _Array(np.ndarray):
    """An array whose contents follow, as bytes of a plain type."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:  # type: ignore[override]
        _version, shape, dtype, fortran, raw = state
        # Numpy multiplies the sizes without asking for their signs.
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            raise pickle.UnpicklingError(f"an array of shape {shape}")
        super().__setstate__((1, shape, dtype.plain, bool(fortran), _encode(raw)))  # type: ignore[misc]


def _encode(text: bytes | bytearray | str, _codec: str = "latin1") -> bytes:
    """Bytes, which protocols below 3 write as text, one character a byte."""
    return text.encode("latin1") if isinstance(text, str) else bytes(text)


def _reconstruct(*_: Any) -> np.ndarray:
    return _Array((0,))


def _frombuffer(raw: Any, dtype: _Dtype, shape: Any, order: str, axes: Any = None) -> np.ndarray:
    array = np.frombuffer(raw, dtype.plain)
    if order == "K":
        return array.reshape(shape).transpose(axes)
    return array.reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: _Dtype, raw: bytes | str) -> Any:
    return np.frombuffer(_encode(raw), dtype.plain, count=1)[0]


class _Callable:
    """What a pickle may call, but not alter."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function that is to be altered")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,  # only ever an argument of _reconstruct, which does not look at it
    ("numpy", "dtype"): _Callable(lambda code, *_: _Dtype(code)),
    ("_codecs", "encode"): _Callable(_encode),
    ("__builtin__", "bytes"): _Callable(lambda: b""),  # protocols below 3, for no bytes
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _Callable(_reconstruct)
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _Callable(_scalar)
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _Callable(_frombuffer)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _ADMITTED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"the global {module_name}.{global_name}") from None


def _plain(value: Any) -> Any:
    """``value`` with ordinary arrays in place of :class:`_Array`."""
    if isinstance(value, _Array):
        return value.view(np.ndarray)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value


def load_pickle(path: Path) -> Any:
    """The lists, tuples, dicts, numbers, text and numpy arrays in the pickle at ``path``.

    Args:
        path: a pickle of any protocol, written with numpy 1 or 2.

    Raises:
        DataLayoutError: there is no such file.
        FileFormatError: the file is damaged, or asks for anything else; none of it was run.
    """
    existing(path)
    try:
        with path.open("rb") as file:
            return _plain(_ArraysOnly(file, encoding="latin1").load())
    except Exception as error:  # damaged pickles raise almost anything
        what = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(
            f"{path}: not a pickle of numpy arrays alone, so it is refused and nothing in it was "
            f"run; the trouble is {what}"
        ) from error
