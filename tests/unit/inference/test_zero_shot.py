"""Classes by their names alone."""

import json

import numpy as np
import pytest
import torch

from pointadapt.cli.main import main
from pointadapt.core.errors import ConfigError, FileFormatError, UnknownNameError
from pointadapt.inference.zero_shot import as_input, name_scores, read_embeddings
from pointadapt.io import Cloud
from pointadapt.pretrained.load import load_backbone

NAMES = ("chair", "table", "lamp")


@pytest.fixture
def net(bare_backbone):
    return load_backbone(bare_backbone("uni3d")).eval()


@pytest.fixture
def texts(tmp_path):
    rows = np.random.default_rng(0).normal(size=(3, 1024)).astype(np.float32)
    np.savez(tmp_path / "texts.npz", names=np.array(NAMES), embeddings=rows)
    return tmp_path / "texts.npz"


def test_the_names_asked_for_in_their_order(texts):
    every, table = read_embeddings(texts)
    assert every == NAMES
    assert table.norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    some, rows = read_embeddings(texts, ["lamp", "chair"])
    assert some == ("lamp", "chair")
    assert torch.equal(rows, table[[2, 0]])
    with pytest.raises(UnknownNameError, match="did you mean 'lamp'"):
        read_embeddings(texts, ["lam"])


@pytest.mark.parametrize(
    "content",
    [{"names": np.array(NAMES)}, {"names": np.arange(3), "embeddings": np.ones((3, 4))},
     {"names": np.array(NAMES), "embeddings": np.ones((2, 4))},
     {"names": np.array(NAMES), "embeddings": np.zeros((3, 4))},
     {"names": np.array(NAMES), "embeddings": np.full((3, 4), np.nan)},
     {"names": np.array(NAMES, dtype=object), "embeddings": np.ones((3, 4))}],
)  # fmt: skip
def test_files_that_hold_something_else(content, tmp_path):
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(FileFormatError, match=r"bad\.npz"):
        read_embeddings(tmp_path / "bad.npz")
    with pytest.raises(FileFormatError, match="none"):
        read_embeddings(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"no archive", b"PK\3\4 cut short", b"\x93NUMPY"])
def test_files_of_another_kind(content, tmp_path):
    (tmp_path / "other.npz").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"other\.npz"):
        read_embeddings(tmp_path / "other.npz")


def test_scores_are_cosines_and_their_softmax(net, texts, toy_batch):
    _, table = read_embeddings(texts)
    cosines, sure = name_scores(net, toy_batch[0][:4], table)
    with torch.no_grad():
        x = net(toy_batch[0][:4]).x[:, 0] @ net.text_space.weight.t() + net.text_space.bias
    want = torch.nn.functional.cosine_similarity(x.unsqueeze(1), table, dim=-1)
    torch.testing.assert_close(cosines, want, atol=1e-5, rtol=0)
    torch.testing.assert_close(sure, (want / 0.07).softmax(dim=-1), atol=1e-4, rtol=0)


def test_backbones_that_know_no_texts(bare_backbone, net, texts, toy_batch):
    _, table = read_embeddings(texts)
    other = load_backbone(bare_backbone("point_vit"))
    with pytest.raises(ConfigError, match="knows no texts"):
        name_scores(other, toy_batch[0], table)
    with pytest.raises(ConfigError, match="7 wide"):
        name_scores(net, toy_batch[0], table[:, :7])


def test_a_cloud_is_turned_to_y_up_and_keeps_its_colours():
    points = np.array([[0, 0, 0], [1, 2, 3], [-1, -2, -3]], dtype=np.float32)
    got = as_input(Cloud(points, colors=points * 0 + 0.25))
    assert got.shape == (1, 3, 6)
    torch.testing.assert_close(got[0, 1, :3], torch.tensor([1.0, 3, -2]) / 14**0.5)
    assert (got[..., 3:] == 0.25).all()
    assert as_input(Cloud(points)).shape == (1, 3, 3)


def test_the_command(bare_backbone, net, texts, own_files, capsys):
    flags = ["--backbone", str(bare_backbone("uni3d")), "--embeddings", str(texts)]
    flags += ["--points", "64", "--json", "--names", "lamp", "chair"]
    file = own_files / "tall/0.ply"
    assert main(["predict", str(file), *flags]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert [name for name, _ in row["top"]] in (["lamp", "chair"], ["chair", "lamp"])
    assert sum(p for _, p in row["top"]) == pytest.approx(1, abs=1e-4)
    assert row["label"] == row["top"][0][0]
    assert main(["predict", str(file), *flags[2:]]) == 2
    assert "--backbone" in capsys.readouterr().err
