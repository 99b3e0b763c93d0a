"""What every method promises on every family of backbones; a new one is tested by registering."""

import copy
import dataclasses
import json
import sys
import typing

import pytest
import torch
from families import FEW, REFUSED, STAGED, marked, pairs

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters import mixed
from pointadapt.adapters.fold import fold_model
from pointadapt.adapters.model import Adapter, PointModel, told_of
from pointadapt.backbones.folder import save_backbone
from pointadapt.cli import listing
from pointadapt.core.errors import AdapterError, CannotFold, ConfigError
from pointadapt.methods import METHODS, Method, make_method
from pointadapt.methods.training_clouds import TrainingClouds
from pointadapt.ops import cloud_traits
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES = ("ball", "bar", "helix", "plate")
EVERY = [marked(name) for name in (*METHODS, "peft:lora", "peft:ia3")]
each_method = pytest.mark.parametrize("name", EVERY)
each_pair = pytest.mark.parametrize(("name", "family"), pairs())


@pytest.fixture(scope="module")
def toy_batch(toy_batch_64):
    """16 clouds (16, 64, 3) of four classes, and their labels: enough for a thousand tests."""
    return tuple(t[:16] for t in toy_batch_64)


def new_adapter(net, name, seed=0, **options):
    torch.manual_seed(seed)
    return Adapter(net, make_method(name, options), make_task("classification"), CLASSES)


def new_model(folder, name, **options):
    net = load_backbone(folder)
    return PointModel(net, new_adapter(net, name, **options))


def told(model, points):
    """What the head is given besides tokens, if anything."""
    return told_of(model.adapter, None, None, cloud_traits(points))


