"""Few-shot episodes: what is drawn, that it is fixed, and that the files say all."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, DataLayoutError, FileFormatError
from pointadapt.data import Clouds, load_dataset
from pointadapt.data.sets.episodes import Setting, draw_episodes, read_episode

SHAPES = Setting("shapes", {"size": 320, "test_size": 160}, way=5, shot=4, queries=3)


@pytest.fixture(scope="module")
def drawn():
    return draw_episodes(SHAPES, 4)


@pytest.fixture
def toy(toy_root, tmp_path):
    """A folder of two episodes of the toy data, and how to load one."""
    setting = Setting("folder", {}, way=3, shot=6, queries=3)
    for episode in draw_episodes(setting, 2, toy_root):
        episode.write(tmp_path)

    def load(split, **options):
        options = {"root": tmp_path, "source_root": toy_root, "points": 64, **options}
        return load_dataset("episodes", **options).load(split)

    load.folder = tmp_path
    return load


def test_n_way_k_shot(drawn):
    source = {split: load_dataset("shapes", size=320, test_size=160, points=16).load(split)
              for split in ("train", "test")}  # fmt: skip
    for fold, episode in enumerate(drawn):
        assert episode.fold == fold
        names = [name for name, _, _ in episode.classes]
        assert len(set(names)) == 5 and names == sorted(names)
        for name, support, query in episode.classes:
            assert (list(support), list(query)) == (["train"], ["test"])
            assert (len(support["train"]), len(query["test"])) == (4, 3)
            for split, items in (*support.items(), *query.items()):
                labels = {source[split].labels[int(i)] for i in items}
                assert labels == {source[split].classes.index(name)}


def test_the_seed_fixes_a_fold_and_folds_differ(drawn):
    assert draw_episodes(SHAPES, 2) == drawn[:2]  # whatever their number
    other = draw_episodes(Setting("shapes", SHAPES.options, 5, 4, 3, seed=1), 4)
    seen = [json.dumps(e.classes) for e in (*drawn, *other)]
    assert len(set(seen)) == 8


def test_files_give_the_same_episodes(drawn, tmp_path):
    for episode in drawn:
        path = episode.write(tmp_path)
        assert read_episode(path) == episode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.json", "1.json", "2.json", "3.json"]


def test_all_clouds_are_one_pool(drawn):
    setting = Setting("shapes", {"size": 96, "test_size": 64}, way=5, shot=3, queries=2, pool="all")
    episodes = draw_episodes(setting, 6)
    splits = Counter()
    for episode in episodes:
        for _, support, query in episode.classes:
            for part in (support, query):
                splits.update({split: len(items) for split, items in part.items()})
            chosen = [
                (s, i) for part in (support, query) for s, items in part.items() for i in items
            ]
            assert len(chosen) == len(set(chosen)) == 5  # all that there are: 3 + 2 of a class
    assert splits == {"train": 6 * 5 * 3, "test": 6 * 5 * 2}
    assert any("test" in support for e in episodes for _, support, _ in e.classes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shot": 11}, ("0 of 32 classes have 11 training and 3 test clouds", "--pool all")),
        ({"way": 33}, ("32 of 32 classes", "needs 33")),
        ({"queries": 12, "pool": "all"}, ("0 of 32 classes have 16 clouds", "lower --way")),
    ],
)
def test_too_few_clouds(changes, words):
    values = {"way": 5, "shot": 4, "queries": 3, **changes}
    with pytest.raises(DataLayoutError) as caught:
        draw_episodes(Setting("shapes", SHAPES.options, **values), 1)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_out_of_range():
    for values in ({"way": 1}, {"shot": 0}, {"queries": 0}, {"seed": -1}):
        with pytest.raises(ConfigError):
            Setting("shapes", {}, **values)


def test_loading(toy, toy_root):
    train, test = toy("train"), toy("test")
    assert (len(train), len(test)) == (18, 9)
    assert np.bincount(train.labels).tolist() == [6, 6, 6]
    assert train.classes == test.classes and len(train.classes) == 3
    source = load_dataset("folder", root=toy_root, points=64).load("train")
    for cloud, name, label in zip(train.points, train.ids, train.labels, strict=True):
        split, index, _ = name.split("/", 2)
        assert split == "train"
        np.testing.assert_array_equal(cloud, source.points[int(index)])
        assert source.classes[source.labels[int(index)]] == train.classes[label]
    assert toy("train", fold=1).ids != train.ids


def test_other_data_than_the_files_index(toy, toy_root, tmp_path_factory):
    moved = shutil.copytree(toy_root, tmp_path_factory.mktemp("other") / "toy")
    for split in ("train", "test"):
        for k, path in enumerate(sorted((moved / split).rglob("*.npy"))):
            if k % 2:
                path.unlink()
    for split in ("train", "test"):
        with pytest.raises(FileFormatError, match="another version") as caught:
            toy(split, source_root=moved)
        assert "0.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: "junk",
        lambda v: json.dumps([1]),
        lambda v: json.dumps({**v, "format": "other/1"}),
        lambda v: json.dumps({k: x for k, x in v.items() if k != "way"}),
        lambda v: json.dumps({**v, "classes": [{"name": "a", "support": []}]}),
        lambda v: json.dumps({**v, "classes": [{"name": "a", "support": 3, "query": {}}]}),
        lambda v: json.dumps(
            {**v, "classes": [{"name": "a", "support": {"trian": {}}, "query": {}}]}
        ),
        lambda v: json.dumps(
            {**v, "classes": [{"name": "a", "support": {"train": {"x": "y"}}, "query": {}}]}
        ),
    ],
)
def test_damaged_files(toy, change):
    path = toy.folder / "0.json"
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(ValueError, match=r"0\.json") as caught:
        toy("train")
    assert "\n" not in str(caught.value)


def test_no_such_fold(toy):
    with pytest.raises(DataLayoutError, match=r"7\.json is missing"):
        toy("train", fold=7)


def test_clouds_without_ids(monkeypatch, tmp_path):
    points = np.random.default_rng(0).random((12, 16, 3), np.float32)
    bare = Clouds(points, np.arange(12) % 3, ("a", "b", "c"))
    from pointadapt.data.sets.shapes import Shapes

    monkeypatch.setattr(Shapes, "load", lambda self, split: bare)
    (episode,) = draw_episodes(Setting("shapes", {}, 2, 2, 2), 1)
    episode.write(tmp_path)
    loaded = load_dataset("episodes", root=tmp_path, points=16).load("test")
    assert len(loaded) == 4 and len(set(loaded.ids)) == 4
