"""What every task promises; a new one is tested by registering."""

import dataclasses
import json

import pytest
import torch

from pointadapt.backbones import Tokens
from pointadapt.backbones._base import POOLS
from pointadapt.errors import ConfigError, UnknownNameError
from pointadapt.tasks import TASKS, make_task

CLASSES = ("a", "b", "c", "d")
DIM = 12
each_task = pytest.mark.parametrize("name", list(TASKS))


def tokens(prompts=2, patches=5, batch=6, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(batch, 1 + prompts + patches, DIM)
    return Tokens(x=x, centers=torch.zeros(batch, patches, 3), pos=x, prompts=prompts)


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
    head = task.make_head(DIM, ("cls", "patch_max"), len(CLASSES))
    output = head(tokens())
    target = torch.arange(6) % 4
    loss = task.loss(output, target)
    loss.backward()
    assert loss.shape == ()
    assert loss.isfinite()
    assert all(p.grad is not None for p in head.parameters())
    perfect = torch.nn.functional.one_hot(target, 4).float()
    scores = task.score(perfect, target, CLASSES)
    assert scores[task.metric] == 100.0
    assert task.score(perfect.roll(1, dims=1), target, CLASSES)[task.metric] == 0.0
    assert json.loads(json.dumps(scores)) == scores


@each_task
def test_loss_is_computed_in_float32(name):
    task = make_task(name)
    output = torch.tensor([[30000.0, -30000.0, 0, 0]], dtype=torch.float16)
    assert task.loss(output, torch.tensor([1])).item() == pytest.approx(60000)


@pytest.mark.parametrize("inputs", [(p,) for p in POOLS] + [("cls", "prompt_mean", "patch_max")])
@pytest.mark.parametrize("hidden", [0, 16])
def test_classification_head_takes_any_inputs(inputs, hidden):
    head = make_task("classification", {"hidden": hidden}).make_head(DIM, inputs, 4).eval()
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
    head = make_task("classification", {"hidden": 0}).make_head(DIM, ("patch_mean", "cls"), 4)
    t, layer = tokens(), head.layers[0]
    joined = torch.cat([t.x[:, 3:].mean(dim=1), t.x[:, 0]], dim=1)
    torch.testing.assert_close(head(t), joined @ layer.weight.T + layer.bias)


def test_classification_head_refuses():
    task = make_task("classification")
    with pytest.raises(UnknownNameError, match="did you mean 'patch_max'"):
        task.make_head(DIM, ("patches_max",), 4)
    with pytest.raises(ConfigError, match="at least one input"):
        task.make_head(DIM, (), 4)
    with pytest.raises(ConfigError, match="adds none"):
        task.make_head(DIM, ("prompt_mean",), 4)(tokens(prompts=0))


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
