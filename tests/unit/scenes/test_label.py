"""The core: every point labelled, votes merged, memory bounded, the same every time."""

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, PointAdaptError, PointCloudError
from pointadapt.scenes import Tiling, label_scene

CLASSES = ("low", "high")


@pytest.fixture
def npy(scene, tmp_path):
    np.save(tmp_path / "scene.npy", scene.xyz)
    return tmp_path / "scene.npy"


def labels_of(path):
    return np.load(path)[:, -1]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("points", [64, 1024])
def test_every_point_is_labelled_by_its_own_height(scene, npy, tmp_path, overlap, points):
    tiling = Tiling(block=15, overlap=overlap, points=points, passes=0, batch=5)
    done = label_scene(npy, tmp_path / "out.npy", scene.rule, CLASSES, tiling)
    np.testing.assert_array_equal(labels_of(done.out), scene.truth)
    assert done.counts == {"low": int((scene.truth == 0).sum()), "high": int(scene.truth.sum())}
    assert done.confidence == pytest.approx(1.0)
    assert done.points == len(scene.xyz)


def test_points_are_metres_from_the_middle_of_the_tile_and_lose_no_precision(scene, npy, tmp_path):
    seen = []

    def keep(points, features):
        assert features is None
        assert points.dtype == np.float32
        seen.append(points)
        return scene.rule(points, features)

    label_scene(npy, tmp_path / "o.npy", keep, CLASSES, Tiling(10, 0, points=4096, passes=0))
    first = np.concatenate(seen)
    assert np.abs(first[..., :2]).max() <= 5 + 1e-5
    assert first[..., 2].min() == 0
    assert first[..., 2].max() == pytest.approx(10, abs=1e-5)
    # The tile that holds the first point begins at a multiple of 10 m of the file's coordinates.
    want = scene.xyz[0] - [*(np.floor(scene.xyz[0, :2] / 10) * 10 + 5), scene.xyz[:, 2].min()]
    assert np.abs(first.reshape(-1, 3) - want).max(axis=1).min() < 1e-5


def test_unseen_points_take_their_neighbours_labels(scene, npy, tmp_path):
    def sides(points, features):  # the network tells the tile's left from its right
        right = points[..., 0] > 0
        return np.stack([~right, right], axis=-1).astype(np.float32)

    tiling = Tiling(block=20, overlap=0, points=200, passes=1)
    done = label_scene(npy, tmp_path / "o.npy", sides, CLASSES, tiling)
    assert done.samples == done.tiles < done.points / 200
    truth = (scene.xyz[:, 0] % 20 > 10).astype(int)
    assert (labels_of(done.out) == truth).mean() > 0.95


def test_tiles_share_the_points_among_them(scene, npy, tmp_path):
    """Half of a tile's points each, in four tiles: together they see all but a few."""
    seen = set()

    def keep(points, features):
        seen.update(np.rint(points[..., 2].ravel() * 1000).tolist())
        return scene.rule(points, features)

    tiling = Tiling(block=20, overlap=0.5, points=500, passes=1)
    label_scene(npy, tmp_path / "o.npy", keep, CLASSES, tiling)
    heights = set(np.rint((scene.xyz[:, 2] - scene.xyz[:, 2].min()) * 1000).tolist())
    assert len(seen & heights) > 0.97 * len(heights)


def test_votes_of_overlapping_tiles_are_averaged_by_their_distance_from_the_border(tmp_path):
    xyz = np.array([[6.0, 2.0, 0.0]])  # tiles of 8 m every 4 m; here alone from x = 4, y = 0
    xyz = np.concatenate([xyz, [[1.0, 2.0, 0.0]]])  # and so there is a tile from x = 0 too
    np.save(tmp_path / "s.npy", xyz)

    def by_tile(points, features):
        # In the tile from 0 the first point is 2 m right of the middle, in the other 2 m left.
        left = points[..., 0] < 0
        return np.stack([np.where(left, 0.9, 0.3), np.where(left, 0.1, 0.7)], axis=-1)

    done = label_scene(tmp_path / "s.npy", tmp_path / "o.npy", by_tile, CLASSES, Tiling(8, 0.5, 2))
    # Both votes count alike, 2 m from the middle of 4 m: (0.9 + 0.3) / 2; the other point has 0.9.
    assert labels_of(done.out).tolist() == [0, 0]
    assert done.confidence == pytest.approx((0.6 + 0.9) / 2)


@pytest.mark.parametrize("passes", [0, 1])
def test_neither_chunks_nor_batches_change_the_result(scene, npy, tmp_path, passes):
    def noisy(points, features):  # depends on what is in the sample, but not on the batch
        score = np.sin(points.sum(axis=-1) * 9) + points.mean(axis=(1, 2))[:, None]
        return np.stack([score < 0, score >= 0], axis=-1).astype(np.float32)

    results = [
        label_scene(
            npy, tmp_path / f"{k}.npy", noisy, CLASSES,
            Tiling(9, 0.5, 100, passes, batch=batch, seed=seed), chunk=chunk,
        )
        for k, (batch, chunk, seed) in enumerate([(1, 100, 0), (7, 10**6, 0), (7, 997, 1)])
    ]  # fmt: skip
    one, other, another_seed = (labels_of(r.out) for r in results)
    np.testing.assert_array_equal(one, other)
    assert (one != another_seed).any()


