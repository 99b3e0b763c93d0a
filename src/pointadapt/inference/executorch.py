"""An adapter as a program of ExecuTorch, for phones and boards: one cloud at a time.

Its memory is planned beforehand, so the numbers of clouds (one) and of points are fixed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..core.errors import ConfigError, first_line, package_missing


def write_program(program: Any, file: Path, title: str) -> None:
    """Lower what torch.export wrote down, with XNNPACK where it knows the operators.

    Raises:
        ConfigError: ExecuTorch cannot take it.
        PointAdaptError: the package is missing.
    """
    with _silent():
        try:
            from executorch.backends.xnnpack.partition import (  # type: ignore[import-not-found]
                xnnpack_partitioner,
            )
            from executorch.exir import (  # type: ignore[import-not-found]
                EdgeCompileConfig,
                to_edge_transform_and_lower,
            )
        except ImportError as error:
            raise package_missing(error, "executorch") from error
        try:
            lowered = to_edge_transform_and_lower(
                program.run_decompositions(),
                partitioner=[xnnpack_partitioner.XnnpackPartitioner()],
                compile_config=EdgeCompileConfig(_check_ir_validity=False),
            )  # fmt: skip
            made = lowered.to_executorch()
        except Exception as error:  # its passes raise what they like
            raise ConfigError(f"{title} cannot be lowered: {first_line(error)}") from error
    file.write_bytes(made.buffer)


def opened(file: Path) -> Callable[[Mapping[str, Tensor]], np.ndarray]:
    """What answers as the file does: inputs by name, in their order, to probabilities."""
    with _silent():
        try:
            from executorch.runtime import Runtime  # type: ignore[import-not-found]
        except ImportError as error:
            raise package_missing(error, "executorch") from error
        method = Runtime.get().load_program(str(file)).load_method("forward")

    def run(given: Mapping[str, Tensor]) -> np.ndarray:
        with _silent():
            return method.execute(tuple(given.values()))[0].numpy()

    return run


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing goes to standard error, from compiled code either, which tells of the processor."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
