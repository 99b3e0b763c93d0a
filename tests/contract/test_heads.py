"""What the head, the loss and the score of every task that chooses labels promise."""

import dataclasses
import json

import pytest
import torch

from pointadapt.backbones import Tokens
from pointadapt.backbones.base import BackboneConfig
from pointadapt.backbones.tokens import POOLS
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.tasks import TASKS, make_task
from pointadapt.tasks.base import Names
from pointadapt.tasks.point_head import PointTask

CLASSES = ("a", "b", "c", "d")
PARTS = tuple(f"{name}/{part}" for name in CLASSES for part in (0, 1))
NAMES = Names(CLASSES)
DIM, POINTS = 12, 10
CONFIG = BackboneConfig(dim=DIM, depth=3, heads=2, groups=5)
CATEGORY = torch.arange(6) % 4
CHOOSING = [name for name in TASKS if make_task(name).chosen(torch.zeros(1, 2)) is not None]
each_task = pytest.mark.parametrize("name", CHOOSING)


def tokens(prompts=2, patches=5, batch=6, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(batch, 1 + prompts + patches, DIM)
    return Tokens(x=x, centers=torch.randn(batch, patches, 3), pos=x, prompts=prompts)


def labelled(task):
    """The names that a task takes, a true label of each cloud or point, and a wrong one."""
    if not task.per_point:
        return task.names(CLASSES, PARTS), CATEGORY, (CATEGORY + 1) % 4
    parts = 2 * CATEGORY.unsqueeze(1) + torch.arange(POINTS) % 2
    return task.names(CLASSES, PARTS), parts, parts ^ 1


@each_task
def test_says_what_it_is(name):
    cls = TASKS[name]
    assert cls.name == name
    assert cls.metric
    assert cls.__doc__


@each_task
def test_options_round_trip(name):
    task = make_task(name)
    assert make_task(name, json.loads(json.dumps(dataclasses.asdict(task)))) == task
    with pytest.raises(UnknownNameError, match=f"option of task '{name}'"):
        make_task(name, {"nonsense": 1})


@each_task
def test_head_loss_and_score_fit_together(name):
    task = make_task(name)
    names, target, wrong = labelled(task)
    head = task.make_head(CONFIG, task.head_inputs or ("cls", "patch_max"), names)
    seen = tokens()
    seen.hidden = tuple(tokens(prompts=k, seed=k) for k in range(len(head.blocks)))
    assert all(0 <= k < CONFIG.depth - 1 for k in head.blocks)
    assert list(head.blocks) == sorted(set(head.blocks))
    output = head(seen, torch.randn(6, POINTS, 3), CATEGORY)
    assert output.shape[:-1] == target.shape
    loss = task.loss(output, target)
    loss.backward()
    assert loss.shape == ()
    assert loss.isfinite()
    assert all(p.grad is not None for p in head.parameters())

    def scores(labels):
        sure = torch.nn.functional.one_hot(labels, output.shape[-1]).float()
        predicted = torch.cat([task.predict(sure[:4], CATEGORY[:4], names),
                               task.predict(sure[4:], CATEGORY[4:], names)])  # fmt: skip
        assert (predicted >= 0).all()
        return task.score(predicted, target, names, CATEGORY)

    assert scores(target)[task.metric] == 100.0
    assert scores(wrong)[task.metric] == 0.0
    assert json.loads(json.dumps(scores(target))) == scores(target)
    assert scores(target)["count"] == 6
    assert set(scores(target)["per_class"]) in (set(names.parts), set(CLASSES))


@each_task
def test_nan_is_not_predicted_as_something(name):
    task = make_task(name)
    names, target, _ = labelled(task)
    sure = torch.full((*target.shape, len(names.parts or names.classes)), torch.nan)
    assert not (task.predict(sure, CATEGORY, names) >= 0).any()


@each_task
def test_a_head_that_is_told_the_class_uses_it(name):
    task = make_task(name)
    names, _, _ = labelled(task)
    head = task.make_head(CONFIG, task.head_inputs or ("cls",), names).eval()
    seen = tokens()
    seen.hidden = tuple(tokens() for _ in head.blocks)
    points = torch.randn(6, POINTS, 3)
    same = torch.equal(head(seen, points, CATEGORY), head(seen, points, (CATEGORY + 1) % 4))
    assert same == (not task.given_class)


@each_task
def test_loss_is_computed_in_float32(name):
    task = make_task(name)
    output = torch.tensor([[30000.0, -30000.0, 0, 0]], dtype=torch.float16)
    target = torch.tensor([1])
    if task.per_point:
        output, target = output[None], target[None]
    assert task.loss(output, target).item() == pytest.approx(60000)


@pytest.mark.parametrize("inputs", [(p,) for p in POOLS] + [("cls", "prompt_mean", "patch_max")])
@pytest.mark.parametrize("hidden", [0, 16])
def test_classification_head_takes_any_inputs(inputs, hidden):
    head = make_task("classification", {"hidden": hidden}).make_head(CONFIG, inputs, NAMES).eval()
    logits = head(tokens())
    assert logits.shape == (6, 4)
    widths = [m.in_features for m in head.modules() if isinstance(m, torch.nn.Linear)]
    assert widths == [DIM * len(inputs), *([hidden, hidden] if hidden else [])]
    # each input counts
    for name in inputs:
        changed = tokens()
        part = {"c": slice(0, 1), "pr": slice(1, 3), "pa": slice(3, None), "t": slice(1, None)}
        key = next(k for k in part if name.startswith(k))
        changed.x[:, part[key]] += 1.0
        assert not torch.allclose(head(changed), logits), name


def test_classification_concatenates_in_the_order_given():
    head = make_task("classification", {"hidden": 0}).make_head(
        CONFIG, ("patch_mean", "cls"), NAMES
    )
    t, layer = tokens(), head.layers[0]
    joined = torch.cat([t.x[:, 3:].mean(dim=1), t.x[:, 0]], dim=1)
    torch.testing.assert_close(head(t), joined @ layer.weight.T + layer.bias)


def test_classification_head_refuses():
    task = make_task("classification")
    with pytest.raises(UnknownNameError, match="did you mean 'patch_max'"):
        task.make_head(CONFIG, ("patches_max",), NAMES)
    with pytest.raises(ConfigError, match="at least one input"):
        task.make_head(CONFIG, (), NAMES)
    with pytest.raises(ConfigError, match="adds none"):
        task.make_head(CONFIG, ("prompt_mean",), NAMES)(tokens(prompts=0))


@pytest.mark.parametrize(
    "options", [{"dropout": 1.5}, {"dropout": -0.1}, {"hidden": -1}, {"label_smoothing": 2.0}]
)
def test_classification_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        make_task("classification", options)


def test_label_smoothing_is_the_textbooks():
    output, target = torch.tensor([[2.0, 0.0, -1.0, 0.5]]), torch.tensor([2])
    logp = output.log_softmax(dim=1)
    want = -(0.8 * logp[0, 2] + 0.2 * logp.mean())
    got = make_task("classification", {"label_smoothing": 0.2}).loss(output, target)
    torch.testing.assert_close(got, want)
    plain = make_task("classification").loss(output, target)
    torch.testing.assert_close(plain, -logp[0, 2])


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].per_point])
def test_single_clouds_are_scored_like_all(name):
    task = make_task(name)
    names, target, predicted = labelled(task)
    predicted = predicted.clone()
    predicted[2] = target[2]
    each = task.cloud_scores(predicted, target, names, CATEGORY)
    assert each.tolist() == [0, 0, 100, 0, 0, 0]
    # Where the metric is no mean over clouds, the points that are right are compared instead.
    key = next(m.key for m in task.measures if m.key in ("instance_miou", "accuracy"))
    whole = task.score(predicted, target, names, CATEGORY)[key]
    assert whole == pytest.approx(float(each.mean()), abs=1e-3)


def test_points_whose_label_is_not_known_do_not_count():
    target = torch.tensor([[0, 1, -1], [1, 1, 0], [-1, -1, -1]])
    predicted = torch.tensor([[0, 0, 0], [1, 1, 1], [0, 0, 0]])
    each = PointTask().cloud_scores(predicted, target, NAMES, torch.zeros(3))
    assert each.tolist() == pytest.approx([50, 66.6667, 0], abs=1e-3)
