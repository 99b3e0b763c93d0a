"""Hugging Face peft's tuners as methods: both libraries read one folder, to the bit."""

import importlib
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.config import TrainConfig
from pointadapt.core.errors import AdapterError, ConfigError, UnknownNameError
from pointadapt.core.files import read_json, write_json
from pointadapt.core.tensors import read_safetensors, write_safetensors
from pointadapt.methods import METHODS, make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

peft = pytest.importorskip("peft", reason="the extra [peft] is not installed")

CLASSES = ("ball", "bar", "helix", "plate")
EACH = ["lora", "dora", "ia3", "vera", "loha", "ln_tuning"]


def new_model(folder, name, seed=0, **options):
    net = load_backbone(folder)
    torch.manual_seed(seed)
    return PointModel(
        net, Adapter(net, make_method(name, options), make_task("classification"), CLASSES)
    )


def train(model, batch, count=2):
    torch.manual_seed(5)
    model.train()
    optimizer = torch.optim.AdamW(model.parameter_groups(0.05), lr=1e-2)
    for _ in range(count):
        optimizer.zero_grad()
        model.adapter.task.loss(model(batch[0]), batch[1]).backward()
        optimizer.step()
    return model.eval()


def tokens(net, batch, *taps):
    with torch.no_grad():
        return net(batch[0], *taps).x


@pytest.mark.parametrize("name", EACH)
def test_peft_opens_our_folder(name, bare_backbone, toy_batch, tmp_path, recwarn):
    """The same tokens, the moved CLS token and running statistics included; nothing to warn of."""
    folder = bare_backbone("point_vit")
    model = train(new_model(folder, f"peft:{name}"), toy_batch)
    expected = tokens(model.backbone, toy_batch, model.adapter.taps)
    adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(folder), points=64)
    recwarn.clear()
    theirs = peft.PeftModel.from_pretrained(load_backbone(folder, seed=1), tmp_path / "a")
    said = [str(w.message) for w in recwarn]
    assert not [text for text in said if "nexpected" in text or "missing" in text]
    assert torch.equal(tokens(theirs, toy_batch), expected)
    assert not torch.equal(tokens(load_backbone(folder).eval(), toy_batch), expected)


@pytest.mark.parametrize("name", EACH)
def test_same_numbers_as_peft_alone(name, bare_backbone, toy_batch):
    """Tokens and gradients of peft's own model on the backbone, with equal tensors."""
    folder = bare_backbone("point_vit")
    model = new_model(folder, f"peft:{name}", batchnorm="frozen").eval()
    net = load_backbone(folder).eval()
    theirs = peft.get_peft_model(net, model.adapter.method.peft_config()).eval()
    state = dict(model.adapter.taps.state_dict())
    torch.manual_seed(3)
    for value in state.values():
        value.add_(0.1 * torch.randn_like(value))
    peft.set_peft_model_state_dict(theirs, state)
    ours = model.backbone(toy_batch[0], model.adapter.taps).x
    other = theirs(toy_batch[0]).x
    assert torch.equal(ours, other)
    ours.square().sum().backward()
    other.square().sum().backward()
    own = sorted(
        float(p.grad.norm()) for p in model.adapter.taps.parameters() if p.grad is not None
    )
    assert own == sorted(float(p.grad.norm()) for p in theirs.parameters() if p.grad is not None)
    assert own


def test_backbone_keeps_its_layers(bare_backbone, toy_batch):
    net = load_backbone(bare_backbone("point_vit"))
    names, before = list(net.state_dict()), net.sha256()
    taps = make_method("peft:lora").attach(net)
    assert list(net.state_dict()) == names
    assert net.sha256() == before
    assert all(p.requires_grad for p in net.parameters())
    assert {id(p) for p in net.parameters()}.isdisjoint(id(p) for p in taps.parameters())


