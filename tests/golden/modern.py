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


def official_name(key):
    """Our name of an encoder's tensor to the released one, the other way round than the package."""
    parts = key.replace("stem.mask_token", "embedding.mask_token").split(".")
    if parts[0] == "stem":
        return "embedding." + key
    if parts[0] != "stages":
        return ".".join(parts)
    stage, rest = f"enc.enc{parts[1]}", ".".join(parts[2:])
    if rest.startswith("down.norm"):
        return f"{stage}.{rest.replace('down.norm', 'down.norm.0')}"
    if not rest.startswith("blocks"):
        return f"{stage}.{rest}"
    inside = ".".join(parts[4:])
    for ours, theirs in (("cpe.conv", "cpe.0"), ("cpe.linear", "cpe.1"), ("cpe.norm", "cpe.2"),
                         ("norm1", "norm1.0"), ("norm2", "norm2.0"), ("mlp", "mlp.0"),
                         ("attn.rope.frequencies", "attn.rope.inv_freq")):  # fmt: skip
        if inside.startswith(ours):
            inside = theirs + inside.removeprefix(ours)
            break
    return f"{stage}.block{parts[3]}.{inside}"