def steps(model, batch, count=2, lr=1e-2):
    """Real training steps, with dropout and drop path; the losses."""
    points, labels = batch
    torch.manual_seed(5)
    model.backbone.set_drop_path(0.1)
    model.train()
    optimizer = torch.optim.AdamW(model.parameter_groups(0.05), lr=lr)
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = model.adapter.task.loss(model(points, **told(model, points)), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


def outputs(model, batch):
    with torch.no_grad():
        return model(batch[0], **told(model, batch[0]))


def tensors(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@each_pair
def test_trains_what_it_declares_and_nothing_else(name, family, bare_backbone, toy_batch):
    model = new_model(bare_backbone(family), name)
    before, names = tensors(model.backbone), [n for n, _ in model.backbone.named_parameters()]
    trained = model.adapter.method.trainable_among(names)
    head_before = tensors(model.adapter)
    steps(model, toy_batch)
    after = tensors(model.backbone)
    for key, parameter in model.backbone.named_parameters():
        assert (parameter.grad is not None) == (key in trained), key
        assert key in trained or torch.equal(before[key], after[key]), key
    for key, parameter in model.adapter.named_parameters():
        assert parameter.grad is not None, key  # DistributedDataParallel fails on an unused one
    assert not same(head_before, tensors(model.adapter))


@pytest.mark.parametrize("family", STAGED)
@pytest.mark.parametrize("name", [marked(name) for name in REFUSED])
def test_what_has_no_place_in_a_stage_says_so(name, family, bare_backbone):
    with pytest.raises(ConfigError, match="inside blocks") as caught:
        new_adapter(load_backbone(bare_backbone(family)), name)
    assert "\n" not in str(caught.value)


@each_pair
def test_starts_as_it_says(name, family, bare_backbone, toy_batch):
    net = load_backbone(bare_backbone(family)).eval()
    taps = new_adapter(net, name).taps.eval()
    with torch.no_grad():
        adapted, plain = net(toy_batch[0], taps), net(toy_batch[0])
    patches = [t.x[:, t.prefix + t.prompts :] for t in (adapted, plain)]
    assert torch.equal(*patches) == METHODS[name].starts_as_pretrained


@each_pair
def test_adapter_holds_every_tensor_that_moved(name, family, bare_backbone, toy_batch):
    folder = bare_backbone(family)
    model = new_model(folder, name)
    steps(model, toy_batch)
    fresh, state = load_backbone(folder, seed=1).state_dict(), model.adapter_state()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, fresh[key]) or f"backbone.{key}" in state, key


@each_pair
@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
def test_batchnorm_moves_only_where_it_may(name, family, batchnorm, bare_backbone, toy_batch):
    model = new_model(bare_backbone(family), name, batchnorm=batchnorm)
    before = load_backbone(bare_backbone(family))
    before = {k: v for k, v in before.named_buffers() if ".norm" in k}
    steps(model, toy_batch)
    now = dict(model.backbone.named_buffers())
    moved = [k for k, v in before.items() if not torch.equal(v, now[k])]
    assert moved == (list(before) if batchnorm == "train" else [])


@each_pair
def test_saved_and_loaded_is_equal_bit_for_bit(name, family, bare_backbone, toy_batch, tmp_path):
    model = new_model(bare_backbone(family), name)
    steps(model, toy_batch)
    expected = outputs(model, toy_batch)
    adapter_folder.save_adapter(
        model, tmp_path / "a", backbone=str(bare_backbone(family)), points=64
    )
    loaded = adapter_folder.load(tmp_path / "a")
    assert not loaded.training
    assert torch.equal(outputs(loaded, toy_batch), expected)
    assert same(loaded.adapter_state(), model.adapter_state())
    assert loaded.adapter.method == model.adapter.method
    assert loaded.classes == CLASSES


SECOND = {"point_vit": ("dapt", "full", "linear_probe"), **dict.fromkeys(STAGED, ("lora",))}


def switches():
    """(method, family, second method); of a few methods with seconds of every kind."""
    for pair in pairs():
        name, family = pair.values
        for k, second in enumerate(SECOND.get(family, ("dapt",))):
            slow = [pytest.mark.slow] if k and name not in FEW else []
            yield pytest.param(*pair.values, second, marks=[*pair.marks, *slow])


@pytest.mark.parametrize(("name", "family", "second"), list(switches()))
def test_switching_is_exact(name, second, family, bare_backbone, toy_batch, tmp_path):
    folder = bare_backbone(family)
    model = new_model(folder, name)
    steps(model, toy_batch)
    first_out = outputs(model, toy_batch)
    model.add("b", new_adapter(model.backbone, second, seed=1))
    assert torch.equal(outputs(model, toy_batch), first_out)  # added, not used
    model.use("b")
    assert same(tensors(model.backbone), tensors(load_backbone(folder)))
    steps(model, toy_batch)
    second_out = outputs(model, toy_batch)
    for _ in range(2):
        assert torch.equal(outputs(model.use("default"), toy_batch), first_out)
        assert torch.equal(outputs(model.use("b"), toy_batch), second_out)
    # what is saved after the switching owes nothing to the other adapter
    adapter_folder.save_adapter(model, tmp_path / "b", backbone=str(folder), points=64)
    assert torch.equal(outputs(adapter_folder.load(tmp_path / "b"), toy_batch), second_out)
    adapter_folder.load_into(model.use("default"), tmp_path / "b", "again")
    assert torch.equal(outputs(model, toy_batch), second_out)
    assert torch.equal(outputs(model.use("default"), toy_batch), first_out)


@each_pair
@torch.no_grad()
def test_clouds_for_several_adapters_in_one_batch(
    name, family, bare_backbone, toy_batch, monkeypatch
):
    """One cloud for each of three, whose every tensor differs; and two for one of them."""
    monkeypatch.setattr(mixed, "LARGEST", 100.0)  # heads and taps outweigh so small a backbone
    model = new_model(bare_backbone(family), name).eval()
    for k, key in enumerate("abc"):
        model.add(key, new_adapter(model.backbone, name, seed=k))
        for place in model.called(key).places().values():
            if place.is_floating_point():
                place.add_(0.05 * torch.rand_like(place))
    points, names = toy_batch[0][:4], ["a", "b", "c", "a"]
    others = told(model.use("a"), points)
    got = model.mixed(points, names, **others)
    for k, key in enumerate(names):
        own = {what: value[k : k + 1] for what, value in others.items()}
        want = model(points[k : k + 1], **own, adapter=key)[0]
        torch.testing.assert_close(got[k], want, atol=1e-5, rtol=1e-5)
        assert model.called(key).method.stacks or torch.allclose(got[k], want, atol=1e-6)


@each_method
def test_only_the_adapter_in_use_trains(name, bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), name)
    idle = model.adapter
    model.add("b", new_adapter(model.backbone, "linear_probe", seed=1))
    model.use("b")
    before = tensors(idle)
    steps(model, toy_batch)
    assert same(before, tensors(idle))
    assert not any(p.requires_grad for p in idle.parameters())
    model.use("default")
    assert all(p.requires_grad for p in idle.parameters())
    parameters = dict(model.backbone.named_parameters())
    trained = {n for n, p in parameters.items() if p.requires_grad}
    assert trained == idle.method.trainable_among(parameters)


