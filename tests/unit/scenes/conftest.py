"""A small scene far from zero, as UTM coordinates are, and a rule that labels it by height."""

from types import SimpleNamespace

import numpy as np
import pytest

CORNER = np.array([412_345.0, 5_654_321.0, 120.0])
COUNT = 6000


def rule(points, features):
    """Low and high, told by the height above the scene's lowest point."""
    high = points[..., 2] > 5
    return np.stack([~high, high], axis=-1).astype(np.float32)


@pytest.fixture
def scene():
    """6,000 points in 60 m x 40 m x 10 m, in an order that has nothing to do with their place."""
    rng = np.random.default_rng(3)
    xyz = np.round(rng.random((COUNT, 3)) * [60, 40, 10], 3)
    xyz[:2, 2] = 0, 10
    xyz += CORNER
    rgb = rng.integers(0, 65536, (COUNT, 3), dtype=np.uint16)
    return SimpleNamespace(
        xyz=xyz, rgb=rgb, truth=(xyz[:, 2] - xyz[:, 2].min() > 5).astype(np.uint8), rule=rule
    )


@pytest.fixture
def las(tmp_path):
    """Writes a LAS or LAZ file with everything that a copy must keep."""
    laspy = pytest.importorskip("laspy")

    def write(scene, name="scene.las", form=7):
        version = "1.4" if form >= 6 else "1.2"
        header = laspy.LasHeader(point_format=form, version=version)
        header.offsets, header.scales = CORNER, [0.001] * 3
        header.generating_software, header.system_identifier = "a scanner", "test"
        header.add_extra_dim(laspy.ExtraBytesParams("amplitude", "<f4", "of the echo"))
        header.vlrs.append(laspy.VLR("someone", 7, "their record", b"\0abc" * 9))
        data, rng = laspy.LasData(header), np.random.default_rng(4)
        data.x, data.y, data.z = scene.xyz.T
        data.red, data.green, data.blue = scene.rgb.T
        if form != 2:  # which has none
            data.gps_time = rng.random(COUNT) * 1e6
        data.amplitude = rng.random(COUNT)
        data.intensity = rng.integers(0, 65536, COUNT)
        data.withheld = rng.integers(0, 2, COUNT)
        data.synthetic = rng.integers(0, 2, COUNT)
        data.classification = rng.integers(0, 20, COUNT)
        if form >= 6:
            after = [laspy.VLR("someone", 8, "after the points", b"z" * 300)]
            data.evlrs = laspy.vlrs.vlrlist.VLRList(after)
        data.write(tmp_path / name)
        return tmp_path / name

    return write
