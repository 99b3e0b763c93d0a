"""PointModel: what the contract tests of methods leave open."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
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

    def once(*_):
        hook.remove()  # the adapters' backbones have their hooks together
        seen.append(in_thread(function))

    hook = model.backbone.register_forward_hook(once)
    model(batch)
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
def test_a_second_thread_may_switch_while_one_predicts(two, toy_batch):
    model, answers = two
    beside = inside_a_forward(model, toy_batch[0], lambda: model.use("b")(toy_batch[0]))
    assert torch.equal(beside, answers["b"])
    assert model.active == "default"  # as this thread chose
    assert torch.equal(model(toy_batch[0]), answers["default"])


@torch.no_grad()
def test_tensors_of_an_adapter_cannot_change_while_another_thread_predicts(two, toy_batch):
    model, answers = two
    state = model.adapter_state()
    error = inside_a_forward(model, toy_batch[0], lambda: model.load_adapter_state(state))
    assert isinstance(error, AdapterError) and "\n" not in str(error)
    assert "another thread is using the adapter 'default'" in str(error)
    assert torch.equal(model(toy_batch[0]), answers["default"])
    model.load_adapter_state(state)


@torch.no_grad()
def test_nobody_predicts_with_an_adapter_that_changes(two, toy_batch):
    model, answers = two
    with model._turns.change("default"), model._turns.change("default"):
        error = in_thread(lambda: model(toy_batch[0], adapter="default"))
        assert isinstance(error, AdapterError) and "is changing the adapter" in str(error)
        assert isinstance(in_thread(lambda: model._turns.change("default").__enter__()), Exception)
        assert torch.equal(in_thread(lambda: model(toy_batch[0], adapter="b")), answers["b"])
    assert torch.equal(in_thread(lambda: model(toy_batch[0])), answers["default"])


@torch.no_grad()
def test_each_thread_gets_the_adapter_that_it_chose(two, toy_batch):
    """One thread chooses, another one switches, the first predicts."""
    model, answers = two
    model.use("default")
    in_thread(lambda: model.use("b"))
    assert torch.equal(model(toy_batch[0]), answers["default"])
    assert torch.equal(in_thread(lambda: model(toy_batch[0])), answers["b"])  # it never chose


@torch.no_grad()
def test_a_forward_is_told_its_adapter(two, toy_batch):
    model, answers = two
    assert torch.equal(model(toy_batch[0], adapter="b"), answers["b"])
    assert model.active == "default"
    with pytest.raises(UnknownNameError, match="did you mean 'default'"):
        model(toy_batch[0], adapter="defalt")


@torch.no_grad()
def test_a_mixed_batch_answers_each_cloud_with_its_own_adapter(two, toy_batch):
    model, _ = two
    points, names = toy_batch[0][:4], ["b", "default", "default", "b"]
    out = model.mixed(points, names)
    for name, rows in (("b", [0, 3]), ("default", [1, 2])):
        want = model(points[rows], adapter=name)
        torch.testing.assert_close(torch.stack([out[r] for r in rows]), want, atol=1e-6, rtol=1e-5)
    assert model.active == "default"
    with pytest.raises(UnknownNameError):
        model.mixed(points[:1], ["nobody"])
    with pytest.raises(IndexError):
        model.mixed(points[:1], ["b", "b"])


MANY = ("dapt", "full", "linear_probe", "lora", "bitfit")


@torch.no_grad()
def test_eight_threads_with_many_adapters_answer_as_one(folder, toy_batch):
    """Adapters whose statistics, CLS tokens or whole backbones differ, switched at will."""
    net = load_backbone(folder)
    model = PointModel(net, adapter(net))
    for k in range(10):
        torch.manual_seed(k)
        model.add(f"n{k}", adapter(net, MANY[k % 5]))
        model.use(f"n{k}").train()(toy_batch[0])  # moves running statistics
        for name, value in model.backbone.named_parameters():
            if model.adapter.method.trainable(name):
                value.add_(0.05 * torch.randn_like(value))
        model.eval()
    points = toy_batch[0][:2]
    want = {name: model.use(name)(points) for name in model.adapters}
    assert len({tuple(v.flatten().tolist()) for v in want.values()}) == 11
    with ThreadPoolExecutor(8) as pool:

        def ask(name):
            with torch.no_grad():
                return torch.equal(model.use(name)(points), want[name])

        assert all(pool.map(ask, [*want] * 8))


def test_adapters_share_what_they_leave_alone(model):
    model.add("b", adapter(model.backbone))
    ours, theirs = (model.use(n).backbone.state_dict(keep_vars=True) for n in ("default", "b"))
    own = {k for k in ours if ours[k] is not theirs[k]}
    assert own == set(model.adapter.moves)
    assert own == {"cls_token", "cls_pos", *(k for k in ours if k.split(".")[-1] in STATISTICS)}


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def test_adapters_are_loaded_also_where_the_one_in_use_was_removed(two, saved_b, toy_batch):
    model, answers = two
    model.use("b")
    for name in [*model.adapters]:
        del model.adapters[name]
    with pytest.raises(UnknownNameError):
        model(toy_batch[0])
    adapter_folder.load_into(model, saved_b, "again")
    with torch.no_grad():
        assert torch.equal(model(toy_batch[0]), answers["b"])


@pytest.fixture
def saved_b(two, folder, tmp_path):
    model, _ = two
    out = adapter_folder.save_adapter(
        model.use("b"), tmp_path / "b", backbone=str(folder), points=64
    )
    model.use("default")
    return out


def test_a_removed_adapter_is_gone_and_another_takes_its_name(two, toy_batch):
    model, answers = two
    model.use("b")
    model.use("default")
    del model.adapters["b"]
    model.add("b", adapter(model.backbone))
    assert model.use("b").adapter.method.name == "dapt"
    with torch.no_grad():
        assert torch.equal(model.use("default")(toy_batch[0]), answers["default"])


def test_a_copy_of_a_model_is_a_model(two, toy_batch):
    model, answers = two
    copied = copy.deepcopy(model)
    assert copied._turns is not model._turns
    assert torch.equal(copied(toy_batch[0]), answers["default"])
    assert not pickle.loads(pickle.dumps(model._turns))._forwards


def test_a_failing_forward_leaves_nothing_behind(two, toy_batch):
    model, answers = two
    with pytest.raises(PointCloudError):
        model(torch.zeros(1, 2, 7))
    assert torch.equal(in_thread(lambda: model.use("b")(toy_batch[0])), answers["b"])
