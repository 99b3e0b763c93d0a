"""PointModel: what the contract tests of methods leave open."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.core.errors import AdapterError, PointCloudError, UnknownNameError
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


# ---- threads


@pytest.fixture
def two(model, folder, toy_batch):
    """A model of two adapters that have moved the backbone's tensors, and their answers."""
    model.add("b", adapter(model.backbone, "linear_probe"))
    with torch.no_grad():
        model.backbone.cls_token.fill_(0.5)
    model.train()(toy_batch[0])
    model.eval()
    answers = {}
    for name in ("b", "default"):
        answers[name] = model.use(name)(toy_batch[0])
    assert not torch.equal(answers["b"], answers["default"])
    return model, answers


def in_thread(function):
    """What ``function()`` returns or raises in another thread."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(function)
        return future.exception() or future.result()


def inside_a_forward(model, batch, function):
    """What becomes of ``function()`` in another thread while this one predicts."""
    seen = []
    hook = model.backbone.register_forward_hook(lambda *_: seen.append(in_thread(function)))
    try:
        model(batch)
    finally:
        hook.remove()
    return seen[0]


@torch.no_grad()
def test_threads_may_predict_side_by_side(two, toy_batch):
    model, answers = two
    beside = inside_a_forward(model, toy_batch[0], lambda: answers["default"])
    assert torch.equal(beside, answers["default"])
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: model.use("default")(toy_batch[0]), range(12)):
            assert torch.equal(got, answers["default"])


@torch.no_grad()
def test_a_second_thread_cannot_switch_while_one_predicts(two, toy_batch):
    model, answers = two
    error = inside_a_forward(model, toy_batch[0], lambda: model.use("b"))
    assert isinstance(error, AdapterError) and "\n" not in str(error)
    assert "another thread is using this model's adapter: put a lock around use()" in str(error)
    assert model.active == "default"
    assert torch.equal(model(toy_batch[0]), answers["default"])
    state = model.adapter_state()
    error = inside_a_forward(model, toy_batch[0], lambda: model.load_adapter_state(state))
    assert isinstance(error, AdapterError)


@torch.no_grad()
def test_nobody_predicts_while_another_thread_switches(two, toy_batch, monkeypatch):
    model, answers = two
    original, seen = PointModel._restore, []

    def restore(self):
        original(self)
        seen.append(in_thread(lambda: model(toy_batch[0])))
        seen.append(in_thread(lambda: model.use("default")))

    with monkeypatch.context() as patch:
        patch.setattr(PointModel, "_restore", restore)
        model.use("b")
    assert isinstance(seen[0], AdapterError) and "is switching this model's adapter" in str(seen[0])
    assert torch.equal(model(toy_batch[0]), answers["b"])
    assert torch.equal(model.use("default")(toy_batch[0]), answers["default"])


@torch.no_grad()
def test_another_adapter_than_was_chosen_does_not_answer(two, toy_batch):
    """One thread chooses, another one switches, the first predicts: each call alone is right."""
    model, answers = two
    model.use("default")
    in_thread(lambda: model.use("b"))
    with pytest.raises(AdapterError, match="switched this model to the adapter 'b' since this one"):
        model(toy_batch[0])
    assert torch.equal(model.use("default")(toy_batch[0]), answers["default"])
    in_thread(lambda: model.use("b"))
    assert torch.equal(in_thread(lambda: model(toy_batch[0])), answers["b"])  # it never chose


def test_threads_that_switch_at_will_get_errors_and_no_wrong_answer(two, toy_batch):
    """And afterwards all is as it was."""
    model, answers = two

    @torch.no_grad()
    def ask(name):
        try:
            return torch.equal(model.use(name)(toy_batch[0]), answers[name])
        except AdapterError:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(ask, ["b", "default"] * 40))
    assert False not in outcomes
    for name in ("default", "b"):
        assert ask(name) is True


def test_threads_that_take_turns_are_served(two, toy_batch):
    model, answers, lock = *two, threading.Lock()

    @torch.no_grad()
    def ask(name):
        with lock:
            return torch.equal(model.use(name)(toy_batch[0]), answers[name])

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(ask, ["b", "default"] * 10))


def test_a_copy_of_a_model_is_a_model(two, toy_batch):
    model, answers = two
    copied = copy.deepcopy(model)
    assert copied._turns is not model._turns
    assert torch.equal(copied(toy_batch[0]), answers["default"])
    assert pickle.loads(pickle.dumps(model._turns))._forwards == {}


def test_a_failing_forward_leaves_nothing_behind(two, toy_batch):
    model, answers = two
    with pytest.raises(PointCloudError):
        model(torch.zeros(1, 2, 7))
    assert torch.equal(in_thread(lambda: model.use("b")(toy_batch[0])), answers["b"])