def test_features_are_colours_from_0_to_1_and_places_within_the_scene(scene, tmp_path):
    table = np.empty(len(scene.xyz), [(n, "f8") for n in "xyz"] + [(n, "u2") for n in "rgb"])
    for name, values in zip("xyzrgb", [*scene.xyz.T, *scene.rgb.T], strict=True):
        table[name] = values
    np.save(tmp_path / "s.npy", table)
    rows = []

    def keep(points, features):
        rows.append(np.concatenate([points, features], axis=-1).reshape(-1, 3 + 5))
        return scene.rule(points, features)

    names = ("z", "blue", "red", "x", "green")
    label_scene(
        tmp_path / "s.npy", tmp_path / "o.npy", keep, CLASSES, Tiling(10, 0, 1000, 0),
        features=names,
    )  # fmt: skip
    every = np.concatenate(rows)
    low, extent = scene.xyz.min(axis=0), np.ptp(scene.xyz, axis=0)
    k = 17
    want = np.concatenate([(scene.xyz[k] - low) / extent, scene.rgb[k] / 65535])[[2, 5, 3, 0, 4]]
    assert np.abs(every[:, 3:] - want).max(axis=1).min() < 1e-5
    np.testing.assert_allclose(every[:, 3], every[:, 2] / extent[2], atol=1e-6)


def test_only_the_cells_of_a_few_rows_wait_in_memory(scene, npy, tmp_path, monkeypatch):
    from pointadapt.scenes import _tiles

    most, whole = 0, _tiles.Votes.add

    def count(self, tile, probabilities):
        nonlocal most
        whole(self, tile, probabilities)
        most = max(most, sum(len(weight) for _, weight in self.open.values()))

    monkeypatch.setattr(_tiles.Votes, "add", count)
    label_scene(npy, tmp_path / "o.npy", scene.rule, CLASSES, Tiling(4, 0.5, 64, batch=1))
    # Cells of 2 m: 30 columns along the longer side, of which two and a bit are open.
    assert 0 < most < len(scene.xyz) / 8


def test_progress_counts_the_points_of_each_stage(scene, npy, tmp_path):
    told = {}
    label_scene(
        npy, tmp_path / "o.npy", scene.rule, CLASSES, Tiling(10, 0.5, 64),
        on_progress=lambda what, done, total: told.setdefault(what, []).append((done, total)),
    )  # fmt: skip
    assert list(told) == ["reading", "sorting", "labelling", "writing"]
    for steps in told.values():
        assert steps[-1] == (len(scene.xyz), len(scene.xyz))
        assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"block": 0}, "above 0"),
        ({"block": float("nan")}, "above 0"),
        ({"overlap": 0.9}, "between 0 and 0.75"),
        ({"points": 0}, "at least 1"),
        ({"passes": -1}, "at least 0"),
    ],
)
def test_tilings_out_of_range_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        Tiling(**options)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda p: np.full((*p.shape[:2], 2), np.nan), "NaN"),
        (lambda p: np.ones((*p.shape[:2], 3)), "2 classes were asked"),
    ],
)
def test_bad_predictions_are_refused(npy, tmp_path, wrong, said):
    with pytest.raises(PointAdaptError, match=said):
        label_scene(npy, tmp_path / "o.npy", lambda p, f: wrong(p), CLASSES)
    assert [p.name for p in tmp_path.iterdir()] == ["scene.npy"]


def test_nan_and_huge_coordinates_are_named(scene, tmp_path):
    bad = scene.xyz.copy()
    bad[77, 1] = np.nan
    np.save(tmp_path / "s.npy", bad)
    with pytest.raises(PointCloudError, match=r"s\.npy: has NaN .* first in point 77"):
        label_scene(tmp_path / "s.npy", tmp_path / "o.npy", scene.rule, CLASSES, chunk=50)
    bad[77, 1] = 1e300
    np.save(tmp_path / "s.npy", bad)
    with pytest.raises(PointCloudError, match=r"s\.npy: has coordinates too large"):
        label_scene(tmp_path / "s.npy", tmp_path / "o.npy", scene.rule, CLASSES)


def test_points_that_are_all_the_same_are_refused(scene, tmp_path):
    for points in (scene.xyz[:1], np.repeat(scene.xyz[:1], 300, axis=0)):
        np.save(tmp_path / "s.npy", points)
        with pytest.raises(PointCloudError, match=f"all of its {len(points)} points are the same"):
            label_scene(
                tmp_path / "s.npy", tmp_path / "o.npy", scene.rule, CLASSES, Tiling(5, 0.5, 32)
            )
    assert [p.name for p in tmp_path.iterdir()] == ["s.npy"]


def test_the_scale_of_colours_is_told_by_all_three(scene, tmp_path):
    table = np.zeros(
        2, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("r", "u2"), ("g", "u2"), ("b", "u2")]
    )
    table["r"], table["b"], table["x"] = 200, 40_000, (0, 1)  # 16 bits, though red is small
    np.save(tmp_path / "s.npy", table)
    seen = []

    def keep(points, features):
        seen.append(features)
        return scene.rule(points, features)

    label_scene(
        tmp_path / "s.npy", tmp_path / "o.npy", keep, CLASSES, Tiling(5, 0, 2), features=("red",)
    )
    np.testing.assert_allclose(seen[0], 200 / 65535, rtol=1e-6)


def test_a_cell_that_no_network_saw_takes_its_labels_from_the_rest_of_its_tile(scene, tmp_path):
    """One point beside thousands: whichever 16 of them are seen, it gets their label."""
    crowd = np.random.default_rng(0).random((3000, 3)) * [4, 4, 1] + [5, 5, 0]
    crowd[:, 2] += 8
    np.save(tmp_path / "s.npy", np.concatenate([crowd, [[4.9, 4.9, 0.0]]]))
    for seed in range(4):
        done = label_scene(
            tmp_path / "s.npy", tmp_path / "o.npy", scene.rule, CLASSES,
            Tiling(10, 0.5, 16, seed=seed),
        )  # fmt: skip
        assert done.counts == {"low": 0, "high": 3001}
        assert done.confidence == pytest.approx(1)
