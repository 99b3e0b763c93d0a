"""How scores and answers are written, and what a task has that says nothing of it."""

from dataclasses import dataclass

import pytest
import torch

from pointadapt.tasks import Measure, Names, Task
from pointadapt.tasks.answers import headline

ACCURACY, ERROR = Measure("acc", "accuracy"), Measure("err", "mean error", "m")


def test_percentages_have_two_digits_and_other_figures_four_that_count():
    assert (ACCURACY.text(84.5612), ACCURACY.head) == ("84.56 %", "accuracy %")
    assert (ERROR.text(-0.0123456), ERROR.head) == ("-0.01235 m", "mean error m")
    assert Measure("r2", "R²", "").text(0.5) == "0.5"
    assert ACCURACY.mean(85.214, 0.3) == "85.21 ± 0.30"
    assert ERROR.mean(1.5, None) == "1.5"


def test_the_headline_names_what_there_is():
    assert headline((ACCURACY, ERROR), {"acc": 50, "err": 2}) == (
        "accuracy", "50.00 % (mean error 2 m)",
    )  # fmt: skip
    assert headline((ACCURACY, ERROR), {"acc": 50}) == ("accuracy", "50.00 %")


@dataclass(frozen=True)
class Sizes(Task):
    measures = (ERROR, ACCURACY)


def test_the_first_measure_is_the_metric():
    assert Sizes.metric == "err" and Task.metric == ""


def test_a_task_that_says_nothing_predicts_numbers():
    task, names = Sizes(), Sizes().names(("a", "b"), ("a/x",), ("red",))
    assert names == Names(()) and task.labels(names) == ()
    output = torch.tensor([[0.25, 3.0], [-2.0, 1e6]])
    assert torch.equal(task.predict(task.activate(output), None, names), output)
    assert task.chosen(output) is None and task.running(output, output) == {}
    answer = task.answer(output[1], names)
    assert (answer.label, answer.values) == ("-2, 1e+06", {"value": [-2.0, 1e6]})
    assert task.answer(output[0, :1], names).values == {"value": 0.25}
    assert task.truth(torch.tensor([0.25, 3.0]), names) == "0.25, 3"


def test_the_worst_cloud_is_the_one_that_is_farthest_off():
    found, true = torch.tensor([[1.0, 1.0], [0.0, 4.0]]), torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    scores = Sizes().cloud_scores(found, true, Names(()), torch.zeros(2))
    assert scores.tolist() == pytest.approx([-0.5, -2.0])
    single = Sizes().cloud_scores(found[:, :1], true[:, 0] + 1, Names(()), torch.zeros(2))
    assert single.tolist() == pytest.approx([-1.0, -1.0])


def test_an_example_has_what_the_head_is_given():
    assert set(Sizes().example(Names(()), 3, 5)) == {"points"}
    given = Sizes().example(Names((), (), ("red", "z")), 3, 5)
    assert given["features"].shape == (3, 5, 2) and given["points"].shape == (3, 5, 3)
