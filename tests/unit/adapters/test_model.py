"""PointModel: what the contract tests of methods leave open."""

import pytest
import torch

from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.errors import AdapterError, UnknownNameError
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES = ("a", "b", "c", "d")


@pytest.fixture
def folder(bare_backbone):
    return bare_backbone("point_vit")


def adapter(net, method="dapt", **options):
    return Adapter(net, make_method(method, options), make_task("classification"), CLASSES)


@pytest.fixture
def model(folder):
    net = load_backbone(folder)
    return PointModel(net, adapter(net))


def names_of(model, group):
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)].partition(".")[2] for p in group["params"]}


def test_decay_groups(model):
    rest, decay = model.parameter_groups(0.05)
    assert (rest["weight_decay"], decay["weight_decay"]) == (0.0, 0.05)
    flat, deep = names_of(model, rest), names_of(model, decay)
    assert {"cls_token", "default.taps.ss_out.gamma", "default.head.layers.0.bias"} <= flat
    assert {"cls_pos", "default.taps.blocks.0.adapter.down.weight"} <= deep
    trained = {n.partition(".")[2] for n, p in model.named_parameters() if p.requires_grad}
    assert flat | deep == trained
    assert not flat & deep


def test_decay_groups_do_not_depend_on_the_adapters_name(model, folder):
    net = load_backbone(folder)
    other = PointModel(net, adapter(net), name="my_token_test")
    for ours, theirs in zip(model.parameter_groups(0.1), other.parameter_groups(0.1), strict=True):
        assert len(ours["params"]) == len(theirs["params"])


def test_a_state_without_moved_buffers_restores_them(model, toy_batch):
    """What was saved before training is what is back after loading it."""
    state = {k: v.clone() for k, v in model.adapter_state().items()}
    assert not any("running" in k for k in state if k.startswith("backbone."))
    want = model.eval()(toy_batch[0])
    model.train()(toy_batch[0])
    assert any("running" in k for k in model.adapter_state())
    model.load_adapter_state(state)
    assert torch.equal(model.eval()(toy_batch[0]), want)
    assert model.adapter_state().keys() == state.keys()


def test_a_frozen_tensor_of_the_backbone_has_no_place_in_an_adapter(model):
    state = dict(model.adapter_state())
    state["backbone.blocks.0.attn.qkv.weight"] = model.backbone.blocks[0].attn.qkv.weight * 2
    with pytest.raises(
        AdapterError, match=r"'backbone\.blocks\.0\.attn\.qkv\.weight' has no place"
    ):
        model.load_adapter_state(state)


def test_names_of_adapters(model):
    for name in ("default", "", "a.b", "keys", "training"):
        with pytest.raises(AdapterError, match="choose another name"):
            model.add(name, adapter(model.backbone))
    assert list(model.adapters) == ["default"]
    model.add("two words", adapter(model.backbone))
    assert model.use("two words").active == "two words"
    with pytest.raises(UnknownNameError, match="did you mean 'default'"):
        model.use("defalt")


def test_using_the_active_adapter_changes_nothing(model, toy_batch):
    model.train()(toy_batch[0])
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert model.use("default") is model
    after = model.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)


def test_train_keeps_frozen_batchnorm_in_eval_after_switching(model):
    model.train()
    assert model.backbone.encoder.norm1.training
    model.add("probe", adapter(model.backbone, "linear_probe"))
    model.use("probe")
    assert not model.backbone.encoder.norm1.training
    assert model.adapter.head.training
    assert model.use("default").backbone.encoder.norm1.training
    assert not model.eval().use("probe").adapter.head.training


def test_classes_are_those_of_the_adapter_in_use(model):
    two = Adapter(
        model.backbone, make_method("linear_probe"), make_task("classification"), ("x", "y")
    )
    model.add("two", two)
    assert model.classes == CLASSES
    assert model.use("two").classes == ("x", "y")


def test_a_backbone_without_a_fingerprint_is_sealed(folder):
    net = load_backbone(folder)
    fresh = type(net)(net.config)
    model = PointModel(fresh, adapter(fresh))
    assert model.backbone.fingerprint == fresh.sha256()
