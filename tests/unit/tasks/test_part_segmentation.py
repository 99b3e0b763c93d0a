"""Part segmentation: the published head, propagation, IoU by hand, what the tokens bring."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from families import pairs

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones import Taps, Tokens
from pointadapt.backbones.base import BackboneConfig
from pointadapt.core.errors import AdapterError, ConfigError, DataLayoutError
from pointadapt.data import Clouds
from pointadapt.methods import METHODS, make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task
from pointadapt.tasks.base import Names
from pointadapt.tasks.parts import (
    Propagation,
    part_mask,
    part_scores,
    parts_by_class,
    shape_ious,
    thirds,
)

CLASSES, PARTS = ("cup", "table"), ("cup/body", "cup/handle", "table/top", "table/leg")
NAMES = Names(CLASSES, PARTS)
CATEGORY = torch.arange(32) % 2


def sizes(module):
    return sum(p.numel() for p in module.parameters())


def task(**options):
    return make_task("part_segmentation", {"width": 16, "hidden": (12, 8), **options})


# ---- the head


def test_the_head_has_the_published_size():
    classes = tuple("abcdefghijklmnop")
    names = Names(classes, tuple(f"{c}/{i}" for c in classes for i in range(4 if c < "c" else 3)))
    assert len(names.parts) == 50
    published = make_task("part_segmentation")
    head = published.make_head(BackboneConfig(), published.head_inputs, names)
    assert sizes(head) == 5_238_706  # Point-MAE's, 5.239 M
    assert head.blocks == (3, 7)  # the 4th and the 8th of 12; the 12th are the final tokens


@pytest.mark.parametrize(
    ("depth", "blocks"), [(1, ()), (2, (0,)), (3, (0, 1)), (6, (1, 3)), (12, (3, 7)), (24, (7, 15))]
)
def test_thirds(depth, blocks):
    assert thirds(depth) == blocks


def nearest_three(points, centers, features, eps=1e-8):
    """Three-nearest interpolation, point by point."""
    out = torch.zeros(len(points), features.shape[1], dtype=torch.float64)
    for i, point in enumerate(points.double()):
        squared = ((centers.double() - point) ** 2).sum(dim=1)
        order = squared.argsort()[:3]
        weight = 1 / (squared[order] + eps)
        out[i] = (weight[:, None] * features[order].double()).sum(dim=0) / weight.sum()
    return out


def test_propagation_is_that_of_the_definition():
    torch.manual_seed(0)
    points, centers, features = torch.randn(2, 20, 3), torch.randn(2, 6, 3), torch.randn(2, 6, 5)
    points[:, 0] = centers[:, 2]  # a point that is a centre
    net = Propagation(5, 8, 4).train()
    carried = torch.stack(
        [nearest_three(*rows) for rows in zip(points, centers, features, strict=True)]
    )
    x = torch.cat([points, carried.float()], dim=-1).view(40, 8)  # coordinates first, 3 + 5
    for linear, norm in ((net.linear1, net.norm1), (net.linear2, net.norm2)):
        x = F.linear(x, linear.weight, linear.bias)
        x = F.relu((x - x.mean(0)) / (x.var(0, unbiased=False) + norm.eps).sqrt())
    torch.testing.assert_close(
        net(points, centers, features), x.view(2, 20, 4), atol=1e-4, rtol=1e-4
    )


def test_the_head_without_short_cuts():
    """Every point's features joined with the repeated global ones, as the published code does."""
    torch.manual_seed(0)
    config = BackboneConfig(dim=6, depth=3, heads=2)
    inputs = ("patch_max", "token_mean")
    head = task().make_head(config, inputs, NAMES).eval()
    levels = [
        Tokens(torch.randn(4, 1 + k + 5, 6), torch.randn(4, 5, 3), torch.zeros(0), prompts=k)
        for k in range(3)
    ]
    points, category = torch.randn(4, 9, 3), torch.tensor([0, 1, 1, 0])
    last = levels[2]
    last.hidden = tuple(levels[:2])
    patches = torch.cat([t.x[:, 1 + k :] for k, t in enumerate(levels)], dim=-1)
    biggest = patches.max(dim=1).values
    mean = torch.cat([t.x[:, 1:].mean(dim=1) for t in levels], dim=-1)
    label = head.label(F.one_hot(category, 2).float())
    shared = torch.cat([biggest, mean, label], dim=-1).unsqueeze(1).expand(-1, 9, -1)
    x = torch.cat([head.propagation(points, last.centers, patches), shared], dim=-1).view(36, -1)
    x = F.relu(head.norm1(head.linear1(x)))
    want = head.linear3(F.relu(head.norm2(head.linear2(x)))).view(4, 9, 4)
    torch.testing.assert_close(head(last, points, category), want, atol=1e-5, rtol=1e-5)


