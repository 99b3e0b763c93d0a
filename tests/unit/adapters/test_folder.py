"""Adapter folders: what the contract tests of methods leave open."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.errors import AdapterError, PointAdaptError
from pointadapt.core.tensors import read_safetensors
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES = ("ball", "bär", "helix", "plate")


def build(backbone, method="dapt", **changes):
    net = load_backbone(backbone, **changes)
    torch.manual_seed(0)
    return PointModel(net, Adapter(net, make_method(method), make_task("classification"), CLASSES))


@pytest.fixture
def folder(bare_backbone):
    return bare_backbone("point_vit")


@pytest.fixture
def saved(folder, toy_batch, tmp_path):
    model = build(folder)
    model.train()(toy_batch[0])
    return adapter_folder.save_adapter(
        model, tmp_path / "adapter", backbone=str(folder), points=64,
        results={"accuracy": 91.5, "protocol": {"seed": 3}}, dataset="toy",
    )  # fmt: skip


def test_what_a_folder_holds(saved, folder):
    assert {p.name for p in saved.iterdir()} == {
        adapter_folder.CONFIG,
        adapter_folder.WEIGHTS,
        adapter_folder.CARD,
    }
    config = json.loads((saved / adapter_folder.CONFIG).read_text(encoding="utf-8"))
    assert config["peft_type"] == "DAPT"
    assert config["base_model_name_or_path"] == str(folder.resolve())
    assert config["backbone"]["sha256"] == load_backbone(folder).fingerprint
    assert config["backbone"]["heads"] == 2
    assert config["method_options"]["rank"] == 64
    assert config["classes"] == list(CLASSES)
    assert (config["points"], config["dataset"], config["format"]) == (
        64,
        "toy",
        adapter_folder.FORMAT,
    )
    assert config["results"]["protocol"] == {"seed": 3}
    tensors = read_safetensors(saved / adapter_folder.WEIGHTS)
    assert {k.split(".")[0] for k in tensors} == {"taps", "head", "backbone"}
    assert not any("qkv" in k for k in tensors if k.startswith("backbone."))
    card = (saved / adapter_folder.CARD).read_text(encoding="utf-8")
    for text in ("library_name: pointadapt", "| accuracy | 91.5 |", "| seed | 3 |", "bär", "toy"):
        assert text in card


def test_size_is_that_of_what_was_trained(saved):
    values = sum(v.numel() for v in read_safetensors(saved / adapter_folder.WEIGHTS).values())
    assert (saved / adapter_folder.WEIGHTS).stat().st_size < 4 * values + 20_000


def test_saving_again_replaces(saved, folder, toy_batch):
    model = build(folder, "linear_probe")
    adapter_folder.save_adapter(model, saved, backbone=str(folder), points=32)
    assert adapter_folder.read_adapter_config(saved)["points"] == 32
    assert torch.equal(adapter_folder.load(saved)(toy_batch[0]), model.eval()(toy_batch[0]))
    assert not list(saved.glob(".*"))


def test_random_backbone_of_any_seed_is_found_again(toy_batch, tmp_path, monkeypatch, folder):
    from pointadapt.backbones import BACKBONES

    monkeypatch.setitem(BACKBONES["point_vit"].sizes, "micro", load_backbone(folder).config)
    model = build("point_vit:micro", seed=3)
    adapter_folder.save_adapter(model, tmp_path, backbone="point_vit:micro", points=64)
    assert torch.equal(adapter_folder.load(tmp_path)(toy_batch[0]), model.eval()(toy_batch[0]))


def test_a_bundled_name_is_not_taken_for_a_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    adapter_folder.save_adapter(build(folder), tmp_path / "a", backbone="tiny", points=64)
    assert adapter_folder.read_adapter_config(tmp_path / "a")["backbone"]["name"] == "tiny"


def test_the_backbone_may_have_moved(saved, folder, toy_batch, tmp_path):
    want = adapter_folder.load(saved)(toy_batch[0])
    shutil.copytree(folder, tmp_path / "elsewhere")
    edit(saved, lambda c: c["backbone"].update(name=str(tmp_path / "gone")))
    with pytest.raises(AdapterError, match=r"needs the backbone .*gone.*--backbone"):
        adapter_folder.load(saved)
    assert torch.equal(
        adapter_folder.load(saved, backbone=tmp_path / "elsewhere")(toy_batch[0]), want
    )
    assert torch.equal(
        adapter_folder.load(saved, backbone=load_backbone(folder))(toy_batch[0]), want
    )


def test_groups_are_those_of_training(folder, toy_batch, tmp_path):
    model = build(folder, groups=5, group_size=6)
    adapter_folder.save_adapter(model, tmp_path, backbone=str(folder), points=64)
    assert torch.equal(adapter_folder.load(tmp_path)(toy_batch[0]), model.eval()(toy_batch[0]))
    with pytest.raises(AdapterError, match="needs groups=5"):
        adapter_folder.load(tmp_path, backbone=load_backbone(folder))


@pytest.mark.parametrize("change", [{"heads": 4}, {"sampling_rule": "pointnet2"}])
def test_same_tensors_but_another_arithmetic_is_refused(saved, folder, change):
    with pytest.raises(AdapterError, match=f"needs {next(iter(change))}="):
        adapter_folder.load(saved, backbone=load_backbone(folder, **change))


def test_a_backbone_that_another_model_changed_is_refused(saved, folder, toy_batch):
    model = build(folder)
    model.train()(toy_batch[0])
    with pytest.raises(AdapterError, match="load it anew, or add the adapter to its model"):
        adapter_folder.load(saved, backbone=model.backbone)
    want = adapter_folder.load(saved)(toy_batch[0])
    assert torch.equal(adapter_folder.load_into(model, saved, "b").eval()(toy_batch[0]), want)


def edit(folder, change):
    path = folder / adapter_folder.CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def damage_weights(how):
    def damage(folder):
        path = folder / adapter_folder.WEIGHTS
        content = path.read_bytes()
        path.write_bytes(how(content)) if how else path.unlink()

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_weights(lambda b: b[: len(b) // 2]), "damaged or no safetensors"),
        (damage_weights(lambda b: b[:-1]), "damaged or no safetensors"),
        (damage_weights(lambda b: b""), "damaged or no safetensors"),
        (damage_weights(None), "does not exist"),
        (lambda f: (f / adapter_folder.CONFIG).write_text("{"), "not JSON"),
        (lambda f: (f / adapter_folder.CONFIG).write_bytes(b"\xff\xfe\x00"), "not JSON"),
        (lambda f: (f / adapter_folder.CONFIG).write_text("[1]"), "'format' is missing"),
        (lambda f: (f / adapter_folder.CONFIG).unlink(), "is no adapter folder"),
        (shutil.rmtree, "does not exist"),
        (lambda f: edit(f, lambda c: c.pop("points")), "'points' is missing"),
        (lambda f: edit(f, lambda c: c.update(format=2)), "upgrade pointadapt"),
        (lambda f: edit(f, lambda c: c.update(format="1")), "'format' is missing or no int"),
        (lambda f: edit(f, lambda c: c.update(backbone="tiny")), "'backbone' is missing or no"),
        (lambda f: edit(f, lambda c: c["backbone"].pop("sha256")), "'sha256' is missing"),
        (lambda f: edit(f, lambda c: c.update(method="dapd")), "did you mean 'dapt'"),
        (lambda f: edit(f, lambda c: c.update(task="classify")), "unknown task"),
        (lambda f: edit(f, lambda c: c["method_options"].update(rnk=3)), "did you mean 'rank'"),
        (lambda f: edit(f, lambda c: c["method_options"].update(rank=3)), "has shape"),
        (lambda f: edit(f, lambda c: c["method_options"].update(rank="x")), "whole number"),
        (lambda f: edit(f, lambda c: c.update(classes=["a"])), "has shape"),
        (lambda f: edit(f, lambda c: c.update(head_inputs=["clss"])), "did you mean 'cls'"),
        (lambda f: edit(f, lambda c: c.update(head_inputs=7)), "head_inputs"),
        (lambda f: edit(f, lambda c: c.update(method_options=7)), "method_options"),
    ],
)
def test_damaged_folder(saved, folder, damage, message, toy_batch):
    damage(saved)
    with pytest.raises(PointAdaptError, match=message) as caught:
        adapter_folder.load(saved)
    assert "\n" not in str(caught.value)
    host = build(folder, "linear_probe").eval()
    want = host(toy_batch[0])
    with pytest.raises(PointAdaptError, match=message):
        adapter_folder.load_into(host, saved, "other")
    assert list(host.adapters) == ["default"]
    assert torch.equal(host(toy_batch[0]), want)


def test_load_into_refuses_a_taken_name(saved, folder):
    host = build(folder)
    with pytest.raises(AdapterError, match="here already"):
        adapter_folder.load_into(host, saved, "default")


def test_a_missing_folder_is_said_to_be_missing(tmp_path):
    with pytest.raises(AdapterError, match="nowhere does not exist"):
        adapter_folder.load(tmp_path / "nowhere")


def test_files_of_two_adapters_are_not_taken_for_one(saved, folder, toy_batch, tmp_path):
    """As a copy over another folder leaves them that was cut off, or a reader in between sees."""
    other = build(folder)
    adapter_folder.save_adapter(other, tmp_path / "other", backbone=str(folder), points=64)
    (tmp_path / "other" / adapter_folder.WEIGHTS).replace(saved / adapter_folder.WEIGHTS)
    with pytest.raises(AdapterError, match=r"is not what adapter_config\.json was written with"):
        adapter_folder.load(saved)
    edit(saved, lambda c: c.pop(adapter_folder.DIGEST))  # as folders of old are
    assert torch.equal(adapter_folder.load(saved)(toy_batch[0]), other.eval()(toy_batch[0]))


def test_a_reader_waits_for_a_writer(saved, folder, toy_batch, tmp_path, monkeypatch):
    """It comes between the two renames; the second one is done while it waits."""
    other = build(folder)
    other.adapter.names = replace(other.adapter.names, classes=("a", "b", "c", "d"))
    adapter_folder.save_adapter(other, tmp_path / "other", backbone=str(folder), points=64)
    (tmp_path / "other" / adapter_folder.WEIGHTS).replace(saved / adapter_folder.WEIGHTS)
    waited = []

    def second_rename(seconds):
        waited.append(seconds)
        (tmp_path / "other" / adapter_folder.CONFIG).replace(saved / adapter_folder.CONFIG)

    monkeypatch.setattr(adapter_folder.time, "sleep", second_rename)
    model = adapter_folder.load(saved)
    assert len(waited) == 1 and model.classes == ("a", "b", "c", "d")
    assert model.adapter.about["classes"] == ["a", "b", "c", "d"]
    assert torch.equal(model(toy_batch[0]), other.eval()(toy_batch[0]))


WRITER = """
import sys
from dataclasses import replace
import torch
from pointadapt.adapters import folder as adapter_folder

