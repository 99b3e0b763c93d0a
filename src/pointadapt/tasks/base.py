"""What a task is: a head on the tokens, a loss, a score, and all that others must know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..backbones.base import BackboneConfig
from ..core.fields import build
from ..core.registry import Registry
from .answers import Answer, Measure, Names, headline, numbers
from .head import Head, check_inputs
from .inputs import parse_inputs

if TYPE_CHECKING:
    import numpy as np

    from ..data import Clouds


@dataclass(frozen=True)
class Task:
    """Base of all tasks. Options are fields.

    Every task has ``measures``, ``make_head``, ``target``, ``loss`` and ``score``. The rest fits a
    task that predicts numbers of each cloud and needs no labels; other kinds replace what differs.
    No other part of the package asks which task it has: it asks the task.
    """

    name: ClassVar[str] = ""
    measures: ClassVar[tuple[Measure, ...]] = ()  # its scores; selection and ranks go by the first
    metric: ClassVar[str] = ""  # the key of the first measure, of which more is better
    class_measure: ClassVar[str] = "score"  # what ``per_class`` among its scores is
    answers: ClassVar[str] = "value"  # what tables call its answers
    head_inputs: ClassVar[tuple[str, ...]] = ()  # default inputs of its head; empty: the method's
    per_point: ClassVar[bool] = False  # it labels points, not clouds
    one_class: ClassVar[bool] = False  # each cloud is of one of the classes
    linear_form: ClassVar[bool] = False  # it has the options hidden, linear and pairs of its head
    batch: ClassVar[int] = 64  # clouds that are predicted at a time
    predictor: ClassVar[str] = "clouds"  # what predicts files: a name of inference.PREDICTORS

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.metric = cls.measures[0].key if cls.measures else ""

    # ---- what it is given

    @property
    def given_class(self) -> bool:
        """Whether the head is told the class of each cloud."""
        return False

    def given_traits(self, inputs: Sequence[str]) -> bool:
        """Whether a head of these ``inputs`` is told the traits of each cloud."""
        return any(item.of_cloud for item in parse_inputs(inputs))

    def names(
        self, classes: Sequence[str], parts: Sequence[str] = (), features: Sequence[str] = ()
    ) -> Names:
        """The names this task needs, of those that the data give; here none.

        Raises:
            DataLayoutError: the data are not labelled as the task needs it.
        """
        del classes, parts, features
        return Names(())

    def labels(self, names: Names) -> tuple[str, ...]:
        """What the last dimension of the output is called; empty where it has no names."""
        return names.parts if self.per_point else names.classes

    def target(self, clouds: Clouds) -> np.ndarray:
        """The truth, (n, …) of clouds or (n, N, …) of points, whole numbers or float32.

        From the clouds' classes, from their parts, or from ``clouds.extras``.

        Raises:
            DataLayoutError: the data do not have it.
        """
        raise NotImplementedError

    def check(self, clouds: Clouds, split: str) -> None:
        """Refuse the clouds of a split that nothing can be learned from, or scored on.

        Raises:
            DataLayoutError: why.
        """

    def fitted(self, clouds: Clouds) -> Task:
        """The task with what its loss has to know of the training clouds; most need nothing."""
        del clouds
        return self

    def example(self, names: Names, batch: int, points: int) -> dict[str, Tensor]:
        """Made-up clouds, to measure time with: ``points``, and what else the head is given."""
        draw = torch.Generator().manual_seed(0)
        given = {"points": torch.rand(batch, points, 3, generator=draw)}
        if self.given_class:
            given["category"] = torch.arange(batch) % len(names.classes)
        if names.features:
            given["features"] = torch.rand(batch, points, len(names.features), generator=draw)
        return given

    # ---- training

    @property
    def begins_linear(self) -> bool:
        """Whether its head can begin as a linear map, see :meth:`Head.begin_at`."""
        return False

    def make_head(self, config: BackboneConfig, inputs: Sequence[str], names: Names) -> Head:
        """A new head for the tokens of a backbone of this size."""
        raise NotImplementedError

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar training loss."""
        raise NotImplementedError

    def running(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Scalars for the training log besides the loss, by name; means over a batch."""
        del output, target
        return {}

    # ---- prediction

    def activate(self, output: Tensor) -> Tensor:
        """The head's output as probabilities, such as its softmax; here as it is.

        Augmented copies of a cloud are averaged after it, and so are a point's neighbours.
        """
        return output

    def predict(self, probabilities: Tensor, category: Tensor | None, names: Names) -> Tensor:
        """What is kept of a batch's probabilities for :meth:`score`: by default all of them.

        Labels of points are -1 where the probabilities are NaN.

        Args:
            probabilities: (B, …) or (B, N, …) what :meth:`activate` gave.
            category: (B,) class of each cloud, where it is known.
            names: as :meth:`names` gave them.
        """
        del category, names
        return probabilities

    def competing(self, probabilities: Tensor, category: Tensor | None, names: Names) -> Tensor:
        """The probabilities that confidence is read from: of the labels that :meth:`predict` may
        choose, summing to 1. Arguments as there; by default all labels compete.
        """
        del category, names
        return probabilities

    def chosen(self, predicted: Tensor) -> Tensor | None:
        """The one label of each cloud or point, of several, in what :meth:`predict` gave.

        None for tasks that do not choose one: they have no confusions and no calibration.
        """
        del predicted
        return None

    def answer(self, predicted: Tensor, names: Names, top: int = 1) -> Answer:
        """What is said of a cloud, from its row of what :meth:`predict` gave; here the numbers.

        Args:
            predicted: (…) of one cloud.
            names: as :meth:`names` gave them.
            top: how many of the most probable labels to name.
        """
        del names, top
        values = predicted.flatten().tolist()
        return Answer(numbers(values), values={"value": values[0] if len(values) == 1 else values})

    def truth(self, target: Tensor, names: Names) -> str:
        """A row of :meth:`target` in the words that a right :meth:`answer` would have as label."""
        del names
        return numbers(target.flatten().tolist())

    # ---- scores

    def score(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> dict[str, Any]:
        """Metrics over a whole split; ``predicted`` is :meth:`predict`'s, all batches together.

        ``count`` is how many clouds there are, ``per_class``, if it is there, a score of each class
        in percent, ``confusion`` counts (true label -> predicted ones).
        """
        raise NotImplementedError

    def cloud_scores(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> Tensor:
        """(n,) how well each cloud does, to find the worst: here the mean error, below 0.

        Args:
            predicted: (n, …) as :meth:`predict` gave it.
            target: (n, …) of that shape.
            names: as :meth:`names` gave them.
            category: (n,) class of each cloud.
        """
        del names, category
        apart = (predicted.double().reshape(target.shape) - target.double()).abs()
        return -apart.reshape(len(target), -1).mean(dim=1)

    @classmethod
    def headline(cls, scores: Mapping[str, Any]) -> tuple[str, str]:
        """What the task is judged by: its name, and its value with the other measures."""
        return headline(cls.measures, scores)


TASKS: Registry[Task] = Registry("task", "pointadapt.tasks")


def make_task(name: str, options: Mapping[str, Any] | None = None) -> Task:
    """The task called ``name`` with ``options``; strings are converted to the field's type.

    Raises:
        UnknownNameError: no such task or option.
        ConfigError: a value of the wrong type.
    """
    return build(TASKS[name], options or {}, f"task {name!r}")


__all__ = ["TASKS", "Answer", "Head", "Measure", "Names", "Task", "check_inputs", "make_task"]
