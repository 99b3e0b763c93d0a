"""pointadapt: one frozen 3D backbone, many tiny adapters."""

__version__ = "0.1.0"