# ---- tokens of earlier blocks


@pytest.mark.parametrize("method", ["dapt", "linear_probe"])
def test_hidden_tokens_are_those_of_a_shorter_backbone(method, bare_backbone, toy_batch):
    net = load_backbone(bare_backbone("point_vit")).eval()
    torch.manual_seed(0)
    taps = make_method(method).attach(net).eval()
    plain = net(toy_batch[0], taps)
    assert plain.hidden == ()
    taps.wanted = (0,)
    full = net(toy_batch[0], taps)
    assert torch.equal(full.x, plain.x)
    net.blocks, taps.blocks, taps.wanted = net.blocks[:1], taps.blocks[:1], ()
    short = net(toy_batch[0], taps)
    (hidden,) = full.hidden
    assert torch.equal(hidden.x, short.x)
    assert hidden.prompts == short.prompts == (method == "dapt")


def new_model(folder, method="dapt", **options):
    net = load_backbone(folder)
    torch.manual_seed(0)
    return PointModel(net, Adapter(net, make_method(method), task(**options), CLASSES, parts=PARTS))


def test_prompts_join_the_global_information(bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit")).eval()
    head, seen = model.adapter.head, model.backbone(toy_batch[0], model.adapter.taps)
    before = head(seen, toy_batch[0], CATEGORY)
    assert (seen.prompts, seen.hidden[0].prompts) == (2, 1)
    seen.x[:, 1:3] += 1
    assert not torch.allclose(head(seen, toy_batch[0], CATEGORY), before)
    plain = Taps(2)
    plain.wanted = (0,)
    without = model.backbone(toy_batch[0], plain)  # no prompts: Point-MAE's own pooling
    assert torch.equal(without.pool("token_max"), without.pool("patch_max"))


@pytest.mark.parametrize("method", ["dapt", "full", "linear_probe", "vpt"])
def test_it_learns_and_comes_back_from_its_file(method, bare_backbone, toy_batch, tmp_path):
    folder = bare_backbone("point_vit")
    model, points = new_model(folder, method, dropout=0.0), toy_batch[0]
    upper = (points[..., 2] > 0).long()
    target = 2 * CATEGORY.unsqueeze(1) + upper
    optimizer = torch.optim.AdamW(model.parameter_groups(0.05), lr=1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = model.adapter.task.loss(model.train()(points, CATEGORY), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    adapter_folder.save_adapter(model.eval(), tmp_path, backbone=str(folder), points=64)
    loaded = adapter_folder.load(tmp_path)
    assert torch.equal(loaded(points, CATEGORY), model(points, CATEGORY))
    assert loaded.adapter.names == NAMES
    card = (tmp_path / adapter_folder.CARD).read_text()
    assert "4 parts: cup/body" in card and "model(points, category)" in card


@pytest.mark.parametrize(("method", "family"), pairs(METHODS))
def test_every_method_trains_all_that_it_adds(method, family, bare_backbone, toy_batch):
    model = new_model(bare_backbone(family), method).train()
    model.adapter.task.loss(model(toy_batch[0], CATEGORY), torch.ones(32, 64).long()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_bfloat16(bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit")).train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(toy_batch[0], CATEGORY)
    loss = model.adapter.task.loss(output, torch.zeros(32, 64, dtype=torch.int64))
    loss.backward()
    assert loss.isfinite()


# ---- the class


def test_the_class_must_be_told(bare_backbone, toy_batch):
    with pytest.raises(ConfigError, match="told the class"):
        new_model(bare_backbone("point_vit"))(toy_batch[0])
    model = new_model(bare_backbone("point_vit"), category=False).eval()
    assert torch.equal(model(toy_batch[0]), model(toy_batch[0], CATEGORY))


def test_only_the_parts_of_the_class_compete():
    sure = torch.tensor([[[0.1, 0.2, 0.4, 0.3]]])
    cup = torch.tensor([0])
    assert task().predict(sure, cup, NAMES).item() == 1
    assert task(restrict=False).predict(sure, cup, NAMES).item() == 2
    assert task().predict(sure, None, NAMES).item() == 2


def test_confidence_is_shared_among_the_parts_that_compete():
    sure = torch.tensor([[[0.1, 0.2, 0.4, 0.3]]])
    cup = torch.tensor([0])
    shared = task().competing(sure, cup, NAMES)
    torch.testing.assert_close(shared, torch.tensor([[[1 / 3, 2 / 3, 0.0, 0.0]]]))
    for known in (task(restrict=False).competing(sure, cup, NAMES),
                  task().competing(sure, None, NAMES)):  # fmt: skip
        assert torch.equal(known, sure)
    assert not task().competing(torch.tensor([[[0.0, 0.0, 1.0, 0.0]]]), cup, NAMES).isnan().any()


def test_names_are_checked():
    with pytest.raises(DataLayoutError, match="needs a part label"):
        task().names(CLASSES)
    with pytest.raises(DataLayoutError, match=r"class 'lamp' has no part .*'class/part'"):
        task().names((*CLASSES, "lamp"), PARTS)
    assert parts_by_class(NAMES) == ((0, 1), (2, 3))
    assert part_mask(NAMES).tolist() == [[True, True, False, False], [False, False, True, True]]


def test_an_adapter_file_without_parts_is_refused(bare_backbone, tmp_path):
    import json

    folder = bare_backbone("point_vit")
    adapter_folder.save_adapter(new_model(folder), tmp_path, backbone=str(folder), points=64)
    config = json.loads((tmp_path / adapter_folder.CONFIG).read_text())
    del config["parts"]
    (tmp_path / adapter_folder.CONFIG).write_text(json.dumps(config))
    with pytest.raises(AdapterError, match="part label"):
        adapter_folder.load(tmp_path)


@pytest.mark.parametrize(
    "options", [{"width": 0}, {"hidden": (0, 8)}, {"dropout": 1.0}, {"label_smoothing": -1.0}]
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        task(**options)


# ---- IoU


def test_iou_by_hand():
    target = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 3, 3]])
    found = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1], [2, 2, 2, 2]])
    category = torch.tensor([0, 0, 0, 1])
    ious = shape_ious(found, target, part_mask(NAMES)[category])
    # cup 1: body 2/3, handle 1/2. cup 2 has no handle, none is found: 1 and 1. cup 3 has none, one
    # is found: 3/4 and 0. table: top 2/4, leg 0.
    want = torch.tensor([7 / 12, 1.0, 3 / 8, 1 / 4], dtype=torch.float64)
    torch.testing.assert_close(ious, want)
    scores = part_scores(found, target, NAMES, category)
    cup = (7 / 12 + 1 + 3 / 8) / 3
    assert scores["instance_miou"] == pytest.approx(100 * (3 * cup + 0.25) / 4, abs=1e-3)
    assert scores["class_miou"] == pytest.approx(100 * (cup + 0.25) / 2, abs=1e-3)
    assert scores["per_class"] == {"cup": round(100 * cup, 2), "table": 25.0}
    assert scores["accuracy"] == 100 * 12 / 16
    assert scores["count"] == 4