model = adapter_folder.load(sys.argv[1])
head = model.adapter.head.state_dict()
for k in range(1000):  # the last layer's shift says which names are right
    names = tuple(f"{'ab'[k % 2]}{i}" for i in range(4))
    model.adapter.names = replace(model.adapter.names, classes=names)
    with torch.no_grad():
        [*head.values()][-1].fill_(float(k % 2))
    adapter_folder.save_adapter(model, sys.argv[2], backbone=sys.argv[3], points=64)
    print(k, flush=True)
"""


def test_a_folder_that_is_written_all_the_time_is_read_whole(saved, folder, tmp_path):
    busy = tmp_path / "busy"
    command = [sys.executable, "-c", WRITER, str(saved), str(busy), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout and writer.stdout.readline() == "0\n"
            net = load_backbone(folder)
            model, seen = PointModel(net, adapter_folder.load(busy).adapter), []
            for k in range(25):
                adapter_folder.load_into(model, busy, f"n{k}")
                shift = [*model.adapter.head.state_dict().values()][-1]
                assert set(shift.tolist()) == {float(model.classes[0] == "b0")}, model.classes
                seen.append(model.classes[0])
                model.use("default")
                del model.adapters[f"n{k}"]
        finally:
            writer.kill()
    assert set(seen) == {"a0", "b0"}  # it was written meanwhile


# ---- how large the training clouds were


def test_the_range_of_sizes_is_kept(folder, tmp_path):
    model = build(folder)
    model.adapter.sizes = (-1.5, 0.25)
    out = adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(folder), points=64)
    assert adapter_folder.load(out).adapter.known_sizes == (-1.5, 0.25)
    assert "0.446 to 2.57 across" in (out / adapter_folder.CARD).read_text(encoding="utf-8")


def test_an_adapter_without_a_range_says_nothing_of_it(saved):
    assert "log_radius" not in adapter_folder.read_adapter_config(saved)
    assert adapter_folder.load(saved).adapter.known_sizes is None


@pytest.mark.parametrize("value", [[1.0], [2.0, 1.0], [0.0, 1e9], [0.0, 1.0, 2.0]])
def test_a_damaged_range_is_an_error(saved, value):
    config = json.loads((saved / adapter_folder.CONFIG).read_text(encoding="utf-8"))
    config["log_radius"] = value
    (saved / adapter_folder.CONFIG).write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(AdapterError, match="log_radius must be two numbers"):
        adapter_folder.load(saved)
