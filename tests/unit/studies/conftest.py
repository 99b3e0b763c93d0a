"""What tests of runs in processes, here and on a cluster, have in common."""

import pytest

from pointadapt.core.config import TrainConfig


@pytest.fixture
def config(tmp_path, toy_root, bare_backbone):
    """Two epochs of five steps."""
    return TrainConfig(
        out=tmp_path / "a", data="folder", root=toy_root, points=64, epochs=2, batch_size=8,
        backbone=str(bare_backbone("point_vit")), method="linear_probe", tensorboard=False,
        threads=1,
    )  # fmt: skip
