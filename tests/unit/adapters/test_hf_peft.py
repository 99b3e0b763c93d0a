"""DAPT inside Hugging Face peft, and peft's folders in pointadapt: the same numbers."""

import copy

import pytest
import torch
from torch import nn

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.errors import AdapterError, ConfigError
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task
from pointadapt.tasks.base import Names

peft = pytest.importorskip("peft", reason="the extra [peft] is not installed")

from pointadapt.adapters.hf_peft import DaptConfig, from_peft  # noqa: E402

CLASSES = ("ball", "bar", "helix", "plate")
OPTIONS = {"rank": 4, "dropout": 0.2}


class Net(nn.Module):
    """A backbone and a head, as a user of peft has them."""

    def __init__(self, net, inputs=("cls", "prompt_mean", "patch_max")):
        super().__init__()
        self.backbone = net
        self.head = make_task("classification").make_head(net.config, inputs, Names(tuple(CLASSES)))

    def forward(self, points):
        return self.head(self.backbone(points))


@pytest.fixture
def folder(bare_backbone):
    return bare_backbone("point_vit")


def ours(folder, seed=0, **options):
    net = load_backbone(folder)
    torch.manual_seed(seed)
    method = make_method("dapt", OPTIONS | options)
    return PointModel(net, Adapter(net, method, make_task("classification"), CLASSES))


def theirs(folder, model=None, **options):
    """peft's model of the same adapter, with the head."""
    made = peft.get_peft_model(
        Net(load_backbone(folder)), DaptConfig(**OPTIONS, **options, modules_to_save=["head"])
    )
    if model is not None:
        state = {k: v.clone() for k, v in model.adapter_state().items() if "head." not in k}
        head = model.adapter.head.state_dict()
        state |= {f"base_model.model.head.{k}": v.clone() for k, v in head.items()}
        result = peft.set_peft_model_state_dict(made, state)
        assert not result.unexpected_keys
    return made


def train(model, batch, count=2):
    torch.manual_seed(5)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9)
    for _ in range(count):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()
    return model.eval()


def outputs(model, batch):
    with torch.no_grad():
        return model(batch[0])


def tokens(model, batch):
    with torch.no_grad():
        return model(batch[0]).x


@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
@pytest.mark.parametrize("keep", ["all", "lean"])
def test_training_in_peft_gives_our_numbers(keep, batchnorm, folder, toy_batch):
    """Equal to the bit after training steps with dropout; the backbone is untouched.

    Our own lean forward pass, which peft's does not use, rounds differently in the backward.
    """
    model = ours(folder, batchnorm=batchnorm)
    model.keep = keep
    other = theirs(folder, model, batchnorm=batchnorm)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert other.get_nb_trainable_parameters()[0] == count
    expected = outputs(train(model, toy_batch), toy_batch)
    found = outputs(train(other, toy_batch), toy_batch)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found, expected) or keep == "lean"
    net, base = load_backbone(folder), other.get_base_model().backbone
    assert base.sha256() == net.sha256()
    with other.disable_adapter():
        base.eval()
        assert torch.equal(tokens(base, toy_batch), tokens(net.eval(), toy_batch))
    assert torch.equal(outputs(other, toy_batch), found)


@pytest.mark.parametrize("name", ["default", "chairs"])
def test_saved_and_loaded_by_peft(name, folder, toy_batch, tmp_path, recwarn):
    model = train(theirs(folder), toy_batch)
    expected = outputs(model, toy_batch)
    model.save_pretrained(tmp_path)
    recwarn.clear()
    loaded = peft.PeftModel.from_pretrained(Net(load_backbone(folder)), tmp_path, adapter_name=name)
    assert not [str(w.message) for w in recwarn if "missing" in str(w.message).lower()]
    assert torch.equal(outputs(loaded.eval(), toy_batch), expected)
    assert loaded.peft_config[name].rank == 4
    assert not any(p.requires_grad for p in loaded.parameters())


