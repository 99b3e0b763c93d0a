"""S3DIS: rooms from the raw tree, what the field's conventions are, and damaged variants."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointadapt.core.errors import (
    ConfigError,
    DataLayoutError,
    FileFormatError,
    PointAdaptError,
    PointCloudError,
)
from pointadapt.data import load_dataset
from pointadapt.data.reading.s3dis_rooms import CLASSES, prepare, raw_rooms, read_index

MAKE = runpy.run_path(str(Path(__file__).parents[2] / "data/s3dis/make.py"))
SMALL = {"points": 32, "blocks": 8, "test_blocks": 6, "least": 16}
ROOMS = [
    "Area_1_conferenceRoom_1", "Area_1_office_1", "Area_2_office_1", "Area_3_office_2",
    "Area_5_hallway_6", "Area_5_office_1",
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = MAKE["write_tree"](tmp_path_factory.mktemp("s3dis"))
    (root / "Area_1/office_1/Annotations/._wall_1.txt").write_bytes(b"\0\5\x16\7")  # of a Mac
    return root


@pytest.fixture(scope="module")
def rooms(tree):
    """The folder of prepared rooms."""
    load_dataset("s3dis", root=tree, **SMALL).load("test")
    return tree.with_name(tree.name + "_rooms")


@pytest.fixture
def copied(rooms, tmp_path):
    """Prepared rooms to be damaged."""
    return Path(shutil.copytree(rooms, tmp_path / "rooms"))


def one_line(call, error):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def loading(root, split="test", **options):
    return lambda: load_dataset("s3dis", root=root, **{**SMALL, **options}).load(split)


# ---- preparing


def test_rooms_are_what_the_fields_script_makes(tree, rooms):
    assert sorted(path.stem for path in rooms.glob("*.npy")) == ROOMS
    rows = np.load(rooms / "Area_1_office_1.npy")
    parts = []
    for path in sorted((tree / "Area_1/office_1/Annotations").glob("[!.]*.txt")):
        name = path.name.split("_")[0]
        label = CLASSES.index(name) if name in CLASSES else CLASSES.index("clutter")
        parts.append(np.column_stack([part := np.loadtxt(path), np.full(len(part), label)]))
    want = np.concatenate(parts)
    want[:, :3] -= want[:, :3].min(axis=0)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, want, atol=1e-5)
    assert rows[:, :3].min(axis=0).tolist() == [0, 0, 0]
    index = read_index(rooms)
    assert list(index) == ROOMS
    assert index["Area_1_office_1"]["points"] == len(rows)


def test_the_row_with_a_control_character_is_mended_and_told(tree, rooms):
    notes = read_index(rooms)["Area_5_hallway_6"]["notes"]
    assert len(notes) == 1
    assert "ceiling_1.txt: line 2 is no row of numbers: an odd byte was taken out" in notes[0]
    raw = tree / "Area_5/hallway_6/Annotations"
    count = sum(len(path.read_bytes().splitlines()) for path in raw.glob("*.txt"))
    assert len(np.load(rooms / "Area_5_hallway_6.npy")) == count  # no row is lost


@pytest.mark.parametrize(
    ("row", "mended"),
    [
        (b"1 2 3 185.0\x10 187 182", [1, 2, 3, 185, 187, 182]),
        (b"1 2 3 185.0\x10187 182", [1, 2, 3, 185, 187, 182]),
        (b"1 2 3 18\xe95 187 182", [1, 2, 3, 185, 187, 182]),
        (b"1 2 3 nonsense 187 182", None),
    ],
)
def test_odd_rows(row, mended, tmp_path):
    from pointadapt.data.reading.s3dis_rooms import read_object

    path = tmp_path / "wall_1.txt"
    path.write_bytes(b"0 0 0 1 2 3\n" + row + b"\n4 4 4 1 2 3\n")
    rows, notes = read_object(path)
    assert "line 2 is no row" in notes[0] and len(notes) == 1
    assert ("left out" in notes[0]) == (mended is None)
    assert rows.shape == (2 if mended is None else 3, 6)
    assert mended is None or rows[1].tolist() == mended


def test_a_killed_preparation_goes_on_with_the_next_room(tree, tmp_path):
    every, out = raw_rooms(tree), tmp_path / "rooms"
    prepare(dict(list(every.items())[:2]), out, lambda n: None, print)
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("*.npy")}
    assert len(first) == 2
    (out / "Area_2_office_1.npy").write_bytes(b"half")  # not in the index: does not count
    with (out / "Area_1_office_1.npy").open("ab") as stream:
        stream.write(b"more")  # longer than the index says
    done = []
    prepare(every, out, done.append, print)
    assert done == [1, 2, 3, 4, 5, 6]
    assert list(read_index(out)) == ROOMS
    kept = out / "Area_1_conferenceRoom_1.npy"
    assert kept.stat().st_mtime_ns == first[kept.name]
    assert all(len(np.load(path).shape) == 2 for path in out.glob("*.npy"))
    assert not list(out.glob("*.part"))


def test_two_processes_at_once(tree, rooms, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from pointadapt.data.reading.s3dis_rooms import prepare, raw_rooms\n"
        "prepare(raw_rooms(Path(sys.argv[1])), Path(sys.argv[2]), lambda n: None, print)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, tree, tmp_path / "out"]) for _ in "ab"]
    assert [process.wait(300) for process in both] == [0, 0]
    mine, want = read_index(tmp_path / "out"), read_index(rooms)
    assert {k: v["sha256"] for k, v in mine.items()} == {k: v["sha256"] for k, v in want.items()}


def test_prepared_rooms_may_lie_elsewhere(tree, tmp_path):
    data = load_dataset("s3dis", root=tree.parent, rooms_dir=tmp_path / "mine", **SMALL)
    assert len(data.load("test")) == 6
    assert (tmp_path / "mine/rooms.json").is_file()


# ---- loading


def test_features_make_the_fields_nine_channels(rooms):
    data = load_dataset("s3dis", root=rooms, **SMALL)
    for scene, blocks in data.whole_scenes("test"):
        rows = np.load(rooms / f"{scene.name}.npy")
        for index, clouds in blocks:
            np.testing.assert_allclose(clouds.features[..., :3], rows[index, 3:6] / 255, atol=1e-6)
            place = rows[index, :3] / rows[:, :3].max(axis=0)
            np.testing.assert_allclose(clouds.features[..., 3:], place, atol=1e-5)
            np.testing.assert_array_equal(clouds.parts, rows[index, 6])
            np.testing.assert_array_equal(clouds.points[..., 2], rows[index, 2])
            assert np.abs(clouds.points[..., :2]).max() <= 0.502
            moved = rows[index, :2] - clouds.points[..., :2]  # one middle for each block
            np.testing.assert_allclose(moved, moved[:, :1].repeat(32, axis=1), atol=1e-5)


def test_rooms_hold_every_point(rooms):
    data = load_dataset("s3dis", root=rooms, stride=0.5, **SMALL)
    for scene, blocks in data.whole_scenes("test"):
        seen = np.zeros(len(scene), int)
        for index, _ in blocks:
            np.add.at(seen, index, 1)
        assert seen.min() >= 1


def test_the_split_is_by_area(rooms):
    def areas(split, **options):
        clouds = load_dataset("s3dis", root=rooms, **{**SMALL, **options}).load(split)
        return {name.split("_")[1] for name in clouds.ids}

    assert (areas("test"), areas("train")) == ({"5"}, {"1", "2", "3"})
    assert (areas("test", area=1), areas("train", area=1)) == ({"1"}, {"2", "3", "5"})
    assert "areas are 1 to 6" in one_line(loading(rooms, area=7), ConfigError)
    assert "no scene for the split 'test'" in one_line(loading(rooms, area=4), DataLayoutError)


def test_numbers_of_blocks(rooms):
    def count(split, **options):
        return len(load_dataset("s3dis", root=rooms, **{**SMALL, **options}).load(split))

    assert abs(count("train", blocks=40) - 40) <= 2
    train = [len(np.load(rooms / f"{name}.npy")) for name in ROOMS[:4]]
    assert abs(count("train", blocks=0) - sum(train) / 32) <= 4  # the field's rule
    assert count("test", test_blocks=0) > 20 >= count("test", test_blocks=20) > 10


def test_verify_tells_a_changed_room(copied):
    notes = load_dataset("s3dis", root=copied).verify()
    assert "Area_5: 2 rooms, the official release has 68" in notes
    assert len(notes) == 6
    path = copied / "Area_1_office_1.npy"
    rows = np.load(path)
    rows[0, 0] += 1
    np.save(path, rows)
    assert any("Area_1_office_1.npy: changed since" in x for x in load_dataset(
        "s3dis", root=copied
    ).verify())  # fmt: skip


# ---- damaged variants


def test_a_room_without_annotations(tmp_path):
    tree = MAKE["write_tree"](tmp_path)
    shutil.rmtree(tree / "Area_5/office_1/Annotations")
    message = one_line(loading(tree), DataLayoutError)
    assert str(tree / "Area_5/office_1/Annotations") in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"1 2 3 4 5\n" * 3, "has 5 columns, not the 6"),
        (b"1 2 3 4 5 6\n1 2 3\n", "not rows of x y z r g b"),
        (b"", "is empty"),
        (b"1 2 3 4 5 300\n", "colours outside 0 to 255"),
        (b"<html>no</html>\n" * 30, "more than 20 rows are no numbers"),
    ],
)
def test_damaged_annotations(text, words, tmp_path):
    folder = tmp_path / "Area_1/office_1/Annotations"
    folder.mkdir(parents=True)
    (folder / "wall_1.txt").write_bytes(text)
    message = one_line(loading(tmp_path, "train"), FileFormatError)
    assert str(folder / "wall_1.txt") in message
    assert words in message


def damage(folder, change):
    path = folder / "Area_5_office_1.npy"
    rows = change(np.load(path))
    np.save(path, rows)
    return path


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda r: r[:, :6], FileFormatError, "must be numbers (n, 7)"),
        (lambda r: np.column_stack([r[:, :6], r[:, 6] + 9]), FileFormatError,
         "is outside 0 to 12, the 13 classes"),
        (lambda r: np.column_stack([r[:, :6], r[:, 6] + 0.5]), FileFormatError, "is outside"),
        (lambda r: np.where(np.arange(7) == 1, np.nan, r), PointCloudError, "NaN or infinite"),
        (lambda r: r.astype(str), FileFormatError, "must be numbers"),
    ],
)  # fmt: skip
def test_damaged_rooms(change, error, words, copied):
    path = damage(copied, change)
    message = one_line(loading(copied), error)
    assert str(path) in message
    assert words in message


def test_truncated_room(copied):
    path = copied / "Area_5_office_1.npy"
    path.write_bytes(path.read_bytes()[:-100])
    message = one_line(loading(copied), FileFormatError)
    assert str(path) in message
    assert "cut short" in message


def test_damaged_index(tree, copied):
    for text in ("{", "[]", json.dumps({"rooms": {"Area_1_office_1": 3}})):
        (copied / "rooms.json").write_text(text)
        message = one_line(loading(tree, rooms_dir=copied), (FileFormatError, PointAdaptError))
        assert "rooms.json: damaged" in message


@pytest.mark.parametrize(
    "options", [{"stride": 2.0}, {"block": 0.0}, {"points": 0}, {"blocks": -1}]
)
def test_options_out_of_range(options, rooms):
    assert next(iter(options)) in one_line(loading(rooms, **options), ConfigError)
