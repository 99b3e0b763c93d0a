"""Scene segmentation: the shared head, features at the skip connection, IoU by hand, -1."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from families import pairs
from torch._subclasses.fake_tensor import FakeTensorMode

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.fold import fold_model
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones import Tokens
from pointadapt.backbones.base import BackboneConfig
from pointadapt.core.errors import ConfigError, DataLayoutError, PointCloudError
from pointadapt.data import Clouds
from pointadapt.inference.score import evaluate
from pointadapt.methods import METHODS, make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task
from pointadapt.tasks.base import Names
from pointadapt.tasks.metrics import confusion_matrix, segmentation_scores

LABELS, FEATURES = ("ground", "building", "tree"), ("red", "green")
NAMES = Names(("scene",), LABELS, FEATURES)


def task(**options):
    return make_task("scene_segmentation", {"width": 16, "hidden": (12, 8), **options})


def new_model(folder, method="dapt", features=FEATURES, **options):
    net = load_backbone(folder)
    torch.manual_seed(0)
    adapter = Adapter(net, make_method(method), task(**options), ("scene",), (), LABELS, features)
    return PointModel(net, adapter)


def by_height(points):
    """Labels that the coordinates tell: three slices."""
    return (points[..., 2] > -0.3).long() + (points[..., 2] > 0.3)


# ---- the head


def test_without_features_it_is_the_published_head_without_a_class():
    published = make_task("scene_segmentation")
    labels = tuple(map(str, range(13)))
    head = published.make_head(BackboneConfig(), published.head_inputs, Names(("scene",), labels))
    part = make_task("part_segmentation", {"category": False})
    same = part.make_head(BackboneConfig(), part.head_inputs, Names(("a",), labels))
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (head, same)]
    assert shapes[0] == shapes[1]
    assert head.linear1.in_features == 3328  # as in ACT's released code for S3DIS
    assert head.propagation.linear1.in_features == 1152 + 3


def test_features_join_the_coordinates_before_the_propagations_first_layer():
    torch.manual_seed(0)
    config = BackboneConfig(dim=6, depth=1, heads=2)
    head = task().make_head(config, ("patch_max",), NAMES).eval()
    seen = Tokens(torch.randn(2, 6, 6), torch.randn(2, 5, 3), torch.zeros(0))
    points, features = torch.randn(2, 9, 3), 50 + 10 * torch.randn(2, 9, 2)
    head.scale.running_mean.copy_(torch.tensor([50.0, 49.0]))
    head.scale.running_var.fill_(100.0)
    own = (features - head.scale.running_mean) / (100 + head.scale.eps) ** 0.5
    net = head.propagation
    carried = net(points, seen.centers, seen.x[:, 1:], own)
    assert net.linear1.in_features == 3 + 2 + 6  # coordinates, features, patches
    wide = torch.cat([points, own], dim=-1)
    with torch.no_grad():
        net.linear1.weight[:, 5:] = 0
        x = F.relu(net.norm1(F.linear(wide, net.linear1.weight[:, :5], net.linear1.bias)[0]))
        want = F.relu(net.norm2(net.linear2(x)))
    torch.testing.assert_close(net(points, seen.centers, seen.x[:, 1:], own)[0], want)
    assert not torch.allclose(carried[0], want)
    assert torch.equal(head(seen, points, None, features), head(seen, points, None, features))


@pytest.mark.parametrize("features", [None, torch.zeros(32, 64, 3), torch.zeros(32, 9, 2)])
def test_missing_or_wrong_features_are_named(features, bare_backbone, toy_batch):
    with pytest.raises(ConfigError, match=r"red, green of each point: pass features=\(32, 64, 2\)"):
        new_model(bare_backbone("point_vit"))(toy_batch[0], features=features)


def test_features_can_be_left_out(bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), **{"features": FEATURES}).eval()
    assert model.adapter.names.features == FEATURES
    net = load_backbone(bare_backbone("point_vit"))
    adapter = Adapter(
        net, make_method("dapt"), task(features=False), ("scene",), (), LABELS, FEATURES
    )
    assert adapter.names.features == ()
    assert PointModel(net, adapter)(toy_batch[0]).shape == (32, 64, 3)


@pytest.mark.parametrize("method", ["dapt", "full", "linear_probe"])
def test_it_learns_and_comes_back_from_its_file(method, bare_backbone, toy_batch, tmp_path):
    folder, points = bare_backbone("point_vit"), toy_batch[0]
    model = new_model(folder, method, dropout=0.0)
    colors = torch.rand(32, 64, 2, generator=torch.Generator().manual_seed(0))
    target = 2 * (colors[..., 1] > 0.5).long()  # the second channel alone tells the class
    optimizer = torch.optim.AdamW(model.parameter_groups(0.05), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        output = model.train()(points, features=colors)
        loss = model.adapter.task.loss(output, target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    adapter_folder.save_adapter(model.eval(), tmp_path, backbone=str(folder), points=64)
    loaded = adapter_folder.load(tmp_path)
    assert torch.equal(loaded(points, features=colors), model(points, features=colors))
    assert loaded.adapter.names == NAMES
    card = (tmp_path / adapter_folder.CARD).read_text()
    assert "model(points, features=features)" in card and "(B, 64, 2) features: red, green" in card


@pytest.mark.parametrize(("method", "family"), pairs(METHODS))
def test_every_method_trains_all_that_it_adds(method, family, bare_backbone, toy_batch):
    model = new_model(bare_backbone(family), method).train()
    output = model(toy_batch[0], features=torch.rand(32, 64, 2))
    model.adapter.task.loss(output, torch.ones(32, 64).long()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_a_folded_model_labels_points_too(bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), "ssf").eval()
    colors = torch.rand(32, 64, 2)
    want = model(toy_batch[0], features=colors)
    torch.testing.assert_close(
        fold_model(model)(toy_batch[0], features=colors), want, atol=1e-4, rtol=1e-4
    )


# ---- the forest beside it


def colours_and_labels():
    """Two channels for each point of the toy batch, and labels that the second one tells."""
    colors = torch.rand(32, 64, 2, generator=torch.Generator().manual_seed(0))
    return colors, 2 * (colors[..., 1] > 0.5).long()


def test_a_forest_answers_in_prediction_alone(bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), dropout=0.0, forest=5).eval()
    points, (colors, target) = toy_batch[0], colours_and_labels()
    forest, model.adapter.head.forest = model.adapter.head.forest, None
    alone = model(points, features=colors)
    model.adapter.head.forest = forest
    model.adapter.head.learn(colors.numpy(), target.numpy(), seed=0)
    said = forest(colors.flatten(0, 1)).view(32, 64, 3)
    want = 0.5 * alone.log_softmax(-1) + 0.5 * (said + 0.01).log()
    torch.testing.assert_close(model(points, features=colors), want)
    assert (said.argmax(-1) == target).float().mean() > 0.99
    training = model.train()(points, features=colors)
    model.adapter.head.forest = None
    torch.testing.assert_close(model(points, features=colors), training)


def test_a_forest_goes_with_its_adapter(bare_backbone, toy_batch, tmp_path):
    folder = bare_backbone("point_vit")
    model = new_model(folder, forest=5).eval()
    points, (colors, target) = toy_batch[0], colours_and_labels()
    model.adapter.head.learn(colors.numpy(), target.numpy(), seed=0)
    adapter_folder.save_adapter(model, tmp_path, backbone=str(folder), points=64)
    loaded = adapter_folder.load(tmp_path)
    assert loaded.adapter.task.forest == 5
    assert torch.equal(loaded(points, features=colors), model(points, features=colors))
    assert (model(points, features=colors).argmax(-1) == target).float().mean() > 0.9


def test_there_is_no_forest_without_features_or_trees(bare_backbone):
    with pytest.raises(ConfigError, match="forest must be at least 0"):
        task(forest=-1)
    assert new_model(bare_backbone("point_vit")).adapter.head.forest is None
    model = new_model(bare_backbone("point_vit"), features=(), forest=5)
    assert model.adapter.head.forest is None


# ---- loss and scores


def test_unlabelled_points_do_not_count():
    torch.manual_seed(0)
    output, target = torch.randn(2, 5, 3, requires_grad=True), torch.tensor([[0, 1, -1, 2, -1]] * 2)
    t = task()
    loss = t.loss(output, target)
    want = F.cross_entropy(output[:, [0, 1, 3]].reshape(-1, 3), torch.tensor([0, 1, 2] * 2))
    torch.testing.assert_close(loss, want)
    loss.backward()
    assert not output.grad[:, [2, 4]].any()
    assert t.loss(output, torch.full((2, 5), -1)).item() == 0.0
    sure = F.one_hot(torch.tensor([[0, 1, 2, 0, 0]] * 2), 3).float()
    assert t.running(sure, target)["accuracy"].item() == pytest.approx(200 / 3)
    found = t.predict(sure, None, NAMES)
    scores = t.score(found, target, NAMES, torch.zeros(2))
    assert scores["accuracy"] == pytest.approx(200 / 3, abs=1e-3)
    assert (scores["labelled"], scores["count"]) == (6, 2)


def test_rare_classes_can_weigh_more():
    labels = np.repeat([[0, 1, 2, -1]], 2, axis=0).repeat([27, 8, 1, 5], axis=1)
    clouds = Clouds(
        np.zeros((2, 41, 3), np.float32), np.zeros(2, np.int64), ("scene",), parts=labels,
        part_names=(*LABELS, "water"),
    )  # fmt: skip
    plain = task()
    assert plain.fitted(clouds) is plain
    fitted = task(balance=1 / 3).fitted(clouds)
    assert fitted.class_weights == pytest.approx((1, 1.5, 3, 1))
    torch.manual_seed(0)
    output, target = torch.randn(2, 41, 4), torch.from_numpy(labels)
    weight = torch.tensor(fitted.class_weights)
    want = F.cross_entropy(output.flatten(0, 1), target.flatten(), weight, ignore_index=-1)
    torch.testing.assert_close(fitted.loss(output, target), want)
    with pytest.raises(ConfigError, match="balance"):
        task(balance=-1)


def test_scores_by_hand():
    target = torch.tensor([0, 0, 0, 0, 1, 1])
    found = torch.tensor([0, 0, 0, 1, 1, 2])
    names = ("a", "b", "c", "d")
    scores = segmentation_scores(confusion_matrix(found, target, 4), names)
    # a: 3 of 4; b: 1 of 3; c: predicted once, never true: 0; d: neither, left out
    assert scores["per_class"] == {"a": 75.0, "b": 33.33, "c": 0.0}
    assert scores["miou"] == pytest.approx(100 * (3 / 4 + 1 / 3 + 0) / 3, abs=1e-3)
    assert scores["accuracy"] == pytest.approx(100 * 4 / 6, abs=1e-3)
    assert scores["class_accuracy"] == pytest.approx(100 * (3 / 4 + 1 / 2) / 2, abs=1e-3)
    assert scores["confusion"]["a"] == [3, 1, 0, 0]
    with pytest.raises(PointCloudError, match="no point of this split is labelled"):
        segmentation_scores(torch.zeros(2, 2), ("a", "b"))


def test_scores_of_clouds(bare_backbone, toy_batch):
    points = toy_batch[0].numpy()
    labels = by_height(toy_batch[0]).numpy()
    labels[:, :5] = -1
    clouds = Clouds(
        points, np.zeros(32, np.int64), ("scene",), parts=labels, part_names=LABELS,
        features=np.zeros((32, 64, 2), np.float32), feature_names=FEATURES,
    )  # fmt: skip
    scores = evaluate(new_model(bare_backbone("point_vit")), clouds, 64)
    assert scores["labelled"] == 32 * 59
    assert sum(map(sum, scores["confusion"].values())) == 32 * 59


def test_data_without_labels_of_points_are_refused():
    with pytest.raises(DataLayoutError, match="needs a label for each point"):
        task().names(("a", "b"))


def test_the_loss_asks_for_no_value():
    """A step that is captured or compiled must not wait for what is in a tensor."""
    weighted = replace(task(balance=0.5), class_weights=(1.0, 2.0, 4.0))
    logits, labels = torch.randn(2, 5, 3), torch.tensor([[0, 1, -1, 2, 2], [-1] * 5])
    want = F.cross_entropy(logits.view(-1, 3), labels.view(-1), torch.tensor([1.0, 2, 4]),
                           ignore_index=-1)  # fmt: skip
    torch.testing.assert_close(weighted.loss(logits, labels), want)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        logits, labels = fake.from_tensor(logits), fake.from_tensor(labels)
        assert weighted.loss(logits, labels).shape == ()  # raises where a shape needs a value
        assert weighted.running(logits, labels)["accuracy"].shape == ()


def test_a_linear_map_of_the_features_joins_the_output_and_begins_as_nothing(
    bare_backbone, toy_batch
):
    clouds, _ = toy_batch
    features = torch.randn(*clouds.shape[:2], len(FEATURES))
    folder = bare_backbone("point_vit")
    plain, linear = (new_model(folder, linear=on).eval() for on in (False, True))
    with torch.no_grad():
        before = plain(clouds, features=features)
        torch.testing.assert_close(linear(clouds, features=features), before)
        weight = torch.tensor([[1.0, 0.0], [0.0, -2.0], [0.5, 0.5]])
        linear.adapter.head.beside.weight.copy_(weight)
        after = linear(clouds, features=features)
    scaled = features / (1 + linear.adapter.head.scale.eps) ** 0.5  # mean 0, deviation 1 so far
    torch.testing.assert_close(after - before, scaled @ weight.T, atol=1e-4, rtol=1e-4)
    assert new_model(folder, features=(), linear=True).adapter.head.beside is None
