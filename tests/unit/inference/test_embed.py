"""``pointadapt embed`` and ``pointadapt suggest``."""

import json

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.cli.main import main
from pointadapt.core.errors import ConfigError
from pointadapt.inference.embed import choose, embed, suggest
from pointadapt.inference.predict import predict


def test_the_file_holds_what_the_network_makes_of_each_file(micro_adapter, own_files, tmp_path):
    out = tmp_path / "f.npz"
    flags = ["--adapter", str(micro_adapter), "--out", str(out), "--per-point"]
    assert main(["embed", str(own_files), *flags]) == 0
    with np.load(out) as found:
        assert found["cls"].shape == found["mean"].shape == found["max"].shape == (8, 24)
        assert found["features"].shape == (8, 64, 24)
        paths, points = found["paths"].tolist(), found["points"]
        model = adapter_folder.load(micro_adapter)
        with torch.no_grad():
            tokens = model.tokens(model.adapter.prepared(torch.from_numpy(points)))
        np.testing.assert_allclose(found["cls"], tokens.x[:, 0], atol=1e-5)
        np.testing.assert_allclose(found["mean"], tokens.patches.mean(dim=1), atol=1e-5)
        for path, row, answer in zip(
            paths, found["probabilities"], predict(paths, micro_adapter), strict=True
        ):
            assert str(answer.path) == path
            assert model.classes[row.argmax()] == answer.label
            assert row.max() == pytest.approx(answer.confidence, abs=1e-5)


def test_bad_files_are_reported_in_their_place(micro_adapter, own_files, tmp_path, capsys):
    (own_files / "flat" / "bad.ply").write_text("no ply")
    out = tmp_path / "f.npz"
    flags = ["--adapter", str(micro_adapter), "--out", str(out)]
    assert main(["embed", str(own_files), *flags]) == 2
    assert "bad.ply" in capsys.readouterr().err
    with np.load(out) as found:
        assert len(found["cls"]) == 8
        assert found["bad"].tolist() == [str(own_files / "flat" / "bad.ply")]
    with pytest.raises(ConfigError, match="no file could be read"):
        embed([own_files / "flat" / "bad.ply"], micro_adapter)


def features(rows, probabilities=None):
    x = np.array(rows, float)
    out = {"mean": x, "max": x, "paths": np.array([f"f{k}" for k in range(len(x))])}
    return out if probabilities is None else {**out, "probabilities": np.array(probabilities)}


def test_suggestions_cover_what_there_is():
    """Two heaps and one far away: one of each, before a second of any."""
    rows = [[0, 0], [0.01, 0], [0, 0.01], [5, 5], [5.01, 5], [-9, 4]]
    found = [row["path"] for row in choose(features(rows), 3)]
    assert found[0] == "f5"
    assert {found[1] in ("f3", "f4"), found[2] in ("f0", "f1", "f2")} == {True} or {
        found[2] in ("f3", "f4"), found[1] in ("f0", "f1", "f2"),
    } == {True}  # fmt: skip
    assert len(choose(features(rows), 99)) == 6
    with pytest.raises(ConfigError):
        choose(features(rows), 0)


def test_doubt_decides_between_files_that_are_as_far():
    rows = [[-1, 0], [1, 0]]
    sure, unsure = [0.99, 0.01], [0.5, 0.5]
    first = choose(features(rows, [sure, unsure]), 1)[0]
    assert first["path"] == "f1" and first["doubt"] == pytest.approx(1)
    assert choose(features(rows, [unsure, sure]), 1)[0]["path"] == "f0"
    assert choose(features(rows), 1)[0]["doubt"] is None


def test_the_command_prints_a_list(micro_adapter, own_files, capsys):
    flags = ["--adapter", str(micro_adapter), "--count", "3", "--json"]
    assert main(["suggest", str(own_files), *flags]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len({row["path"] for row in rows}) == 3
    assert all(0 <= row["doubt"] <= 1 for row in rows)
    assert suggest([own_files], micro_adapter, count=3)[0]["path"] == rows[0]["path"]
