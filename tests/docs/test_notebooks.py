"""The notebooks run from the first cell to the last, with numbers of a toy's size."""

import json
from pathlib import Path

import matplotlib
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))
SMALL = {"FILES": 4, "EPOCHS": 1}  # instead of what the cell tagged "parameters" says


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    for cell in cells(path):
        assert not cell.get("outputs"), cell["id"]
    assert "parameters" in [tag for cell in cells(path) for tag in cell["metadata"].get("tags", ())]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names = {}
    for cell in cells(path):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}, {cell['id']}", "exec"), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                assert names.keys() >= SMALL.keys()
                names.update(SMALL)
    said = capsys.readouterr().out
    assert "{'chair': 4, 'guitar': 4, 'lamp': 4, 'table': 4}" in said
    assert said.count("files right, after") == 2
    assert len(list((tmp_path / "runs/notebook/new").iterdir())) >= len(names["found"]) > 1
    assert all(row.label in ("chair", "guitar", "lamp", "table") for row in names["found"])
    assert (tmp_path / "runs/notebook/new.png").stat().st_size > 10_000
