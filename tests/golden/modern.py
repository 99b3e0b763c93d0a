"""Where the golden arrays of today's backbones are: 24 MB that are not part of the repository.

``POINTADAPT_GOLDEN`` names their folder, which is ``modern`` beside this file otherwise.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(os.environ.get("POINTADAPT_GOLDEN") or Path(__file__).parent / "modern")
needed = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the golden arrays of today's backbones are not here"
)


def arrays(name):
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def settings(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def close(got, want, what, limit=5e-5):
    got, want = torch.as_tensor(got), torch.as_tensor(want)
    assert got.shape == want.shape, what
    worst = (got.double() - want.double()).abs().max().item() if want.numel() else 0.0
    assert worst <= limit, f"{what}: differs by {worst:.2e}"


def close_gradient(got, want, what, limit=5e-5):
    worst = (got - want).abs().max().item()
    assert worst <= limit * want.abs().max().item() + 1e-9, f"{what}: differs by {worst:.2e}"
