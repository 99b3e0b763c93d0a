"""What pointadapt raises when the input, not the program, is at fault.

Every message is one line that says what is wrong, where, and what to do. The command line prints
it without a traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

SHOWN = 80  # characters of a wrong name in a message
LONGEST = 1000  # characters of a message, whatever names and values stand in it


class PointAdaptError(ValueError):
    """Base of all errors that bad input causes; a message that is too long loses its middle."""

    def __init__(self, *args: object) -> None:
        first, *rest = args or ("",)
        if isinstance(first, str) and len(first) > LONGEST:
            first = f"{first[: LONGEST * 2 // 3]} … {first[-LONGEST // 4 :]}"
        super().__init__(first, *rest)


class UnknownNameError(PointAdaptError):
    """A name that no registry, option or configuration key knows."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        name, names = str(name)[:SHOWN], sorted(map(str, known))
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}known: {', '.join(names) or 'none'}")


class PointCloudError(PointAdaptError):
    """A point cloud with the wrong shape, too few points, or NaN or infinite coordinates."""


class FileFormatError(PointAdaptError):
    """A file that is missing, damaged, or not what its name says."""


class DataLayoutError(PointAdaptError):
    """A data set folder in which something needed is missing."""


class AdapterError(PointAdaptError):
    """An adapter folder that is damaged, or belongs to another backbone."""


class CannotFold(PointAdaptError):  # noqa: N818 - a refusal, not a fault
    """What a method adds is no change of the frozen layers, or not on this family of backbones."""


class CheckpointError(PointAdaptError):
    """A checkpoint of an unknown layout, damaged, or of another size."""


class ConfigError(PointAdaptError):
    """A configuration value of the wrong type or outside its range."""


class FetchError(PointAdaptError):
    """Weights that could not be had: no network, no such file, or another file than expected."""


def explain(error: Exception) -> str | None:
    """One line for an error that the input or the machine caused; None for a fault of ours."""
    if isinstance(error, PointAdaptError):
        return str(error)
    if is_memory(error):
        return "not enough memory: lower --batch-size or --points, or close other programs"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space left on the disk{_of(error)}: free some, or choose another --out"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def is_memory(error: BaseException) -> bool:
    """Whether an error says that there is no more memory."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and ("out of memory" in text or "allocate" in text))
    )


def _of(error: OSError) -> str:
    return f" of {error.filename}" if error.filename else ""


def package_missing(error: ImportError, extra: str) -> PointAdaptError:
    """What to say of a package that an ``extra`` of pointadapt installs."""
    return PointAdaptError(f"{error.name} is missing: pip install 'pointadapt[{extra}]'")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:LONGEST] if lines else type(error).__name__
