"""One ONNX network with several adapters, run by onnxruntime."""

import json

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.errors import ConfigError
from pointadapt.inference import onnx_adapters
from pointadapt.inference.forward import predict_probabilities
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task


def adapters(folder, backbone, seeds):
    """Adapters that training would move from where it begins."""
    for seed in seeds:
        torch.manual_seed(seed)
        net, method = load_backbone(backbone), make_method("dapt", {"rank": 4})
        names = (f"a{seed}", f"b{seed}", f"c{seed}")
        model = PointModel(net, Adapter(net, method, make_task("classification"), names)).eval()
        with torch.no_grad():
            for tensor in model.adapter.parameters():
                tensor.add_(torch.randn_like(tensor), alpha=0.1)
        where = folder / f"n{seed}"
        adapter_folder.save_adapter(model, where, backbone=str(backbone), points=64)
        yield where.name, where


@pytest.mark.slow
def test_each_adapter_answers_as_in_python(micro_backbone, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    made = dict(adapters(tmp_path, micro_backbone, (1, 2)))
    onnx_adapters.export_adapters(made, tmp_path / "out")
    files = ["adapters.json", "base.onnx", "n1.onnx_adapter", "n2.onnx_adapter"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files
    told = json.loads((tmp_path / "out" / "adapters.json").read_text())
    assert told["n2"]["labels"] == ["a2", "b2", "c2"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(tmp_path / "out" / "base.onnx", options)
    points = np.random.default_rng(0).uniform(-1, 1, (3, 70, 3)).astype(np.float32)
    answers = []
    for name in ("n2", "n1", "n2"):
        given, run = onnxruntime.LoraAdapter(), onnxruntime.RunOptions()
        given.Load(str(tmp_path / "out" / f"{name}.onnx_adapter"))
        run.add_active_adapter(given)
        answers.append(session.run(None, {"points": points}, run)[0])
        want = predict_probabilities(adapter_folder.load(made[name]), points, 70)
        np.testing.assert_allclose(answers[-1], want.numpy(), atol=1e-4)
    assert np.abs(answers[0] - answers[1]).max() > 1e-2


def test_other_networks_are_refused(tmp_path):
    onnx = pytest.importorskip("onnx")

    def model(width):
        numbers = onnx.numpy_helper.from_array(np.zeros(width, np.float32), "w")
        return onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [numbers]))

    with pytest.raises(ConfigError, match="x and y are different networks"):
        onnx_adapters._differing({"x": model(2), "y": model(3)})
    with pytest.raises(ConfigError, match="at least two"):
        onnx_adapters.export_adapters({"x": tmp_path}, tmp_path / "out")