def test_parameter_count_is_peft_s(bare_backbone):
    folder = bare_backbone("point_vit")
    method = make_method("peft:lora", {"r": "4", "target_modules": "qkv,proj"})
    taps = method.attach(load_backbone(folder))
    count = sum(p.numel() for p in taps.parameters())
    assert count == 2 * 4 * ((24 + 72) + (24 + 24))  # two blocks, A and B of qkv and proj
    theirs = peft.get_peft_model(load_backbone(folder), method.peft_config())
    assert count == theirs.get_nb_trainable_parameters()[0]


def test_options_from_text():
    text = {
        "r": "4", "lora_alpha": "2", "lora_dropout": "1e-1", "use_rslora": "true",
        "target_modules": "qkv, fc2", "bias": "none", "rank_pattern": '{"fc2": 2}',
        "batchnorm": "frozen",
    }  # fmt: skip
    method = make_method("peft:lora", text)
    config = method.peft_config()
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 2, 0.1)
    assert config.target_modules == {"qkv", "fc2"}
    assert config.use_rslora is True
    assert config.rank_pattern == {"fc2": 2}
    assert method.batchnorm == "frozen"
    regex = make_method("peft:lora", {"target_modules": r"blocks\.1\..*\.fc[12]"})
    assert regex.peft_config().target_modules == r"blocks\.1\..*\.fc[12]"
    assert make_method("peft:dora").peft_config().use_dora is True


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("peft:lorra", {}, UnknownNameError, "did you mean 'peft:lora'"),
        ("peft", {}, UnknownNameError, "unknown method 'peft'"),
        ("peft:lora", {"rank": 4}, UnknownNameError, "unknown option of method 'peft:lora'"),
        ("peft:lora", {"r": "many"}, ConfigError, "'r' of method 'peft:lora' must be a whole"),
        ("peft:lora", {"use_dora": "3"}, ConfigError, "must be true or false"),
        ("peft:lora", {"bias": "lora_only"}, ConfigError, "bias must be none or all"),
        ("peft:lora", {"modules_to_save": "norm"}, UnknownNameError, "modules_to_save"),
        ("peft:prefix_tuning", {}, ConfigError, "language model"),
        ("peft:adalora", {}, ConfigError, "between training steps"),
    ],
)
def test_wrong_names_and_options(name, options, error, message):
    with pytest.raises(error, match=message) as caught:
        make_method(name, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_modules": "query"}, "not found in the base model"),
        ({"target_modules": "fc1,linear3"}, "never calls 'encoder.linear3'"),
        ({"init_lora_weights": "pissa"}, "change the backbone's own tensor"),
    ],
)
def test_what_cannot_be_attached_leaves_the_backbone_whole(options, message, bare_backbone):
    net = load_backbone(bare_backbone("point_vit"))
    before = net.sha256()
    with pytest.raises(ConfigError, match=message) as caught:
        make_method("peft:lora", options).attach(net)
    assert "\n" not in str(caught.value)
    assert net.sha256() == before == net.fingerprint
    assert net.training


def test_biases_of_the_backbone_train_and_are_saved(bare_backbone, toy_batch, tmp_path):
    folder = bare_backbone("point_vit")
    model = train(new_model(folder, "peft:lora", bias="all", target_modules="fc1"), toy_batch)
    assert "backbone.blocks.0.mlp.fc1.bias" in model.adapter_state()
    adapter_folder.save_adapter(model, tmp_path, backbone=str(folder), points=64)
    expected = tokens(model.backbone, toy_batch, model.adapter.taps)
    loaded = adapter_folder.load(tmp_path)
    assert torch.equal(tokens(loaded.backbone, toy_batch, loaded.adapter.taps), expected)
    theirs = peft.PeftModel.from_pretrained(load_backbone(folder), tmp_path)
    assert torch.equal(tokens(theirs, toy_batch), expected)


def test_state_dict_of_the_model_loads_again(bare_backbone, toy_batch):
    folder = bare_backbone("point_vit")
    model = train(new_model(folder, "peft:vera"), toy_batch)
    other = new_model(folder, "peft:vera", seed=9)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(other.eval()(toy_batch[0]), model(toy_batch[0]))


