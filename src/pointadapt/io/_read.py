"""Reading any file, with one place that checks it and words what is wrong with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ..core.errors import FileFormatError, PointCloudError, UnknownNameError
from ..core.files import first_line
from ._cloud import Cloud
from ._sample import POOL, Sampling, check_request, sample_index, sample_surface
from ._table import FORMATS, SUFFIXES, Format

MESH_POINTS = 8192  # drawn from a mesh's surface when no number is asked for
LONGEST = 240  # characters of a message, besides the path
NonFinite = Literal["error", "drop"]
NON_FINITE: tuple[str, ...] = get_args(NonFinite)
FAR = 64  # times its extent: farther from the origin than this, float32 blurs a cloud's shape

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


def read_cloud(path: Path | str, *, nan: NonFinite = "error") -> Cloud:
    """Read what ``path`` holds, as stored; the format is told by its ending.

    Args:
        path: a file whose ending is one of ``SUFFIXES``.
        nan: what to do with points that have NaN or infinite coordinates: "error", or "drop" them
            and the faces they are in.

    Raises:
        FileFormatError: the file is missing, empty, damaged, or not what its name says.
        PointCloudError: NaN or infinite coordinates, or no points are left without these.
        UnknownNameError: another ``nan``.

    """
    if nan not in NON_FINITE:
        raise UnknownNameError("value of nan", nan, NON_FINITE)
    path = Path(path)
    with _named(path):
        cloud = _format(path).read(path)
        return _checked(_finite_part(cloud) if nan == "drop" else cloud)


def read_points(
    path: Path | str,
    *,
    n: int | None = None,
    seed: int = 0,
    sampling: Sampling = "random",
    minimum: int = 1,
    nan: NonFinite = "error",
) -> np.ndarray:
    """Read the coordinates of the points in ``path``, or on the surface of the mesh in it.

    A cloud much farther from the origin than it is wide (map coordinates, say UTM) is moved to
    its mean while still in float64, since float32 would round away its detail. Any other cloud
    keeps its coordinates.

    Args:
        path: a file whose ending is one of ``SUFFIXES``.
        n: how many points to return: a choice, or repetitions if the file has fewer. None: all
            of them, in order; of a mesh 8192.
        seed: fixes the choice, and the points on a surface.
        sampling: "random", or "fps" (farthest point sampling) to spread the n points evenly.
        minimum: fewer points than this in a cloud are an error.
        nan: as in :func:`read_cloud`.

    Returns:
        (N, 3) float32, or (n, 3), finite.

    Raises:
        FileFormatError: as :func:`read_cloud`.
        PointCloudError: fewer points than ``minimum``, or NaN or infinite coordinates.
        ConfigError, UnknownNameError: n below 1, or no such sampling.

    """
    return read_sample(path, n=n, seed=seed, sampling=sampling, minimum=minimum, nan=nan).points


def read_sample(
    path: Path | str,
    *,
    n: int | None = None,
    seed: int = 0,
    sampling: Sampling = "random",
    minimum: int = 1,
    nan: NonFinite = "error",
) -> Cloud:
    """Read the same points as :func:`read_points`, with the colours, normals and labels of each.

    Points on a mesh's surface have none of these.
    """
    return read_both(path, n=n, seed=seed, sampling=sampling, minimum=minimum, nan=nan)[1]


def read_both(
    path: Path | str,
    *,
    n: int | None = None,
    seed: int = 0,
    sampling: Sampling = "random",
    minimum: int = 1,
    nan: NonFinite = "error",
) -> tuple[Cloud, Cloud]:
    """Read the whole cloud, and what :func:`read_sample` takes of it.

    Of a mesh, the whole is what was drawn on its surface.
    """
    check_request(1 if n is None else n, sampling)
    cloud = read_cloud(path, nan=nan)
    if cloud.faces is None and len(cloud) < minimum:
        raise PointCloudError(
            f"{path}: has {len(cloud)} points, fewer than {minimum}: leave the file out, or scan "
            "it more densely"
        )
    with _named(Path(path)):
        rng = np.random.default_rng(seed)
        points = _near(cloud.points)
        if cloud.faces is not None:
            count = MESH_POINTS if n is None else n * POOL if sampling == "fps" else n
            cloud = Cloud(sample_surface(points, cloud.faces, count, rng))
            points = cloud.points
    cloud = replace(cloud, points=points.astype(np.float32))
    index = None if n is None else sample_index(cloud.points, n, rng, sampling)
    return cloud, cloud if index is None else _rows(cloud, index)


def _format(path: Path) -> Format:
    wrong = (
        "does not exist"
        if not path.exists()
        else "is a folder; give one file (folders are read by the data set 'folder')"
        if path.is_dir()
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
def _named(path: Path) -> Iterator[None]:
    """Put the path before our own errors, and turn those of other libraries into ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (FileFormatError, PointCloudError) as error:
        raise type(error)(f"{path}: {_shown(error)}{_likeness(path)}") from error
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
        with path.open("rb") as stream:
            start = stream.read(32)
    except OSError:  # missing, a folder, or not ours to read
        return ""
    suffix = path.suffix.lower()
    for magic, what, own in MAGIC:
        if start.startswith(magic) and suffix not in own:
            return f" (it looks like {what})"
    return ""


def _checked(cloud: Cloud) -> Cloud:
    """Check that there are points, finite coordinates, and faces among them."""
    count = len(cloud)
    if not count:
        raise PointCloudError("has no points")
    finite = np.isfinite(cloud.points).all(axis=1)
    if not finite.all():
        raise PointCloudError(
            f"has NaN or infinite coordinates in {count - int(finite.sum())} of {count} points, "
            f"first in row {int(np.argmin(finite))} (counted from 0): remove or repair them, or "
            "train with --data-options nan=drop"
        )
    if cloud.faces is None or not len(cloud.faces):
        return replace(cloud, faces=None)
    low, high = int(cloud.faces.min()), int(cloud.faces.max())
    if low < 0 or high >= count:
        raise FileFormatError(
            f"has a face with vertex {low if low < 0 else high}, but vertices 0 to {count - 1}"
        )
    return cloud


def _finite_part(cloud: Cloud) -> Cloud:
    """Leave out points whose coordinates are not finite, and faces with such a corner."""
    finite: np.ndarray = np.asarray(np.isfinite(cloud.points).all(axis=1))
    if finite.all():
        return cloud
    if not finite.any():
        raise PointCloudError(f"has NaN or infinite coordinates in all of its {len(cloud)} points")
    faces, rest = cloud.faces, _rows(replace(cloud, faces=None), finite)
    if faces is not None and len(faces) and faces.min() >= 0 and faces.max() < len(cloud):
        faces = (np.cumsum(finite) - 1)[faces[np.take(finite, faces).all(axis=1)]]
    return replace(rest, faces=faces)


def _rows(cloud: Cloud, at: np.ndarray) -> Cloud:
    """Take some points of a cloud without faces, by an index or a mask."""
    rows: dict[str, Any] = {k: None if v is None else v[at] for k, v in vars(cloud).items()}
    return Cloud(**rows)


def _near(points: np.ndarray) -> np.ndarray:
    """Convert to float64, moved to their mean if float32 would blur them."""
    points = points.astype(np.float64)
    extent = float(np.ptp(points, axis=0).max())
    if 0 < extent * FAR < np.abs(points).max():
        points = points - points.mean(axis=0)
    if np.abs(points).max() > np.finfo(np.float32).max:
        raise PointCloudError("has coordinates too large for float32: use another unit")
    return points