@each_method
def test_another_backbone_is_refused(name, bare_backbone, toy_batch, tmp_path):
    folder = bare_backbone("point_vit")
    model = new_model(folder, name)
    steps(model, toy_batch, count=1)
    adapter_folder.save_adapter(model, tmp_path / "a", backbone=str(folder), points=64)
    other = load_backbone(folder)
    with torch.no_grad():
        weight = other.blocks[1].mlp.fc2.weight
        weight.view(torch.int32)[3, 5] ^= 1  # the last bit of one number
    save_backbone(other, tmp_path / "other")
    with pytest.raises(AdapterError, match="made for the backbone"):
        adapter_folder.load(tmp_path / "a", backbone=tmp_path / "other")
    host = PointModel(load_backbone(tmp_path / "other"), copy.deepcopy(model.adapter))
    with pytest.raises(AdapterError, match="made for the backbone"):
        adapter_folder.load_into(host, tmp_path / "a", "a")
    assert list(host.adapters) == ["default"]
    assert host.active == "default"


@each_method
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state, key: state.pop(key), "is missing"),
        (lambda state, key: state.update({key + "x": state[key]}), "has no place"),
        (lambda state, key: state.update({key: state[key][..., :-1]}), "has shape"),
    ],
    ids=["missing", "left over", "shape"],
)
def test_state_is_strict_and_all_or_nothing(name, damage, message, bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), name)
    steps(model, toy_batch, count=1)
    other = new_model(bare_backbone("point_vit"), name, seed=3)
    for key in ("head.layers.8.weight", "backbone.cls_token"):
        state = dict(model.adapter_state())
        damage(state, key)
        before = tensors(other)
        with pytest.raises(AdapterError, match=message) as caught:
            other.load_adapter_state(state, "here")
        assert key in str(caught.value)
        assert str(caught.value).startswith("here: ")
        assert same(before, tensors(other))


@pytest.mark.parametrize(
    "name", [marked(n, slow=n not in ("dapt", "full", "linear_probe", "lora")) for n in METHODS]
)
def test_overfits_64_clouds(name, bare_backbone, toy_batch_64):
    model = new_model(bare_backbone("point_vit"), name)
    losses = steps(model, toy_batch_64, count=60, lr=2e-3)
    assert losses[-1] < 0.2 * losses[0]
    right = (outputs(model, toy_batch_64).argmax(dim=1) == toy_batch_64[1]).float().mean()
    assert right > 0.9


@each_pair
def test_may_look_at_the_clouds_first(name, family, bare_backbone, toy_batch, tmp_path):
    """What it finds is the same again, lies in the buffers of its taps alone, and is saved."""
    clouds, found = TrainingClouds(toy_batch[0].numpy(), 64), []
    for _ in range(2):
        model = new_model(bare_backbone(family), name).eval()
        before = tensors(model)
        with torch.no_grad():
            model.adapter.method.prepare(model.adapter.taps, model.backbone, clouds)
        found.append(tensors(model))
    buffers = {f"adapters.default.taps.{n}" for n, _ in model.adapter.taps.named_buffers()}
    assert same(*found)
    assert {k for k in before if not torch.equal(before[k], found[0][k])} <= buffers
    steps(model, toy_batch)
    adapter_folder.save_adapter(
        model, tmp_path / "a", backbone=str(bare_backbone(family)), points=64
    )
    assert torch.equal(
        outputs(adapter_folder.load(tmp_path / "a"), toy_batch), outputs(model, toy_batch)
    )


@each_pair
def test_bfloat16(name, family, bare_backbone, toy_batch):
    model = new_model(bare_backbone(family), name).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(toy_batch[0], **told(model, toy_batch[0]))
    loss = model.adapter.task.loss(logits, toy_batch[1])
    loss.backward()
    assert loss.isfinite()
    grads = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert all(g is not None and g.isfinite().all() for g in grads.values())


def variants(name):
    """The method with one option after another set to another value."""
    default = METHODS[name]()
    hints = typing.get_type_hints(METHODS[name])
    for field in dataclasses.fields(default):
        value = getattr(default, field.name)
        if isinstance(value, bool):
            yield {field.name: not value}
        elif typing.get_origin(hints[field.name]) is typing.Literal:
            yield from ({field.name: v} for v in typing.get_args(hints[field.name]) if v != value)
        elif isinstance(value, (int, float)):
            yield {field.name: type(value)(value + 0.5 if isinstance(value, float) else value + 1)}