def test_buffers_of_its_layers_follow_it():
    """BOFT keeps a permutation in each layer itself, which no module of the taps holds."""
    net = load_backbone("point_vit:tiny", groups=8, group_size=8)
    taps = make_method("peft:boft", {"boft_block_size": 4}).attach(net).double()
    model = taps._held[1]
    kinds = {b.dtype for n, b in model.named_buffers() if "boft_P" in n}
    assert kinds == {torch.float64}


def test_a_damaged_folder_is_refused(bare_backbone, toy_batch, tmp_path):
    folder = bare_backbone("point_vit")
    adapter_folder.save_adapter(
        new_model(folder, "peft:ia3"), tmp_path, backbone=str(folder), points=64
    )
    tensors = read_safetensors(tmp_path / adapter_folder.WEIGHTS)
    name = "base_model.model.blocks.1.mlp.fc2.ia3_l"
    config = read_json(tmp_path / adapter_folder.CONFIG)
    config["auto_mapping"]["pointadapt"].pop(
        adapter_folder.DIGEST
    )  # as in folders of old: else that alone would be refused
    write_json(tmp_path / adapter_folder.CONFIG, config)
    write_safetensors(
        tmp_path / adapter_folder.WEIGHTS, {k: v for k, v in tensors.items() if k != name}
    )
    with pytest.raises(AdapterError, match=f"'taps.{name}' is missing"):
        adapter_folder.load(tmp_path)
    more = tensors | {"base_model.model.blocks.7.x": torch.zeros(3)}
    write_safetensors(tmp_path / adapter_folder.WEIGHTS, more)
    with pytest.raises(AdapterError, match=r"blocks.7.x' has no place"):
        adapter_folder.load(tmp_path)


def test_only_asking_for_it_imports_peft():
    code = (
        "import sys, pointadapt\nfrom pointadapt.cli.main import main\n"
        "assert main(['list', 'methods']) == 0\n"
        "assert main(['list', 'methods', '--json']) == 0\n"
        "assert not {'peft', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.count("peft:TYPE") == 2


def test_without_peft_one_line_says_what_to_install(monkeypatch):
    from pointadapt.core.errors import PointAdaptError
    from pointadapt.methods.hf_peft import method as module

    module._member.cache_clear()
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PointAdaptError, match=r"pip install 'pointadapt\[peft\]'"):
        METHODS["peft:lora"]
    module._member.cache_clear()


class Stopped(Exception):
    """Stands for a killed process."""


def test_a_resumed_run_equals_an_uninterrupted_one(
    bare_backbone, toy_root, toy_batch, tmp_path, monkeypatch
):
    loop = importlib.import_module("pointadapt.training.trainer")
    config = TrainConfig(
        out=tmp_path / "whole", data="folder", root=toy_root, points=64, epochs=2, batch_size=8,
        backbone=str(bare_backbone("point_vit")), method="peft:lora", tensorboard=False,
        options=("r=4", "lora_dropout=0.2", "target_modules=qkv,fc2"), threads=1,
    )  # fmt: skip
    loop.train(config)
    parts, batch = replace(config, out=tmp_path / "parts"), loop.Run.batch

    def stopping(run, step, order):
        if run.epoch == 1:
            raise Stopped
        return batch(run, step, order)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop.Run, "batch", stopping)
        loop.train(parts)
    loop.train(replace(parts, resume=True))
    whole, again = (
        read_safetensors(c.out / "adapter" / adapter_folder.WEIGHTS) for c in (config, parts)
    )
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[k], again[k]) for k in whole)
    theirs = peft.PeftModel.from_pretrained(load_backbone(config.backbone), config.out / "adapter")
    model = adapter_folder.load(config.out / "adapter")
    expected = tokens(model.backbone, toy_batch, model.adapter.taps)
    assert torch.equal(tokens(theirs, toy_batch), expected)
