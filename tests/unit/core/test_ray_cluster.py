"""What is known of a Ray cluster before there is one."""

import socket
import sys
from types import SimpleNamespace

import pytest

from pointadapt.core.errors import ConfigError, PointAdaptError
from pointadapt.core.ray_cluster import connected, share_of


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'pointadapt\[ray\]'"), connected("auto"):
        pass


def test_where_nothing_listens(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = rf"^no Ray cluster at 127\.0\.0\.1:{port}: start one by ray start --head, .*refused"
    with pytest.raises(PointAdaptError, match=said), connected(f"127.0.0.1:{port}"):
        pass


@pytest.mark.parametrize(
    ("nodes", "share"),
    [
        ([{"CPU": 16.0}], (0, 1)),
        ([{"CPU": 16.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 4.0}, {"CPU": 64.0}], (1, 2)),
        ([{"CPU": 1.0, "GPU": 2.0}], (1, 1)),
        ([{}], (0, 1)),
    ],
)
def test_share(nodes, share):
    assert share_of(nodes) == share
