"""Getting arrays to where the network is without making the host wait for a GPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..core.machine import upload

SHARE = 0.25  # of a GPU's free memory that one array may take
ARRAYS = 8  # held at once


class Resident:
    """Rows of a data set's arrays on ``device``, which holds them if it is a GPU with room."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._held: dict[int, tuple[np.ndarray, Tensor]] = {}  # by the array's id, so it is kept

    def rows(self, array: np.ndarray, at: np.ndarray) -> Tensor:
        """``array[at]`` as a tensor on the device.

        Args:
            array: the same object every time, if it is to be held.
            at: (M,) integer indices.
        """
        held = self._hold(array)
        if held is None:
            return upload(torch.from_numpy(array[at]), self.device)
        return held.index_select(0, upload(torch.from_numpy(at), self.device))

    def _hold(self, array: np.ndarray) -> Tensor | None:
        if self.device.type != "cuda":
            return None
        found = self._held.get(id(array))
        if found is None:
            free, _ = torch.cuda.mem_get_info(self.device)
            if array.nbytes > SHARE * free or len(self._held) >= ARRAYS:
                return None
            found = array, torch.from_numpy(array).to(self.device)
            self._held[id(array)] = found
        return found[1]
