"""Reading any file, with one place that checks it and words what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..core.errors import PointCloudError, UnknownNameError
from .checks import checked, finite_part, note_copies, note_strays, note_unused, rows
from .cloud import Cloud
from .columns import xyz_called
from .opening import format_of, naming
from .place import Bulk, check_spread, distinct, local, some_of
from .sample import POOL, Sampling, check_request, sample_index, sample_surface

MESH_POINTS = 8192  # drawn from a mesh's surface when no number is asked for
NonFinite = Literal["error", "drop"]
NON_FINITE: tuple[str, ...] = get_args(NonFinite)


def read_cloud(path: Path | str, *, nan: NonFinite = "error", columns: Sequence[str] = ()) -> Cloud:
    """Read what ``path`` holds, as stored; the format is told by its ending.

    Args:
        path: a file whose ending is one of ``SUFFIXES``.
        nan: what to do with points that have NaN or infinite coordinates: "error", or "drop" them
            and the faces they are in.
        columns: what x, y and z are called where columns have names, such as ("easting",
            "northing", "height"); by default just that. What has no names is read as ever.

    Raises:
        FileFormatError: the file is missing, empty, damaged, or not what its name says.
        PointCloudError: NaN or infinite coordinates, or no points are left without these.
        UnknownNameError, ConfigError: another ``nan``, or not three names of columns.

    """
    if nan not in NON_FINITE:
        raise UnknownNameError("value of nan", nan, NON_FINITE)
    path = Path(path)
    with naming(path):
        form = format_of(path)
        with xyz_called(() if form.fixed else columns):
            cloud = form.read(path)
        return checked(finite_part(cloud) if nan == "drop" else cloud)


def read_points(
    path: Path | str,
    *,
    n: int | None = None,
    seed: int = 0,
    sampling: Sampling = "random",
    minimum: int = 1,
    nan: NonFinite = "error",
    columns: Sequence[str] = (),
) -> np.ndarray:
    """Read the coordinates of the points in ``path``, or on the surface of the mesh in it.

    A cloud much farther from the origin than it is wide (map coordinates, say UTM) is moved to
    its middle (the median) while still in float64, since float32 would round away its detail. Any
    other cloud keeps its coordinates. Strays far away do not change that; they are kept, and named
    in a note.

    Args:
        path: a file whose ending is one of ``SUFFIXES``.
        n: how many points to return: a choice, or repetitions if the file has fewer. None: all
            of them, in order; of a mesh 8192.
        seed: fixes the choice, and the points on a surface.
        sampling: "random", or "fps" (farthest point sampling) to spread the n points evenly.
        minimum: fewer points than this in a cloud are an error.
        nan: as in :func:`read_cloud`.
        columns: as in :func:`read_cloud`.

    Returns:
        (N, 3) float32, or (n, 3), finite.

    Raises:
        FileFormatError: as :func:`read_cloud`.
        PointCloudError: fewer points than ``minimum``, all points the same, NaN or infinite
            coordinates, or such as float32 cannot hold.
        ConfigError, UnknownNameError: n below 1, or no such sampling.

    """
    return read_sample(
        path, n=n, seed=seed, sampling=sampling, minimum=minimum, nan=nan, columns=columns
    ).points


def read_sample(
    path: Path | str,
    *,
    n: int | None = None,
    seed: int = 0,
    sampling: Sampling = "random",
    minimum: int = 1,
    nan: NonFinite = "error",
    columns: Sequence[str] = (),
) -> Cloud:
    """Read the same points as :func:`read_points`, with the colours, normals and labels of each.

    Points on a mesh's surface have none of these.
    """
    return read_both(
        path, n=n, seed=seed, sampling=sampling, minimum=minimum, nan=nan, columns=columns
    )[1]


def read_both(
    path: Path | str,
    *,
    n: int | None = None,
    seed: int = 0,
    sampling: Sampling = "random",
    minimum: int = 1,
    nan: NonFinite = "error",
    columns: Sequence[str] = (),
) -> tuple[Cloud, Cloud]:
    """Read the whole cloud, and what :func:`read_sample` takes of it.

    Of a mesh, the whole is what was drawn on its surface.
    """
    check_request(1 if n is None else n, sampling)
    cloud = read_cloud(path, nan=nan, columns=columns)
    if cloud.faces is None and len(cloud) < minimum:
        raise PointCloudError(
            f"{path}: has {len(cloud)} points, fewer than {minimum}: leave the file out, or scan "
            "it more densely"
        )
    with naming(Path(path)):
        rng = np.random.default_rng(seed)
        points = _placed(cloud)
        if cloud.faces is not None:
            count = MESH_POINTS if n is None else n * POOL if sampling == "fps" else n
            cloud = Cloud(sample_surface(points, cloud.faces, count, rng))
            points = cloud.points
        cloud = replace(cloud, points=points.astype(np.float32))
        check_spread(cloud.points)
    index = None if n is None else sample_index(cloud.points, n, rng, sampling)
    return cloud, cloud if index is None else rows(cloud, index)


def _placed(cloud: Cloud) -> np.ndarray:
    """(N, 3) float64 where float32 does not blur them; what is odd about them is told.

    Of a mesh, the vertices that no face has say nothing.
    """
    points = cloud.points.astype(np.float64)
    seen, what = points, "points"
    if cloud.faces is not None:
        used = np.zeros(len(points), bool)
        used[cloud.faces.reshape(-1)] = True
        seen, what = points[used], "corners of faces"
    check_spread(seen, what)
    different, counts = distinct(some_of(seen))
    bulk = Bulk.among(different)
    if cloud.faces is None:
        note_copies(seen, different, counts)
    else:
        note_unused(len(cloud.faces), len(seen), len(points))
    held = bulk.holds(seen)
    note_strays(seen, held, what)
    return local(points, seen if held.all() else seen[held], bulk.centre)
