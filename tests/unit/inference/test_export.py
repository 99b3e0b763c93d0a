"""``pointadapt export``: files that other runtimes run, held against the adapter."""

import json
import shutil

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.cli.main import main
from pointadapt.core.errors import PointAdaptError
from pointadapt.inference import export as exporting
from pointadapt.inference.forward import predict_probabilities
from pointadapt.inference.onnx_weights import shrink
from pointadapt.methods import make_method
from pointadapt.ops import cloud_traits, farthest_point_sample, knn
from pointadapt.ops.neighbors import _nearest_exported
from pointadapt.ops.sampling import _sample_exported
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["plain", "pointnet2"])
def test_the_exported_search_finds_the_same_points(rule):
    """Also among equal points and equal distances."""
    draw = torch.Generator().manual_seed(0)
    rough = torch.randint(-2, 3, (2, 97, 3), generator=draw) * 0.3
    points = torch.cat([rough, torch.randn(2, 97, 3, generator=draw) * 0.1], dim=1)
    axes = points.permute(2, 0, 1).contiguous()
    want = farthest_point_sample(points, 60, rule=rule)
    assert torch.equal(_sample_exported(axes, 60, 0, rule == "pointnet2"), want)
    fine = torch.randn(2, 97, 3, generator=draw)
    fine_axes = fine.permute(2, 0, 1).contiguous()
    for got, known in zip(
        _nearest_exported(fine_axes[..., :9], fine_axes, 8), knn(fine[:, :9], fine, 8), strict=True
    ):
        assert torch.equal(got, known)


class Same(torch.nn.Module):
    """Answers 0, of points alone."""

    def given(self, clouds, points):
        return {"points": torch.zeros(clouds, points, 3)}

    def forward(self, points):
        return torch.zeros(1, 1)


def clouds(count, n):
    return np.random.default_rng(n).uniform(-2, 3, (count, n, 3)).astype(np.float32)


def answers(adapter, points):
    model = adapter_folder.load(adapter)
    return predict_probabilities(model, points, points.shape[1]).numpy()