def test_adapters_switch_exactly(folder, toy_batch, tmp_path):
    model = train(theirs(folder), toy_batch)
    first = outputs(model, toy_batch)
    model.add_adapter("b", DaptConfig(rank=3, prompt=False, modules_to_save=["head"]))
    assert torch.equal(outputs(model, toy_batch), first)
    head = model.get_base_model().head
    model.set_adapter("b")
    with pytest.raises(ConfigError, match="prompt"):  # its head wants what it does not add
        outputs(model, toy_batch)
    model.delete_adapter("b")
    model.add_adapter("b", DaptConfig(rank=3, modules_to_save=["head"]))
    model.set_adapter("b")
    second = outputs(train(model, toy_batch), toy_batch)
    assert not torch.equal(first, second)
    for _ in range(2):
        model.set_adapter("default")
        assert torch.equal(outputs(model, toy_batch), first)
        model.set_adapter("b")
        assert torch.equal(outputs(model, toy_batch), second)
    assert head is model.get_base_model().head
    assert {"default", "b"} == set(model.get_model_status().available_adapters)
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(Net(load_backbone(folder)), tmp_path / "b")
    assert torch.equal(outputs(again, toy_batch), second)


def test_peft_opens_our_folder_and_we_open_peft_s(folder, toy_batch, tmp_path, recwarn):
    model = train(ours(folder), toy_batch)
    expected = outputs(model, toy_batch)
    adapter_folder.save_adapter(model, tmp_path / "ours", backbone=str(folder), points=64)
    with torch.no_grad():
        of_backbone = model.backbone(toy_batch[0], model.adapter.taps).x
    recwarn.clear()
    opened = peft.PeftModel.from_pretrained(load_backbone(folder, seed=1), tmp_path / "ours")
    assert not [str(w.message) for w in recwarn if issubclass(w.category, UserWarning)]
    assert torch.equal(tokens(opened, toy_batch), of_backbone)
    opened.save_pretrained(tmp_path / "theirs")  # without the head, which peft does not know
    back = from_peft(tmp_path / "theirs", folder, CLASSES)
    with torch.no_grad():
        assert torch.equal(back.backbone(toy_batch[0], back.adapter.taps).x, of_backbone)
    theirs(folder, model).save_pretrained(tmp_path / "whole")
    assert torch.equal(outputs(from_peft(tmp_path / "whole", folder, CLASSES), toy_batch), expected)


@pytest.mark.parametrize("kind", ["lora", "ia3", "vera"])
def test_folders_of_other_tuners(kind, folder, toy_batch, tmp_path):
    """Made, trained and saved by peft alone; opened by us with the same tokens."""
    config = make_method(f"peft:{kind}").peft_config()
    net = load_backbone(folder)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    made = peft.get_peft_model(net, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    expected = tokens(made.eval(), toy_batch)
    made.save_pretrained(tmp_path)
    model = from_peft(tmp_path, folder, CLASSES)
    with torch.no_grad():
        assert torch.equal(model.backbone(toy_batch[0], model.adapter.taps).x, expected)
    assert model.backbone.sha256() == load_backbone(folder).sha256()
    assert set(state) == set(model.backbone.state_dict())
    adapter_folder.save_adapter(model, tmp_path / "again", backbone=str(folder), points=64)
    assert torch.equal(
        outputs(adapter_folder.load(tmp_path / "again"), toy_batch), outputs(model, toy_batch)
    )
    with pytest.raises(AdapterError, match="from_peft"):
        adapter_folder.load(tmp_path)
    with pytest.raises(AdapterError, match=r"pointadapt\.load"):
        from_peft(tmp_path / "again", folder, CLASSES)


def test_it_can_be_taken_off_and_copied(folder, toy_batch):
    net = load_backbone(folder).eval()
    plain, names = tokens(net, toy_batch), list(net.state_dict())
    model = peft.get_peft_model(net, DaptConfig(**OPTIONS)).eval()
    adapted = tokens(model, toy_batch)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(tokens(twin, toy_batch), adapted)
    bare = twin.unload()
    assert list(bare.state_dict()) == names
    assert torch.equal(tokens(bare, toy_batch), plain)


def test_bfloat16(folder, toy_batch):
    model = theirs(folder).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.cross_entropy(model(toy_batch[0]), toy_batch[1])
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_wrong_input(folder):
    with pytest.raises(ConfigError, match="rank must be at least 1"):
        DaptConfig(rank=0)
    with pytest.raises(ConfigError, match="Linear holds no backbone"):
        peft.get_peft_model(nn.Linear(3, 3), DaptConfig())
    with pytest.raises(ConfigError, match="cannot be called 'adapter'"):
        peft.get_peft_model(load_backbone(folder), DaptConfig(), adapter_name="adapter")
    with pytest.raises(ConfigError, match="cannot be merged"):
        peft.get_peft_model(load_backbone(folder), DaptConfig()).merge_and_unload()
