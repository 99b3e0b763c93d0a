"""One step of the optimizer: operation by operation, captured as a CUDA graph, or compiled as well.

On a GPU a small network's step is thousands of short kernels, and starting them takes Python longer
than running them. A captured step starts them all at once. What is captured must not ask for a
value (no ``item``), so the learning rate is a tensor, gradients are clipped on the device, and the
losses are summed there by the caller.

The first steps of a run are real and eager, and warm up what a capture needs; the capture itself
computes nothing. Random draws (dropout, DropPath) come from the device's generator, which a graph
reads anew at each replay, so seeding every epoch goes on fixing them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..adapters.model import PointModel
from ..core.errors import ConfigError, first_line
from ..tasks import Task
from .compiling import REPAYS, Compiled, why_not_compile

How = Literal["eager", "graph", "compile", "auto"]
Result = tuple[Tensor, Tensor]  # the loss and the output, detached
WARM_UP = 3  # eager steps before the capture


class Step:
    """The eager step.

    Args:
        net: what accelerate made of the model.
        task: gives the loss.
        optimizer: what accelerate made of the optimizer.
        acc: accelerate's engine.
        clip: largest gradient norm.
    """

    def __init__(
        self, net: nn.Module, task: Task, optimizer: Any, acc: Accelerator, clip: float
    ) -> None:
        self.net, self.task, self.optimizer, self.acc = net, task, optimizer, acc
        self.clip = clip
        self.forward: Callable[..., Tensor] = net

    def set_lr(self, lr: float) -> None:
        """The learning rate of the next step."""
        self.set_lr_of(self.optimizer, lr)

    def set_lr_of(self, optimizer: Any, lr: float) -> None:
        """The learning rate of an optimizer that moves in this step."""
        for group in optimizer.param_groups:
            group["lr"] = lr

    def deciding(self) -> Any:
        """What decides which operations the next step is."""
        return self.acc.unwrap_model(self.net).adapter.taps.deciding()

    def forget(self) -> None:
        """Forget the gradients of a step that came to nothing."""
        self.optimizer.zero_grad()

    def __call__(self, points: Tensor, target: Tensor, **told: Tensor) -> Result:
        """Move the weights once (or add to the gradients, where accelerate accumulates).

        Args:
            points: (B, N, 3).
            target: as the task wants it.
            told: what else the model is given, by name.

        Returns:
            The loss and the output; a captured step overwrites them the next time.
        """
        acc = self.acc
        with acc.accumulate(self.net):
            with acc.autocast():
                output = self.forward(points, **told)
            loss = self.task.loss(output, target)
            acc.backward(loss)
            if acc.sync_gradients:
                acc.clip_grad_norm_(self.net.parameters(), self.clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss.detach(), output.detach()


class GraphStep(Step):
    """The step as one CUDA graph; shapes must be the same every time.

    Attributes:
        record: makes of a function without arguments one that does the same again.
    """

    record: Callable[[Callable[[], Result]], Callable[[], Result]]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.record = cuda_graph
        self.replay: Callable[[], Result] | None = None
        self.captured: Any = None  # what decided the operations of what was captured
        self.inputs: dict[str, Tensor] = {}
        self.to_warm_up = WARM_UP
        self.failed = False

    def set_lr_of(self, optimizer: Any, lr: float) -> None:
        for group in optimizer.param_groups:
            group["capturable"] = True
            if not isinstance(group["lr"], Tensor):  # at the start, and after a checkpoint
                group["lr"] = torch.zeros((), device=self.acc.device)
            group["lr"].fill_(lr)

    def __call__(self, points: Tensor, target: Tensor, **told: Tensor) -> Result:
        new = {"points": points, "target": target, **told}
        if self.failed:
            return super().__call__(**new)
        if self.replay is not None and self.captured != self.deciding():
            self.replay, self.to_warm_up = None, 1  # which may compile other operations
        if self.to_warm_up:
            self.to_warm_up -= 1
            return aside(lambda: super(GraphStep, self).__call__(**new), points.device)
        if self.replay is None:
            self._capture(new)
            return self(**new)
        for name, value in new.items():
            self.inputs[name].copy_(value)
        return self.replay()

    def _capture(self, new: dict[str, Tensor]) -> None:
        self.replay, self.captured = None, self.deciding()
        self.inputs = {name: value.clone() for name, value in new.items()}
        try:
            self.replay = self.record(lambda: super(GraphStep, self).__call__(**self.inputs))
        except RuntimeError as error:
            self.failed = True
            self.forget()
            warnings.warn(
                f"the training step cannot be captured, so it runs eagerly ({first_line(error)}): "
                "--step eager silences this",
                RuntimeWarning,
                stacklevel=2,
            )


def aside(body: Callable[[], Result], device: torch.device) -> Result:
    """``body()`` on a stream of its own, as steps before a capture must run."""
    if device.type != "cuda":
        return body()
    here, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    stream.wait_stream(here)
    with torch.cuda.stream(stream):
        result = body()
    here.wait_stream(stream)
    return result


def cuda_graph(body: Callable[[], Result]) -> Callable[[], Result]:
    """What ``body`` does, captured; the results are always the same tensors."""
    graph = torch.cuda.CUDAGraph()
    # Other threads (TensorBoard's, page-locking) may go on calling CUDA.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = body()

    def replay() -> Result:
        graph.replay()
        return result

    return replay


def why_not_capture(acc: Accelerator, accumulate: int, keep: str) -> str:
    """Why the step cannot be a CUDA graph here; "" if it can."""
    if acc.device.type != "cuda":
        return f"it needs an NVIDIA GPU, and this runs on {acc.device.type}"
    if acc.num_processes > 1:
        return f"it is for one process, not {acc.num_processes}"
    if acc.scaler is not None:
        return "--precision fp16 looks at its gradients in every step: use bf16"
    if accumulate > 1:
        return "--accumulate makes steps differ: raise --batch-size instead"
    if keep == "recompute":
        return "--keep recompute stores the state of random numbers: use --keep all"
    return ""


def why_not_this(model: PointModel) -> str:
    """Why no step of this model can be a CUDA graph; "" if it can."""
    if model.backbone.stage_views():
        return f"{model.backbone.name} asks how many voxels each batch has"
    return ""


def make_step(
    how: How, model: PointModel, net: nn.Module, optimizer: Any, acc: Accelerator, *,
    clip: float, accumulate: int = 1, task: Task | None = None, clouds: int = 0,
) -> Step:  # fmt: skip
    """The step that ``how`` asks for.

    "auto" captures where it can, and compiles as well where the ``clouds`` of the whole run repay
    it (:data:`~.compiling.REPAYS`) and the compiler works. ``task`` gives the loss where it knows
    more of the data than the model's own.

    Raises:
        ConfigError: a captured step is asked for, and cannot be.
    """
    why_not = why_not_capture(acc, accumulate, model.keep) or why_not_this(model)
    if how == "graph" and why_not:
        raise ConfigError(f"--step graph: {why_not}; or use --step eager")
    captured = not why_not and how != "eager"
    cls = GraphStep if captured else Step
    step = cls(net, task or model.adapter.task, optimizer, acc, clip)
    long = how == "auto" and captured and clouds >= REPAYS and not why_not_compile()
    if how == "compile" or long:
        step.forward = Compiled(net, model, must=how == "compile")
    return step
