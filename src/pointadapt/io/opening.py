"""What stands around every reader: which one a file needs, and what to say if it fails."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..core.errors import FileFormatError, PointAdaptError, PointCloudError, first_line
from ..core.notes import notes_about
from .table import FORMATS, SUFFIXES, Format

LONGEST = 240  # characters of a message, besides the path

# First bytes, what has them, and the endings for which that is as it should be.
MAGIC = (
    (b"\xff\xd8\xff", "a JPEG picture", ()),
    (b"\x89PNG", "a PNG picture", ()),
    (b"%PDF", "a PDF", ()),
    (b"PK\x03\x04", "a zip archive", (".npz",)),
    (b"\x1f\x8b", "a gzip archive: unpack it", ()),
    (b"\x89HDF", "an HDF5 file", ()),
    (b"\x93NUMPY", "a NumPy .npy file", (".npy",)),
    (b"ply", "a PLY file", (".ply",)),
    (b"LASF", "a LAS or LAZ file", (".las", ".laz")),
    (b"glTF", "a GLB mesh", (".glb",)),
    (b"<", "a web page: download the file again", ()),
    (b"version https://git-lfs", "a Git LFS pointer: run 'git lfs pull'", ()),
)


def format_of(path: Path) -> Format:
    """How to read a file, told by its ending.

    Raises:
        FileFormatError: it is missing, empty, no file, or of another ending.

    """
    wrong = (
        "does not exist"
        if not path.exists()
        else "is a folder; give one file (folders are read by the data set 'folder')"
        if path.is_dir()
        else "is no file but a pipe, a socket or a device: save its content in a file"
        if not path.is_file()
        else "is empty"
        if not path.stat().st_size
        else f"cannot be read: its ending is none of {' '.join(SUFFIXES)}"
        if path.suffix.lower() not in FORMATS
        else None
    )
    if wrong:
        raise FileFormatError(wrong)
    return FORMATS[path.suffix.lower()]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the path before our own errors and notes, and turn other libraries' errors into ours.

    Raises:
        FileFormatError, PointCloudError: the file is at fault.
        PointAdaptError: the memory is too small for it.

    """
    try:
        with notes_about(path), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other libraries'; our notes wait for the end
            yield
    except (FileFormatError, PointCloudError) as error:
        raise type(error)(f"{path}: {_shown(error)}{_likeness(path)}") from error
    except MemoryError as error:
        raise PointAdaptError(
            f"{path}: not enough memory to read it: close other programs, or thin it out"
        ) from error
    except PointAdaptError as error:
        if type(error) is not PointAdaptError:
            raise
        raise PointAdaptError(f"{path}: {_shown(error)}") from error
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise FileFormatError(
            f"{path}: damaged, or no {path.suffix.lower()} file: {_shown(error)}{_likeness(path)}"
        ) from error


def _shown(error: Exception) -> str:
    """Bring a message to one short line; it may quote whatever a damaged file holds."""
    line = "".join(c if c.isprintable() else "?" for c in first_line(error))
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def _likeness(path: Path) -> str:
    """Say what the file looks like, if that is not what its name says."""
    try:
        if not path.is_file():  # to open a pipe would wait for someone to write
            return ""
        with path.open("rb") as stream:
            start = stream.read(32)
    except (OSError, ValueError):  # not ours to read, or no name of a file
        return ""
    suffix = path.suffix.lower()
    for magic, what, own in MAGIC:
        if start.startswith(magic) and suffix not in own:
            return f" (it looks like {what})"
    return ""