MORE = {  # options whose values no type tells
    "gaprompt": [{"drop_path": 0.3}],
    "dapt": [{"layers": ("1",)}, {"layers": ("none",)}],
    "lora": [{"targets": ("proj", "fc1", "fc2")}],
    "most": [{"neighbors": 0}, {"targets": ("proj", "fc2"), "neighbors": 0}],
}
QUICK_OPTIONS = 4  # of a method; make test-all takes all
VARIANTS = [
    pytest.param(
        name, options, id="-".join([name, *(f"{k}-{v}" for k, v in options.items())]),
        marks=[pytest.mark.slow] if number >= QUICK_OPTIONS else [],
    )
    for name in METHODS
    for number, options in enumerate((*variants(name), *MORE.get(name, ())))
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_option_round_trips_trains_and_loads(
    name, options, bare_backbone, toy_batch, tmp_path
):
    method = make_method(name, options)
    assert make_method(name, json.loads(json.dumps(method.to_dict()))) == method
    typed = {k: ",".join(v) if isinstance(v, tuple) else str(v) for k, v in options.items()}
    assert make_method(name, typed) == method
    net = load_backbone(bare_backbone("point_vit"))
    torch.manual_seed(0)
    adapter = Adapter(net, method, make_task("classification"), CLASSES, ("cls", "patch_max"))
    model = PointModel(net, adapter)
    steps(model, toy_batch, count=2)
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle  # though the head takes no prompt: DistributedDataParallel would fail
    expected = outputs(model, toy_batch)
    assert expected.isfinite().all()
    adapter_folder.save_adapter(
        model, tmp_path, backbone=str(bare_backbone("point_vit")), points=64
    )
    loaded = adapter_folder.load(tmp_path)
    assert loaded.adapter.method == method
    assert torch.equal(outputs(loaded, toy_batch), expected)


def assert_folds_as_it_says(model, batch):
    method, before = model.adapter.method, tensors(model)
    expected = outputs(model, batch)
    no_layer = any(True for _ in model.adapter.taps.parameters()) and not model.backbone.fold_layers
    if model.backbone.stage_views():  # what enters a stage's blocks comes from no layer
        no_layer = any(name.endswith("ss_patch.gamma") for name in model.adapter.taps.state_dict())
    if method.foldable == "no" or no_layer:
        with pytest.raises(CannotFold) as caught:
            fold_model(model)
        assert method.title in str(caught.value) or no_layer
        assert method.why_not_fold in str(caught.value) or method.foldable != "no"
        assert "\n" not in str(caught.value)
        return
    folded = fold_model(model)
    torch.testing.assert_close(outputs(folded, batch), expected, rtol=0, atol=1e-5)
    assert same(tensors(model), before)  # the adapter goes on as it was
    assert not any(p.requires_grad for p in folded.backbone.parameters())
    assert (folded.adapter.method.name == "linear_probe") == (method.foldable == "wholly")
    old, new = (len(list(m.adapter.taps.parameters())) for m in (model, folded))
    assert new < old or old == 0


@each_pair
def test_folds_as_it_says(name, family, bare_backbone, toy_batch):
    """The same output within 1e-5 after real training steps, or CannotFold."""
    model = new_model(bare_backbone(family), name)
    steps(model, toy_batch)
    assert_folds_as_it_says(model, toy_batch)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_folds_with_every_option(name, options, bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), name, **options)
    steps(model, toy_batch, count=1)
    assert_folds_as_it_says(model, toy_batch)


@each_method
def test_one_that_never_folds_says_why(name):
    method, nothing = METHODS[name](), Method.why_not_fold
    assert (method.why_not_fold != nothing) or method.foldable != "no"
    assert method.foldable in ("wholly", "partly", "no")


@each_method
def test_says_where_it_comes_from(name):
    cls = METHODS[name]
    assert cls.name == name
    assert cls.title
    assert cls.paper
    assert cls.__doc__
    assert cls().head_inputs
    assert set(cls.formerly) <= {field.name for field in dataclasses.fields(cls)}


def test_its_file_states_the_parameters_that_train():
    """On ``small`` with 15 classes: the figure that ``pointadapt list methods`` counts."""
    for row in listing.methods():
        cls = METHODS[row["name"]] if "parameters" in row else None
        if cls is not None:
            text = f"{sys.modules[cls.__module__].__doc__}{cls.__doc__}"
            assert f"{row['parameters']:,}" in text, row["name"]
