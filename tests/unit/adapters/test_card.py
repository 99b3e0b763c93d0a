"""The code that an adapter's card shows does what it says."""

import re
import runpy
from pathlib import Path

import pytest
import torch

from pointadapt import train
from pointadapt.adapters.folder import CARD, load
from pointadapt.inference.forward import predict_probabilities

make = runpy.run_path(str(Path(__file__).parents[2] / "data/toy/make.py"))["make"]


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ({"head": ("cls", "patch_max")}, "model(points)"),
        ({"head": ("cls", "size")}, "model(points, traits=traits)"),
        ({"head": ("cls",), "task_options": ("forest=3",)}, "model(points, traits=traits)"),
        ({"head": ("cls",), "task_options": ("instant=true",)}, "model(points, traits=traits)"),
    ],
)
def test_its_code_runs_and_predicts_as_we_do(tmp_path, bare_backbone, options, call):
    results = train(
        data="folder", root=make(tmp_path / "scans", train=3, test=1, n=64), points="auto",
        backbone=str(bare_backbone("point_vit")), method="linear_probe", out=tmp_path / "run",
        epochs=1, tensorboard=False, baseline=False, threads=1, **options,
    )  # fmt: skip
    assert results["config"]["points"] == 64
    text = Path(results["adapter"], CARD).read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert call in code and ("cloud_traits" in code) == ("traits" in call)
    points = 3 * torch.rand(5, 64, 3, generator=torch.Generator().manual_seed(0))
    names = {"points": points}
    exec(code.replace("this/folder", results["adapter"]), names)
    expected = predict_probabilities(load(results["adapter"]), points, 64)
    assert torch.allclose(names["logits"].detach().softmax(dim=1), expected, atol=1e-5)
