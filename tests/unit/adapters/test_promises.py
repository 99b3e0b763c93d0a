"""What strangers write into an adapter's configuration."""

import json

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.adapters.promises import numbers_of
from pointadapt.adapters.protocol import Protocol
from pointadapt.core.errors import AdapterError, PointAdaptError
from pointadapt.core.tensors import read_safetensors, write_safetensors
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES = ("ball", "helix")


@pytest.fixture
def make(bare_backbone, tmp_path):
    def made(method):
        folder = bare_backbone("point_vit")
        net = load_backbone(folder)
        adapter = Adapter(net, make_method(method), make_task("classification"), CLASSES)
        return adapter_folder.save_adapter(
            PointModel(net, adapter), tmp_path / "adapter", backbone=str(folder), points=64
        )

    return made


def change(folder, *keys, value):
    path = folder / adapter_folder.CONFIG
    config = part = json.loads(path.read_text())
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("method", ["dapt", "lora"])
def test_a_rank_that_the_weights_do_not_have(make, method):
    folder = make(method)
    change(folder, "method_options", "rank", value=10_000_000)
    with pytest.raises(AdapterError, match=r"larger by far \(with rank=10000000\)") as caught:
        adapter_folder.load(folder)
    assert adapter_folder.WEIGHTS in str(caught.value) and adapter_folder.CONFIG in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


def test_other_giants(make):
    folder = make("linear_probe")
    change(folder, "task_options", "widths", value=[10**6, 10**6])
    with pytest.raises(PointAdaptError, match=r"larger by far|widths"):
        adapter_folder.load(folder)


def test_classes_without_end(make):
    folder = make("linear_probe")
    change(folder, "classes", value=[f"c{i}" for i in range(700_000)])
    with pytest.raises(PointAdaptError, match=r"larger by far|has shape"):
        adapter_folder.load(folder)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("points",), "64", "'points' is missing or no int"),
        (("points",), None, "'points' is missing or no int"),
        (("points",), True, "'points' is missing or no int"),
        (("points",), 10**9, "points must be 0 to"),
        (("points",), -1, "points must be 0 to"),
        (("points",), 2**64, "'points' is missing or no int"),
        (("available",), [64], "'available' is missing or no int"),
        (("available",), 10**9, "available must be 0 to"),
        (("normalise",), "yes", "'normalise' is missing or no bool"),
        (("normalise",), None, "'normalise' is missing or no bool"),
        (("classes",), "ball", "'classes' is missing or no list"),
        (("classes",), ["ball", 3], "'classes' is missing or no list"),
        (("classes",), [["ball"]], "'classes' is missing or no list"),
        (("classes",), {"ball": 0}, "'classes' is missing or no list"),
        (("parts",), 3, "'parts' is missing or no list"),
        (("features",), [None], "'features' is missing or no list"),
        (("results",), [], "'results' is missing or no dict"),
        (("dataset",), 5, "'dataset' is missing or no str"),
        (("method",), ["dapt"], "'method' is missing or no str"),
        (("method",), "x" * 10**5, "unknown"),
        (("task_options",), [], "'task_options' is missing or no dict"),
        (("method_options", "rank"), "x", "whole number, not 'x'"),
        (("method_options", "rank"), [4], "whole number"),
        (("method_options", "rank"), None, "whole number"),
        (("method_options", "rank"), {"a": {"b": 4}}, "whole number"),
        (("method_options", "rank"), 0, "rank"),
        (("method_options", "y" * 10**5), 1, "unknown option"),
        (("backbone", "seed"), 2**64, "'seed' is missing or no int"),
        (("backbone", "seed"), 2**32, "seed must be 0 to 4294967295"),
        (("backbone", "seed"), -1, "seed must be 0 to"),
        (("backbone", "name"), None, "'name' is missing or no str"),
        (("backbone", "groups"), 8.5, "'groups' is missing or no int"),
        (("backbone", "groups"), 0, "groups"),
        (("backbone", "sha256"), 5, "'sha256' is missing or no str"),
        (("format",), 1e308, "'format' is missing or no int"),
    ],
    ids=range(35),
)
def test_other_types(make, keys, value, message):
    folder = make("dapt")
    change(folder, *keys, value=value)
    with pytest.raises(PointAdaptError, match=message) as caught:
        adapter_folder.load(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": NaN}', "NaN is no number"),
        ('{"format": "\\ud800"}', "no character"),
        ('{"format": ' + "[" * 10**5 + "]" * 10**5 + "}", "nested more than 50 deep"),
        ('{"peft_type": "LORA", "auto_mapping": [1]}', "written by peft itself"),
        ('{"peft_type": "LORA", "auto_mapping": {"pointadapt": null}}', "written by peft itself"),
        ("null", "'format' is missing"),
    ],
)
def test_json_that_is_no_configuration(make, text, message):
    folder = make("linear_probe")
    (folder / adapter_folder.CONFIG).write_text(text)
    with pytest.raises(PointAdaptError, match=message) as caught:
        adapter_folder.load(folder)
    assert "\n" not in str(caught.value)


def test_results_of_other_types_are_no_protocol(make):
    """They are read by ``evaluate``; what they cannot say is taken as not said, or refused."""
    folder = make("linear_probe")
    for results in ({"config": 3}, {"config": {"available": "x"}}, {"protocol": [1]}):
        change(folder, "results", value=results)
        try:
            Protocol.of(folder, data="shapes")
        except PointAdaptError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(make, bad):
    folder = make("linear_probe")
    config = json.loads((folder / adapter_folder.CONFIG).read_text())
    tensors = read_safetensors(folder / adapter_folder.WEIGHTS)
    key = next(k for k in tensors if k.endswith("weight"))
    tensors[key].view(-1)[0] = bad
    write_safetensors(folder / adapter_folder.WEIGHTS, tensors)
    config.pop(adapter_folder.DIGEST)
    (folder / adapter_folder.CONFIG).write_text(json.dumps(config))
    with pytest.raises(AdapterError, match="holds NaN or infinity"):
        adapter_folder.load(folder)


def test_numbers_of_a_module():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    assert numbers_of(module) == 3 * 4 + 4 + 4 * 4 + 1  # BatchNorm counts its batches
