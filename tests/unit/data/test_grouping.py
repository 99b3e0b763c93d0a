"""What belongs together stays on one side of a split that is drawn."""

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, DataLayoutError
from pointadapt.data import Clouds, load_dataset
from pointadapt.data.grouping import group_folds, held_groups
from pointadapt.data.sets.folder import Folder
from pointadapt.data.sets.folds import draw_folds
from pointadapt.data.splits import held_out


@pytest.fixture
def scans(tmp_path):
    """Two classes, six scans of each of five people, whose number is in the file's name."""
    rng = np.random.default_rng(0)
    for name in ("wave", "knock"):
        for person in range(5):
            for k in range(6):
                path = tmp_path / name / f"p{person}_{k}.npy"
                path.parent.mkdir(exist_ok=True)
                np.save(path, rng.normal(size=(40, 3)).astype(np.float32))
    return tmp_path


def people(clouds):
    return {name.split("/")[1][:2] for name in clouds.ids}


def test_a_drawn_split_keeps_people_apart(scans):
    data = Folder(root=scans, points=32, group=r"p\d+")
    train, test = data.load("train"), data.load("test")
    assert people(train) | people(test) == {f"p{k}" for k in range(5)}
    assert not people(train) & people(test)
    assert set(train.groups) == people(train)
    assert len(test) == 12  # a fifth, of both classes
    assert len(people(Folder(root=scans, points=32).load("test"))) > 1  # else they are mixed


def test_the_first_brackets_are_the_group(scans):
    train = Folder(root=scans, points=32, group=r"/p(\d)").load("train")
    assert set(train.groups) < {"0", "1", "2", "3", "4"}


def test_a_column_of_the_manifest_is_the_group(scans):
    rows = [f"{path.relative_to(scans)},{path.parent.name},house {path.name[1]}"
            for path in sorted(scans.rglob("*.npy"))]  # fmt: skip
    (scans / "manifest.csv").write_text("\n".join(["path,label,group", *rows]))
    test = Folder(root=scans, points=32).load("test")
    assert len(set(test.groups)) == 1
    assert test.groups[0].startswith("house ")


def test_folds_and_what_is_held_out_keep_them_apart_too(scans):
    data = Folder(root=scans, points=32, group=r"p\d+")
    index, clouds = draw_folds(data, {}, "all", 3, 0)
    fold_of = index.fold_of()
    for person in set(clouds.groups):
        assert len(set(fold_of[np.array(clouds.groups) == person])) == 1
    assert set(fold_of) == {0, 1, 2}
    train = data.load("train")
    kept, held = held_out(train, 0.25, 0)
    assert len(kept) + len(held) == len(train)
    assert not set(train.subset(kept).groups) & set(train.subset(held).groups)
    with pytest.raises(ConfigError, match="5 groups cannot be split into 6"):
        draw_folds(data, {}, "all", 6, 0)


def test_what_cannot_be_drawn_is_said(scans):
    for options, kind, said in (
        ({"group": "q"}, DataLayoutError, "finds nothing"),
        ({"group": "("}, ConfigError, "no regular expression"),
        ({"group": "p"}, DataLayoutError, "of the group 'p'"),
        ({"group": "[a-z]+"}, DataLayoutError, "too few groups"),
    ):
        with pytest.raises(kind, match=said):
            load_dataset("folder", root=scans, points=32, **options).load("train")


def test_shares_are_as_even_as_groups_allow():
    labels, groups = np.arange(120) % 2, [str(k // 12) for k in range(120)]
    fold = group_folds(labels, groups, 5, 0)
    assert np.bincount(fold).tolist() == [24] * 5
    assert held_groups(labels, groups, 0.2, 0).mean() == pytest.approx(0.2)
    np.testing.assert_array_equal(fold, group_folds(labels, groups, 5, 0))


def test_groups_and_traits_go_where_their_clouds_go():
    points = np.random.default_rng(0).normal(size=(4, 8, 3)).astype(np.float32)
    traits = np.arange(4 * 29, dtype=np.float32).reshape(4, 29)
    clouds = Clouds(points, np.zeros(4, np.int64), ("a",), traits=traits, groups=tuple("wxyz"))
    some = clouds.subset([2, 0])
    assert some.groups == ("y", "w")
    np.testing.assert_array_equal(some.known_traits, traits[[2, 0]])
    assert Clouds(points, np.zeros(4, np.int64), ("a",)).known_traits.shape == traits.shape
