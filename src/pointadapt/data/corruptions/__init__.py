"""The corruptions of ModelNet40-C and ModelNet-C as seeded transforms of numpy arrays.

    corrupted = corrupt(points, "modelnet_c", "jitter", 3)

A suite is a module here; adding a corruption is adding one decorated function to it.
"""

from ._base import ABOUT, SEVERITIES, SUITES, About, Corruption, corrupt, get_corruption

from . import modelnet40_c, modelnet_c  # noqa: F401 - they enter their corruptions  # isort: skip

__all__ = [
    "ABOUT", "SEVERITIES", "SUITES", "About", "Corruption", "corrupt", "get_corruption",
]  # fmt: skip
