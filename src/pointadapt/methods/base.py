"""What a method is: a dataclass of options that attaches taps to a backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

from ..backbones import Backbone, Folding, Taps
from ..core.errors import CannotFold, ConfigError
from ..core.fields import build
from ..core.registry import Registry

if TYPE_CHECKING:
    from .linear_fit import LinearFit, Rows
    from .training_clouds import TrainingClouds

Foldable = Literal["wholly", "partly", "no"]


@dataclass(frozen=True)
class Method:
    """Base of all methods. Subclasses add their options as fields, the paper's as defaults.

    Attributes:
        position: how the position embedding enters, see :class:`pointadapt.backbones.Taps`.
        batchnorm: "train" lets the backbone's BatchNorm use batch statistics and move its running
            ones while training, as all released code does; "frozen" keeps them as pre-trained.
            What moved is saved with the adapter.

    Class attributes:
        starts_as_pretrained: with default options and before training, the tokens are bit for bit
            those of the backbone alone with the position in every block.
        why_not_fold: what of the method no frozen layer can take up.
        formerly: options that older adapters do not name -> the values they had.
        scratch: what making its taps takes for a moment, in sizes of the backbone.
        fits: it fits the head by :meth:`fit` and trains nothing, so that it has no epochs.
        stacks: its taps ask no numbers of tensors and exchange no layers, so clouds for several
            adapters may go through the blocks together (:mod:`pointadapt.adapters.mixed`).
        trains_together: ``torch.func.vmap`` goes through its forward pass in training, so several
            runs may be trained at once (:mod:`pointadapt.training.together`).
        task_options: what it takes as the task's options where nothing else is asked for.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    head_inputs: ClassVar[tuple[str, ...]] = ("cls", "patch_max")
    starts_as_pretrained: ClassVar[bool] = False
    why_not_fold: ClassVar[str] = "it defines no fold"
    formerly: ClassVar[Mapping[str, Any]] = {}
    scratch: ClassVar[int] = 0
    fits: ClassVar[bool] = False
    stacks: ClassVar[bool] = False
    trains_together: ClassVar[bool] = False
    task_options: ClassVar[Mapping[str, Any]] = {}

    position: Literal["every_block", "once"] = "every_block"
    batchnorm: Literal["train", "frozen"] = "train"

    def attach(self, backbone: Backbone) -> Taps:
        """New taps for ``backbone``; all their parameters train."""
        return Taps(backbone.config.depth, self.position)

    def prepare(self, taps: Any, backbone: Backbone, clouds: TrainingClouds) -> None:
        """Look at the training clouds, once and before training; most methods need not.

        What is found belongs in buffers of ``taps``, of a size that the options alone fix: they are
        saved and resumed with the adapter, which then needs no data. Without this call, as where a
        model is built by hand, the taps must work too. Called in evaluation mode and without
        gradients; random numbers come from ``clouds.seed``, so that every process finds the same.

        Args:
            taps: what :meth:`attach` made.
            backbone: as it is before training; left as it is.
            clouds: to be asked for batches.
        """
        del taps, backbone, clouds

    def fit(self, rows: Rows) -> LinearFit:
        """The head as a linear map of its inputs, for methods that declare ``fits``.

        Args:
            rows: the inputs of the head and the labels of all training clouds.

        Raises:
            PointAdaptError: it cannot be fitted, and why.
        """
        del rows
        raise ConfigError(f"{self.title} fits no head")

    def default_head(self) -> tuple[str, ...]:
        """What the head takes where nothing else is asked for."""
        return self.head_inputs

    def trainable(self, name: str) -> bool:
        """Whether the backbone's own parameter ``name`` trains; all ask :meth:`trainable_among`."""
        del name
        return False

    def trainable_among(self, names: Iterable[str]) -> set[str]:
        """Which of a backbone's parameters train, where that depends on what else there is."""
        return {name for name in names if self.trainable(name)}

    def when_idle(self) -> tuple[str, ...]:
        """Options (key=value) to try where the taps' ``token_scale`` leaves most tokens out."""
        return ()

    @property
    def foldable(self) -> Foldable:
        """How much of what this method adds the frozen layers can take up once trained."""
        return "no"

    def fold(self, folding: Folding, taps: Any) -> Method:
        """Move what frozen layers can take up of trained ``taps`` into them.

        Args:
            folding: the backbone's tensors, to be changed.
            taps: what :meth:`attach` made, trained; left as they are.

        Returns:
            The method that is left. Its own taps have the tensors of ``taps`` of the same names,
            and nothing of the backbone trains.

        Raises:
            CannotFold: nothing can be moved, and why.
        """
        del folding, taps
        raise CannotFold(f"{self.title} cannot be folded: {self.why_not_fold}")

    def head_alone(self) -> Method:
        """What is left of a method that folds wholly: a frozen backbone under a head."""
        return make_method("linear_probe", {"position": self.position})

    def to_dict(self) -> dict[str, Any]:
        """The options as plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def make(cls, options: Mapping[str, Any]) -> Method:
        """The method with ``options``, plain values or text."""
        return build(cls, options, f"method {cls.name!r}")

    def to_file(
        self, taps: Taps, tensors: dict[str, Tensor], config: dict[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """An adapter's tensors and configuration as its files hold them; here just as they are."""
        del taps
        return tensors, config

    def from_file(self, taps: Taps, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that :meth:`to_file` gave, under our names again."""
        del taps
        return tensors


@dataclass(frozen=True)
class ClsMethod(Method):
    """Base of methods that may train the CLS token besides what is theirs.

    Attributes:
        train_cls: train the CLS token and its position (2 D parameters), as DAPT does. Point-MAE's
            pre-training has no CLS token: untrained it would stay random.
    """

    train_cls: bool = True

    def trainable(self, name: str) -> bool:
        return self.train_cls and name in ("cls_token", "cls_pos")


@dataclass(frozen=True)
class FoldingBlocks(ClsMethod):
    """Base of methods all of which lies in blocks whose taps have ``fold(folding, number)``."""

    @property
    def foldable(self) -> Foldable:
        return "wholly"

    def fold(self, folding: Folding, taps: Any) -> Method:
        for number, block in enumerate(taps.blocks):
            block.fold(folding, number)
        return self.head_alone()


METHODS: Registry[Method] = Registry("method", "pointadapt.methods")


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """The method called ``name`` with ``options``; strings are converted to the field's type.

    Raises:
        UnknownNameError: no such method or option.
        ConfigError: a value of the wrong type.
    """
    return METHODS[name].make(options or {})
