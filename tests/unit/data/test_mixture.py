"""Sources of pre-training: shuffled data sets, the stream, and mixtures."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pointadapt.core.config import PretrainConfig
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.data import Clouds
from pointadapt.data.sets.shapes import ATTRIBUTES, CLASSES
from pointadapt.pretraining.mixture import CYCLE, Made, Mixture, Shuffled, make_source, quotas

TESTS = Path(__file__).parents[2]
shapedb = SimpleNamespace(**runpy.run_path(str(TESTS / "data/shapedb/make.py")))


def numbered(n, points=4):
    """Clouds that know their number: x is i in all of cloud i."""
    values = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None], (n, points, 3)).copy()
    values[..., 1] += np.arange(points)
    return Clouds(values, np.arange(n) % 3, ("a", "b", "c"))


def order(source, start, count):
    return source.described(start, count).points[:, 0, 0].astype(int).tolist()


@pytest.fixture
def three():
    """A mixture of 7, 50 and 300 clouds, told apart by their values."""
    sources = {}
    for name, n, offset in (("s", 7, 0), ("m", 50, 1000), ("l", 300, 2000)):
        clouds = numbered(n)
        sources[name] = Shuffled(replace(clouds, points=clouds.points + offset), 3, 4)
    return Mixture(sources, {"s": 1, "m": 1, "l": 8}, 3)


def test_quotas_add_up():
    assert quotas([1, 1, 1]) == (334, 333, 333)
    assert quotas([9843, 2401, 12244]) == (402, 98, 500)
    assert quotas([1, 0.0001]) == (1000, 0)


def test_each_pass_has_every_cloud_once():
    source = Shuffled(numbered(10), 0, 4)
    passes = [order(source, 10 * e, 10) for e in range(3)]
    assert all(sorted(p) == list(range(10)) for p in passes)
    assert passes[0] != passes[1]
    assert order(source, 5, 10) == passes[0][5:] + passes[1][:5]


def test_more_points_are_drawn_anew_each_time():
    rng = np.random.default_rng(0)
    clouds = Clouds(rng.normal(size=(2, 100, 3)).astype(np.float32), np.array([0, 1]), ("a", "b"))
    drawn = [Shuffled(clouds, 5, 30).described(i, 1) for i in (0, 1, 2, 3, 0)]
    rows = [{tuple(p) for p in d.points[0].tolist()} for d in drawn]
    assert all(len(r) == 30 for r in rows)
    assert rows[0] == rows[4]
    for d, r in zip(drawn, rows, strict=True):
        assert r <= {tuple(p) for p in clouds.points[d.labels[0]].tolist()}
    same_cloud = [r for d, r in zip(drawn[:4], rows, strict=False) if d.labels[0] == 0]
    assert len(same_cloud) == 2 and same_cloud[0] != same_cloud[1]


def test_a_mixture_keeps_its_shares_and_each_source_its_order(three):
    values = order(three, 0, 2 * CYCLE)
    assert [sum(v // 1000 == k for v in values) for k in range(3)] == [200, 200, 1600]
    assert [sum(v // 1000 == k for v in values[:CYCLE]) for k in range(3)] == [100, 100, 800]
    for k, source in enumerate(three.sources):
        own = [v for v in values if v // 1000 == k]
        assert own == order(source, 0, len(own))
    assert values[:CYCLE] != values[CYCLE:]


def test_a_mixture_is_the_same_however_it_is_cut(three):
    whole = order(three, 990, 40)  # over the end of a cycle
    assert order(three, 990, 13) + order(three, 1003, 1) + order(three, 1004, 26) == whole
    other = Mixture(dict(zip("sml", three.sources, strict=True)), {"s": 1, "m": 1, "l": 8}, 4)
    assert order(other, 990, 40) != whole


def test_only_the_stream_has_labels_in_a_mixture():
    sources = {"own": Shuffled(numbered(20, 16), 0, 16), "shapes": Made(0, 16, 0.5)}
    mixture = Mixture(sources, {"own": 1, "shapes": 1}, 0)
    assert (mixture.classes, mixture.attributes) == (len(CLASSES), len(ATTRIBUTES))
    d = mixture.described(0, 60)
    own = (d.points[..., 0] == d.points[:, :1, 0]).all(axis=1)  # x is the number of the cloud
    assert 0 < own.sum() < 60
    assert (d.labels[own] == -1).all() and not d.known[own].any()
    stream = sources["shapes"].described(0, int((~own).sum()))
    np.testing.assert_array_equal(d.points[~own], stream.points)
    np.testing.assert_array_equal(d.labels[~own], stream.labels)
    np.testing.assert_array_equal(d.known[~own], stream.known)
    np.testing.assert_array_equal(d.has[~own], stream.has)


# ---- from a configuration


@pytest.fixture
def config(tmp_path, toy_root):
    return PretrainConfig(
        data=("folder", "shapedb", "shapes"), points=32, available=64,
        roots=(f"folder={toy_root}", f"shapedb={shapedb.write(tmp_path)}"),
    )  # fmt: skip


def test_sizes_are_the_default_weights_and_the_stream_counts_as_all_others(config):
    mixture = make_source(config)
    assert mixture.quotas == quotas([40, 37, 77])
    assert [s.clouds.points.shape[1] for s in mixture.sources[:2]] == [64, 64]
    assert mixture.described(0, 9).points.shape == (9, 32, 3)
    given = make_source(replace(config, weights=("shapes=2", "folder=1", "shapedb=1")))
    assert given.quotas == (250, 250, 500)


def test_points_on_disk_are_taken_up_to_what_is_available(config):
    def stored(available):
        only = replace(config, data="shapedb", roots=config.roots[1:], available=available)
        return make_source(only).clouds.points.shape[1]

    assert [stored(n) for n in (0, 32, 50, 96, 2048)] == [32, 32, 50, 96, 96]


def test_one_name_alone_keeps_its_labels(toy_root):
    source = make_source(PretrainConfig(data="folder", root=toy_root, points=64))
    assert set(source.described(0, 40).labels.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"roots": ("fodler=x",)}, ConfigError, "--roots names 'fodler'"),
        ({"weights": ("folder=1", "shapes=1")}, ConfigError, "--weights lacks shapedb"),
        ({"weights": ("modelnet40=1",)}, ConfigError, "--weights names 'modelnet40'"),
        ({"weights": ("folder=-1", "shapedb=1", "shapes=1")}, ConfigError, "'folder' must be a po"),
        ({"weights": ("folder=x", "shapedb=1", "shapes=1")}, ConfigError, "not 'x'"),
        ({"weights": ("folder=1", "shapedb=1e9", "shapes=1e9")}, ConfigError, "raise it"),
        ({"data": ("folder", "shapedbb")}, UnknownNameError, "did you mean 'shapedb'"),
        ({"data": ("shapes", "shapes")}, ConfigError, "different names"),
        ({"data": ()}, ConfigError, "not none"),
        ({"data": ("folder",), "weights": ("folder=1",)}, ConfigError, "for mixtures"),
        ({"available": 16}, ConfigError, "available=16 is fewer than points=32"),
        ({"data": ("folder", "shapedb"), "label_weight": 1.0}, ConfigError, "labels of shapes"),
    ],
)
def test_wrong_values(config, changes, error, message):
    names = changes.get("data", config.data)
    roots = tuple(root for root in config.roots if root.partition("=")[0] in names)
    with pytest.raises(error, match=message) as caught:
        make_source(replace(config, **{"roots": roots, **changes}))
    assert "\n" not in str(caught.value)
