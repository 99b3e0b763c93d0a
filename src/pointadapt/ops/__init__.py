"""Operations on batches of clouds: sampling, neighbours, interpolation, Chamfer distance, traits.

All take tensors (B, N, 3) on any device, and are plain PyTorch: nothing is compiled when the
package is installed or imported.
"""

from pointadapt.ops._check import check_points, is_exporting
from pointadapt.ops.chamfer import chamfer_distance
from pointadapt.ops.interpolation import interpolate
from pointadapt.ops.neighbors import gather_points, group, knn
from pointadapt.ops.sampling import farthest_point_sample, normalize
from pointadapt.ops.traits import cloud_traits

__all__ = [
    "chamfer_distance",
    "check_points",
    "cloud_traits",
    "farthest_point_sample",
    "gather_points",
    "group",
    "interpolate",
    "is_exporting",
    "knn",
    "normalize",
]
