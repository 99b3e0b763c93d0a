"""The linear classifier: what it finds, how its strength is chosen, and that it repeats itself."""

from dataclasses import replace

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, DataLayoutError
from pointadapt.methods import make_method
from pointadapt.methods.linear_fit import Rows, _of_classes, _splits, fit_linear, fit_once

STRENGTHS = (0.3, 3.0, 30.0)


def rows(classes=3, each=20, pairs=True, noise=0.3, seed=0, **more):
    """Two inputs that tell the classes, of other sizes, one that is constant, six of noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(classes * each) % classes
    angle = 2 * np.pi * labels / classes
    told = np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, noise, (len(labels), 2))
    told = told * (1000, 0.001) + (5e5, 0)
    inputs = np.column_stack([told, np.full(len(labels), 7.0), rng.normal(size=(len(labels), 6))])
    return Rows(inputs, labels, classes, ((3, True), (6, False)), pairs, **more)


def chosen(given, fit):
    return _of_classes(given, fit(given.inputs)).argmax(axis=1)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_tells_what_can_be_told(classes, pairs):
    train, new = rows(classes, pairs=pairs, noise=0.1), rows(classes, noise=0.1, seed=1)
    fit = fit_linear(train, STRENGTHS, 5)
    assert fit.weight.shape == (train.outputs, 9)
    assert (chosen(replace(new, pairs=pairs), fit) == new.labels).mean() > 0.95
    assert (fit.weight[:, 2] == 0).all()  # the constant input
    assert fit.facts["cross_validated"] > 95
    assert fit.facts["strength"] in STRENGTHS


def test_it_is_the_same_at_every_call():
    first, second = (fit_linear(rows(noise=1.0), STRENGTHS, 5) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
    assert first.facts == second.facts


def test_the_unit_of_an_input_does_not_matter():
    given = rows(noise=0.6)
    scaled = replace(given, inputs=given.inputs * 1000.0)
    np.testing.assert_array_equal(
        chosen(given, fit_once(given, 3.0)), chosen(scaled, fit_once(scaled, 3.0))
    )


def test_a_penalty_that_is_too_weak_or_too_strong_is_not_chosen():
    given = rows(noise=0.5, each=40)
    few = np.flatnonzero((given.labels == 0) | (np.arange(120) < 40))  # most are of class 0
    facts = fit_linear(given.subset(few), (1e-4, 1.0), 5).facts
    scores = facts["by_strength"]
    assert facts["cross_validated"] == max(scores.values())
    assert scores[f"{facts['strength']:g}"] == facts["cross_validated"]
    assert scores["0.0001"] < facts["cross_validated"]


def test_groups_are_never_on_both_sides():
    groups = np.arange(60) // 6
    splits = _splits(rows(groups=groups), 5)
    assert splits
    for fit, held in splits:
        assert not set(groups[fit]) & set(groups[held])
    assert fit_linear(rows(groups=groups), STRENGTHS, 5).facts["grouped"]


def test_a_leak_between_groups_is_not_taken_for_knowledge():
    """Inputs that only name the group look perfect unless groups are held out together."""
    rng = np.random.default_rng(3)
    groups = np.arange(40) // 4
    labels = groups % 2
    inputs = rng.normal(size=(10, 30))[groups]
    alone = Rows(inputs, labels, 2, ((30, False),), True)
    assert fit_linear(alone, STRENGTHS, 5).facts["cross_validated"] == 100
    assert fit_linear(replace(alone, groups=groups), STRENGTHS, 5).facts["cross_validated"] < 80


@pytest.mark.parametrize("pairs", [False, True])
def test_a_class_without_clouds_is_never_predicted(pairs):
    given = rows(3, pairs=pairs)
    part = given.subset(np.flatnonzero(given.labels != 1))
    assert set(chosen(given, fit_linear(part, STRENGTHS, 5))) == {0, 2}


def test_one_cloud_of_each_class_is_enough_to_fit_but_not_to_choose():
    fit = fit_linear(rows(each=1), STRENGTHS, 5)
    assert fit.facts["cross_validated"] is None
    assert fit.facts["strength"] == 3.0
    with pytest.raises(DataLayoutError, match="two classes"):
        fit_linear(rows(1), STRENGTHS, 5)


def test_outputs_are_probabilities_on_clouds_held_out():
    given = rows(3, each=60, noise=0.9)
    fit = fit_linear(given, STRENGTHS, 5)
    new = rows(3, each=200, noise=0.9, seed=5)
    z = _of_classes(new, fit(new.inputs))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    right = (z.argmax(axis=1) == new.labels).mean()
    assert abs(p.max(axis=1).mean() - right) < 0.1


def test_maps_of_several_weights_of_traits_are_averaged():
    given = rows(noise=0.6)
    light, heavy, both = (
        fit_once(replace(given, emphases=e), 3.0) for e in ((0.01,), (10.0,), (0.01, 10.0))
    )
    assert np.allclose(both.weight, (light.weight + heavy.weight) / 2)
    assert np.allclose(both.bias, (light.bias + heavy.bias) / 2)
    assert not np.allclose(light.weight, heavy.weight)


def test_the_method_checks_its_options_and_weighs_traits():
    given = rows(noise=0.6)
    light, heavy = (make_method("instant", {"traits": [t]}).fit(given).weight for t in (0.01, 10))
    share = [np.abs(w[:, :2] * (1000, 0.001)).sum() / np.abs(w).sum() for w in (light, heavy)]
    assert share[1] > share[0]
    for options in ({"strengths": "0"}, {"parts": "1"}, {"traits": "-1"}):
        with pytest.raises(ConfigError):
            make_method("instant", options)
    with pytest.raises(ConfigError, match="fits no head"):
        make_method("lora").fit(given)


def test_traits_that_weigh_nothing_are_left_out_but_where_there_is_nothing_else():
    given = rows(noise=0.6)
    of_traits = np.concatenate([np.full(width, traits) for width, traits in given.kinds])
    without = make_method("instant", {"traits": [0]})
    weight = without.fit(given).weight
    assert not weight[:, of_traits].any() and weight[:, ~of_traits].any()
    alone = replace(given, kinds=((given.inputs.shape[1], True),))
    assert without.fit(alone).weight.any()
