"""The head of classification as a linear map, alone and beside layers that train."""

import numpy as np
import pytest
import torch

from pointadapt.backbones import Tokens
from pointadapt.backbones.base import BackboneConfig
from pointadapt.core.errors import ConfigError
from pointadapt.methods.linear_fit import votes
from pointadapt.tasks import make_task
from pointadapt.tasks.base import Names
from pointadapt.tasks.pairs import Votes

CONFIG = BackboneConfig(dim=4, depth=2, heads=2)


def head_of(classes, **options):
    names = Names(tuple("abcdefghijklmnopqrst"[:classes]))
    return make_task("classification", options).make_head(CONFIG, ("cls", "patch_max"), names)


def some_tokens():
    x = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(1))
    return Tokens(x=x, centers=torch.zeros(5, 3, 3), pos=torch.zeros_like(x))


def test_pairs_vote_as_where_they_are_fitted():
    margins = torch.randn(7, 10, generator=torch.Generator().manual_seed(0))
    want = votes(margins.numpy().astype(np.float64), 5)
    np.testing.assert_allclose(Votes(5)(margins).numpy(), want, atol=1e-6)
    two = Votes(2)(torch.tensor([[1.5]])).softmax(dim=1)
    assert two[0, 0] == pytest.approx(1 / (1 + np.exp(-1.5)))


@pytest.mark.parametrize(
    "options", [{"hidden": 0}, {"linear": True}, {"hidden": 0, "linear": True}]
)
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("classes", [3, 20])
def test_it_begins_at_a_linear_map(options, pairs, classes):
    head = head_of(classes, pairs=pairs, **options).eval()
    outputs = classes * (classes - 1) // 2 if head.pairs else classes
    assert head.pairs == (pairs and classes == 3)  # 20 classes are too many for pairs
    draw = torch.Generator().manual_seed(2)
    weight, bias = torch.randn(outputs, 8, generator=draw), torch.randn(outputs, generator=draw)
    head.begin_at(weight, bias)
    rows = head.rows(some_tokens())
    assert rows.shape == (5, 8) == (5, sum(width for width, _ in head.kinds))
    want = rows @ weight.T + bias
    want = Votes(classes)(want) if head.pairs else want
    torch.testing.assert_close(head(some_tokens()), want)
    loss = head(some_tokens()).square().sum()
    loss.backward()
    assert any(p.grad.abs().sum() > 0 for p in head.parameters())  # it goes on from there


def test_hidden_layers_alone_cannot_begin_there():
    task = make_task("classification")
    assert not task.begins_linear
    assert make_task("classification", {"hidden": 0}).begins_linear
    assert make_task("classification", {"linear": True}).begins_linear
    with pytest.raises(ConfigError, match="hidden=0 or linear=true"):
        head_of(3).begin_at(torch.zeros(3, 8), torch.zeros(3))


def test_a_forest_on_the_traits_answers_in_prediction_alone():
    rng = np.random.default_rng(0)
    traits = rng.normal(size=(5, 29)).astype(np.float32)
    labels = np.array([0, 1, 2, 0, 1])
    torch.manual_seed(0)
    alone, head = head_of(3, dropout=0), head_of(3, dropout=0, forest=7)
    assert alone.forest is None and not alone.takes_traits
    head.load_state_dict(alone.state_dict(), strict=False)
    head.learn(traits, labels, seed=0)
    tokens, seen = some_tokens(), torch.from_numpy(traits)
    torch.testing.assert_close(head(tokens, traits=seen), alone(tokens))  # while it trains
    said = head.forest(seen)
    assert said.argmax(dim=1).tolist() == labels.tolist()
    want = 0.5 * alone.eval()(tokens).log_softmax(dim=1) + 0.5 * (said + 0.01).log()
    torch.testing.assert_close(head.eval()(tokens, traits=seen), want)
    with pytest.raises(ConfigError, match="takes a forest on the traits of each cloud"):
        head(tokens)
    with pytest.raises(ConfigError, match="forest must be at least 0"):
        make_task("classification", {"forest": -1})