def test_iou_is_that_of_loops():
    """The field's loop over clouds and parts, on random labels."""
    torch.manual_seed(0)
    category = torch.randint(2, (30,))
    target = 2 * category.unsqueeze(1) + (torch.rand(30, 9) < 0.2)
    found = torch.randint(4, (30, 9))
    means = []
    for f, t, c in zip(found, target, category.tolist(), strict=True):
        values = []
        for part in (2 * c, 2 * c + 1):
            either = int(((f == part) | (t == part)).sum())
            both = int(((f == part) & (t == part)).sum())
            values.append(both / either if either else 1.0)
        means.append(sum(values) / 2)
    got = shape_ious(found, target, part_mask(NAMES)[category])
    torch.testing.assert_close(got, torch.tensor(means, dtype=torch.float64))


def test_a_class_without_clouds_does_not_count():
    target = torch.tensor([[0, 1]])
    scores = part_scores(target, target, NAMES, torch.tensor([0]))
    assert scores["per_class"] == {"cup": 100.0}
    assert scores["class_miou"] == 100.0


def test_points_without_a_part_are_refused():
    """-1 says that nobody labelled a point: scenes may have it, the field's part IoU may not."""
    names, parts = ("a/x", "a/y"), np.array([[0, 1, -1, 0]])
    points = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    clouds = Clouds(points, np.zeros(1, np.int64), ("a",), (), parts,
                    names)  # fmt: skip
    task = make_task("part_segmentation")
    with pytest.raises(DataLayoutError, match="1 of 4 points have no part"):
        task.fitted(clouds)
    target = torch.from_numpy(parts)
    with pytest.raises(DataLayoutError, match="scene_segmentation"):
        task.score(target.clamp(min=0), target, Names(("a",), names), torch.zeros(1).long())
