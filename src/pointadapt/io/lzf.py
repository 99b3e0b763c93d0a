"""LZF, the compression of PCD's ``binary_compressed``."""

from __future__ import annotations

from ..core.errors import FileFormatError
from .limits import check_expansion

LONGEST = 264  # bytes that three bytes can stand for
DAMAGED = "has damaged compressed data"


def lzf_decompress(data: bytes, size: int) -> bytes:
    """Undo LZF: a control byte below 32 copies literals, another repeats what was written.

    Raises:
        FileFormatError: the result does not have ``size`` bytes, or data point before its start.

    """
    if size > LONGEST * len(data):
        raise FileFormatError(f"{DAMAGED}: {len(data)} bytes cannot hold {size}")
    check_expansion(size, len(data))
    try:
        out = _decompress(data, size)
    except IndexError as error:  # an instruction without its last byte
        raise FileFormatError(DAMAGED) from error
    if len(out) != size:
        raise FileFormatError(f"{DAMAGED}: {len(out)} bytes, not {size}")
    return bytes(out)


def _decompress(data: bytes, size: int) -> bytearray:
    out, at = bytearray(), 0
    while at < len(data) and len(out) <= size:
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[at]
            at += 1
        start = len(out) - ((control & 31) << 8) - data[at] - 1
        at += 1
        if start < 0:
            raise FileFormatError(DAMAGED)
        chunk = out[start : start + length + 2]
        out += (chunk * -(-(length + 2) // len(chunk)))[: length + 2]
    return out