@pytest.mark.slow
def test_torch(micro_adapter, tmp_path, capsys):
    out = tmp_path / "a.pt2"
    assert main(["export", str(micro_adapter), "--to", "torch", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["largest_difference"] < 1e-5
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt2"]
    program = torch.export.load(out).module()
    for count, n in ((1, 64), (5, 90)):
        points = clouds(count, n)
        got = program(points=torch.from_numpy(points)).detach().numpy()
        np.testing.assert_allclose(got, answers(micro_adapter, points), atol=1e-5)


@pytest.mark.slow
def test_with_a_forest_it_takes_traits_beside_points(micro_backbone, toy_batch, tmp_path):
    task = make_task("classification", {"hidden": 0, "forest": 3})
    net, head = load_backbone(micro_backbone), ("patch_max", "size")
    classes = ("a", "b", "c", "d")
    model = PointModel(net, Adapter(net, make_method("linear_probe"), task, classes, head)).eval()
    points, labels = toy_batch
    traits = cloud_traits(points)
    model.adapter.head.see(traits)
    model.adapter.head.learn(traits.numpy(), labels.numpy(), 0)
    adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(micro_backbone), points=64)
    done = exporting.export_file(tmp_path / "a", tmp_path / "a.pt2", to="torch")
    assert done["inputs"] == ["points", "traits"] and done["largest_difference"] < 1e-5
    program = torch.export.load(tmp_path / "a.pt2").module()
    got = program(points=points, traits=traits)
    want = model(model.adapter.prepared(points), traits=traits).softmax(dim=1)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_onnx(micro_adapter, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    out = tmp_path / "a.onnx"
    assert main(["export", str(micro_adapter), "--out", str(out)]) == 0
    session = onnxruntime.InferenceSession(out)
    about = session.get_modelmeta().custom_metadata_map
    assert about["classes"].split("\n") == [*adapter_folder.load(micro_adapter).classes]
    for count, n in ((1, 64), (5, 90)):
        points = clouds(count, n)
        (got,) = session.run(None, {"points": points})
        np.testing.assert_allclose(got, answers(micro_adapter, points), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["idpt", "gft"])
def test_onnx_of_a_graph_among_features(name, micro_backbone, tmp_path):
    """Trained weights may be any; the graph's neighbours are found without torch's cdist."""
    onnxruntime, net = pytest.importorskip("onnxruntime"), load_backbone(micro_backbone)
    method = make_method(name, {"neighbors": 3})
    model = PointModel(net, Adapter(net, method, make_task("classification"), tuple("abcd"))).eval()
    torch.manual_seed(0)
    for parameter in model.adapter.taps.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(micro_backbone), points=64)
    exporting.export_file(tmp_path / "a", tmp_path / "a.onnx")
    points = clouds(3, 64)
    (got,) = onnxruntime.InferenceSession(tmp_path / "a.onnx").run(None, {"points": points})
    np.testing.assert_allclose(got, answers(tmp_path / "a", points), atol=1e-4)


@pytest.mark.slow
def test_points_are_picked_as_in_prediction(micro_adapter, tmp_path):
    """Of an adapter that was trained on 64 points of 128."""
    shutil.copytree(micro_adapter, tmp_path / "a")
    config = tmp_path / "a" / adapter_folder.CONFIG
    config.write_text(json.dumps({**json.loads(config.read_text()), "available": 128}))
    done = exporting.export_file(tmp_path / "a", tmp_path / "a.pt2", to="torch", picks=True)
    assert done["points"] == 128
    points = clouds(3, 128)
    got = torch.export.load(tmp_path / "a.pt2").module()(points=torch.from_numpy(points))
    want = predict_probabilities(adapter_folder.load(micro_adapter), points, 64)
    np.testing.assert_allclose(got.detach().numpy(), want.numpy(), atol=1e-5)


@pytest.mark.parametrize("weights", ["fp16", "int8"])
def test_weights_of_fewer_bits(weights, tmp_path):
    """A product whose factors are known: it is near, and the file smaller."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    factor = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [make.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [make.make_tensor_value_info("x", kind, ["n", 256])],
        [make.make_tensor_value_info("y", kind, ["n", 64])],
        [onnx.numpy_helper.from_array(factor, "w")],
    )  # fmt: skip
    file = tmp_path / "a.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 18)]), file)
    before = file.stat().st_size
    shrink(file, weights)
    x = np.random.default_rng(1).normal(size=(5, 256)).astype(np.float32)
    (got,) = onnxruntime.InferenceSession(file).run(None, {"x": x})
    assert file.stat().st_size < before * {"fp16": 0.51, "int8": 0.27}[weights]
    error = np.abs(got - x @ factor).max()
    assert 0 < error < {"fp16": 0.03, "int8": 0.8}[weights]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["part_segmentation", "scene_segmentation"])
def test_onnx_of_points(task, micro_backbone, tmp_path):
    """Labels of points, which go by the clouds' class, or by features with a forest beside."""
    onnxruntime = pytest.importorskip("onnxruntime")
    draw, scenes = np.random.default_rng(2), task == "scene_segmentation"
    options = {"width": 16, "hidden": "16,8", **({"forest": 3} if scenes else {})}
    net, made = load_backbone(micro_backbone), make_task(task, options)
    names = {"parts": ("a/x", "a/y", "b/z"), "features": ("red", "z") if scenes else ()}
    adapter = Adapter(net, make_method("dapt", {"rank": 4}), made, ("a", "b"), **names)
    model = PointModel(net, adapter).eval()
    features = draw.normal(size=(5, 90, 2)).astype(np.float32)
    adapter.head.learn(features, draw.integers(3, size=(5, 90)), 0)
    adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(micro_backbone), points=64)
    done = exporting.export_file(tmp_path / "a", tmp_path / "a.onnx")
    given = {"features": features} if scenes else {"category": np.array([0, 1, 1, 0, 1])}
    assert done["inputs"] == ["points", *given] and done["labels"] == ["a/x", "a/y", "b/z"]
    points = clouds(5, 90)
    told = {k: torch.from_numpy(v) for k, v in given.items()}
    (got,) = onnxruntime.InferenceSession(tmp_path / "a.onnx").run(
        None, {"points": points, **given}
    )
    with torch.no_grad():
        out = model(adapter.prepared(torch.from_numpy(points)), **told)
    assert got.shape == (5, 90, 3)
    np.testing.assert_allclose(got, made.activate(out).numpy(), atol=1e-4)


@pytest.mark.slow
def test_a_file_that_answers_otherwise_is_not_written(micro_adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_opened", lambda *_: lambda given: np.zeros((1, 1)) + 2)
    with pytest.raises(PointAdaptError, match="answers otherwise"):
        exporting.export_file(micro_adapter, tmp_path / "a.pt2", to="torch")
    nothing = iter([np.nan, 0.0])
    monkeypatch.setattr(exporting, "_opened", lambda *_: lambda given: np.array([[next(nothing)]]))
    with pytest.raises(PointAdaptError, match="answers otherwise, by nan"):
        exporting._difference(tmp_path, "onnx", Same().eval(), 5)
    assert not [*tmp_path.iterdir()]
