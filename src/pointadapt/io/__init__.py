"""Point clouds and meshes from files, and back: one file per format family, one table of endings.

>>> points = read_points("chair.ply", n=1024)  # (1024, 3) float32, whatever the file holds
>>> cloud = read_cloud("scan.laz")  # coordinates as stored, with colours, normals, labels
>>> write_points("chair.pcd", points)
"""

from .cloud import Cloud
from .read import (
    MESH_POINTS,
    NON_FINITE,
    NonFinite,
    read_both,
    read_cloud,
    read_points,
    read_sample,
)
from .sample import SAMPLINGS, Sampling, sample_index, sample_points, sample_surface
from .table import SUFFIXES, WRITABLE
from .write import write_cloud, write_points

__all__ = [
    "MESH_POINTS",
    "NON_FINITE",
    "SAMPLINGS",
    "SUFFIXES",
    "WRITABLE",
    "Cloud",
    "NonFinite",
    "Sampling",
    "read_both",
    "read_cloud",
    "read_points",
    "read_sample",
    "sample_index",
    "sample_points",
    "sample_surface",
    "write_cloud",
    "write_points",
]
