"""What a pre-training run minimises, on which batches, by which network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..core.config import PretrainConfig
from ..core.errors import ConfigError
from ..data.transforms import augment
from ..ops import normalize
from .batches import CloudBatches
from .contrast import second_view
from .made_scenes import SceneBatches, SceneNet, SceneTargets, scene_net
from .monitor import Log, Monitor
from .setup import network

SCENES = "scenes"  # the name of made-up scenes among ``data``


class Objective(Protocol):
    """One.

    Attributes:
        source: step to a process's share of its batch, a tuple of tensors.
        net: what is trained; its ``backbone`` is kept.
        figure: what the second number of :meth:`losses` is called.
    """

    source: Any
    net: Any
    figure: str

    @property
    def why_not_capture(self) -> str:
        """Why the shapes of a step are not always the same; "" if they are."""
        ...

    def monitor(self) -> Log:
        """What looks at the run while it goes."""
        ...

    def inputs(self, step: int, *batch: Tensor) -> dict[str, Tensor]:
        """What :meth:`losses` takes, by name: the batch, and all that is drawn.

        Args:
            step: fixes what is drawn.
            batch: of the source, on the device.
        """
        ...

    def losses(self, net: nn.Module, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What is minimised, and the figure that is told beside it; draws nothing.

        Args:
            net: ``self.net``, maybe shared by processes.
            inputs: of one step.
        """
        ...


def make_objective(config: PretrainConfig, accelerator: Accelerator) -> Objective:
    """The one that ``config.data`` asks for.

    Raises:
        PointAdaptError: something that it asks for does not go together, or is not there.
    """
    if SCENES not in config.data:
        return Masked(config, accelerator)
    _check_scenes(config)
    return Told(config, accelerator)


def _check_scenes(config: PretrainConfig) -> None:
    """Refuse what made-up scenes do not know."""
    if len(config.data) > 1:
        raise ConfigError(f"{SCENES} are not mixed with other data")
    given = [name for name in ("label_weight", "attribute_weight", "contrast_weight", "probe_every")
             if getattr(config, name)]  # fmt: skip
    if given:
        raise ConfigError(f"{' and '.join(given)} are not for {SCENES}: leave them out")


class Masked:
    """Masked autoencoding, with the losses beside it that the configuration weighs."""

    figure = "chamfer"

    def __init__(self, config: PretrainConfig, accelerator: Accelerator) -> None:
        self.config, self.acc = config, accelerator
        self.rank, self.processes = accelerator.process_index, accelerator.num_processes
        self.source = CloudBatches(config, self.rank, self.processes)
        self.net = network(config, self.source)

    def monitor(self) -> Log:
        return Monitor(self.config, self.source.source)

    @property
    def why_not_capture(self) -> str:
        c = self.config
        if c.mask_spread:
            return "--mask-spread hides another number of patches in each step"
        return "--view-points gives views another size in each step" if c.view_points else ""

    def inputs(self, step: int, *batch: Tensor) -> dict[str, Tensor]:
        """Normalised and augmented clouds, another view of them, masks, and what is known.

        All is drawn on the CPU, from a generator that ``step`` seeds, so that it is the same on any
        device; what depends on the points is worked out where they are.
        """
        clouds, labels, has, known = batch
        c = self.config
        draw = torch.Generator().manual_seed(c.seed * 1_000_003 + step)
        out = {"points": self._whole(clouds, lambda x: augment(normalize(x), c.augment, draw))}
        if c.views:
            out["view"] = self._whole(clouds, lambda x: second_view(x, c, draw))
        views = out["view"].shape[1] if c.views else 0
        out |= self.net.masks(len(clouds), draw, self.rank, self.processes, views)
        if c.label_weight:
            out |= {"labels": labels, "count": self._labelled(labels)}
        if c.attribute_weight:
            out |= {"has": has, "known": known}
        return {name: tensor.contiguous() for name, tensor in out.items()}

    def losses(
        self, net: nn.Module, points: Tensor, seen: Tensor, hidden: Tensor, **more: Tensor
    ) -> tuple[Tensor, Tensor]:
        c = self.config
        with torch.autocast(points.device.type, torch.bfloat16, enabled=c.precision == "bf16"):
            out = net(points, seen, hidden, more.get("view"), more.get("view_seen"))
        loss = chamfer = out.chamfer()
        if c.label_weight:
            loss = loss + c.label_weight * out.label_loss(more["labels"], more["count"])
        if c.attribute_weight:
            loss = loss + c.attribute_weight * out.attribute_loss(more["has"], more["known"])
        if c.contrast_weight:
            loss = loss + c.contrast_weight * out.contrast_loss()
        return loss, chamfer

    def _whole(self, points: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """The process's share, changed by the draws that it gets in the whole batch."""
        share, n = len(points), self.processes
        mine = slice(self.rank * share, (self.rank + 1) * share)
        if n > 1:
            whole = points.new_zeros(n * share, *points.shape[1:])
            whole[mine] = points
            points = whole
        return change(points)[mine]

    def _labelled(self, labels: Tensor) -> Tensor:
        """The number of labelled clouds, but at least 1; of several processes the mean of it."""
        count: Any = (labels >= 0).sum()
        if self.processes > 1:
            count = self.acc.reduce(count.float(), reduction="mean")
        return count.clamp(min=1 / self.processes)


class Told:
    """What made-up scenes know of each point, see :mod:`.made_scenes`."""

    figure = "points_right"
    why_not_capture = "made-up scenes ask how many voxels each batch has"

    def __init__(self, config: PretrainConfig, accelerator: Accelerator) -> None:
        self.config = config
        self.net: SceneNet = scene_net(config)
        self.source = SceneBatches(
            config, self.net.recipe, accelerator.process_index, accelerator.num_processes
        )

    def monitor(self) -> Log:
        return Log(self.config)

    def inputs(self, step: int, *batch: Tensor) -> dict[str, Tensor]:
        del step
        return SceneTargets(*batch)._asdict()

    def losses(self, net: nn.Module, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        told = SceneTargets(**inputs)
        with torch.autocast(
            told.coord.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"
        ):
            out = net(told)
        return out[0], out[1]
