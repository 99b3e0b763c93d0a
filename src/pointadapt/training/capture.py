"""One step of the optimizer, of whatever losses: operation by operation, or captured.

On a GPU a small network's step is thousands of short kernels, and starting them takes Python longer
than running them. A captured step, a CUDA graph, starts them all at once. What is captured must not
ask for a value (no ``item``), so the learning rate is a tensor, gradients are clipped on the
device, and the losses are summed there by the caller.

The first steps of a run are real and eager, and warm up what a capture needs; the capture itself
computes nothing. Random draws (dropout, DropPath) come from the device's generator, which a graph
reads anew at each replay, so seeding goes on fixing them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..core.errors import first_line

Result = tuple[Tensor, Tensor]  # the loss and what is told beside it, detached
WARM_UP = 3  # eager steps before the capture


class Losses(Protocol):
    """What a step minimises."""

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        """The loss of what a step is given, tensors alone, and what is told beside it."""
        ...

    def compile(self, must: bool) -> None:
        """Be compiled from now on; ``must``: what cannot be is an error."""
        ...

    def deciding(self) -> Any:
        """What decides which operations these are; they are captured anew where it has changed."""
        ...


class Step:
    """The eager step.

    Args:
        losses: gives the loss.
        net: what accelerate made of the model.
        optimizer: what accelerate made of the optimizer.
        acc: accelerate's engine.
        clip: largest gradient norm.
    """

    def __init__(
        self, losses: Losses, net: nn.Module, optimizer: Any, acc: Accelerator, clip: float
    ) -> None:
        self.losses, self.net, self.optimizer, self.acc = losses, net, optimizer, acc
        self.clip = clip

    def set_lr(self, lr: float) -> None:
        """The learning rate of the next step."""
        self.set_lr_of(self.optimizer, lr)

    def set_lr_of(self, optimizer: Any, lr: float) -> None:
        """The learning rate of an optimizer that moves in this step."""
        for group in optimizer.param_groups:
            group["lr"] = lr

    def deciding(self) -> Any:
        """What decides which operations the next step is."""
        return self.losses.deciding()

    def forget(self) -> None:
        """Forget the gradients of a step that came to nothing."""
        self.optimizer.zero_grad()

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Result:
        """Move the weights once (or add to the gradients, where accelerate accumulates).

        Args:
            inputs: what the losses are given.
            named: the same, by name.

        Returns:
            The loss and what is told beside it; a captured step overwrites them the next time.
        """
        acc = self.acc
        with acc.accumulate(self.net):
            loss, beside = self.losses(*inputs, **named)
            acc.backward(loss)
            if acc.sync_gradients:
                acc.clip_grad_norm_(self.net.parameters(), self.clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss.detach(), beside.detach()


class GraphStep(Step):
    """The step as one CUDA graph; shapes must be the same every time.

    Attributes:
        record: makes of a function without arguments one that does the same again.
        inputs, named: what the captured step reads, of which each call changes the values.
    """

    record: Callable[[Callable[[], Result]], Callable[[], Result]]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.record = cuda_graph
        self.replay: Callable[[], Result] | None = None
        self.captured: Any = None  # what decided the operations of what was captured
        self.inputs: tuple[Tensor, ...] = ()
        self.named: dict[str, Tensor] = {}
        self.to_warm_up = WARM_UP
        self.failed = False

    def set_lr_of(self, optimizer: Any, lr: float) -> None:
        device = self.acc.device
        for group in optimizer.param_groups:
            group["capturable"] = True
            held = group["lr"]  # a number at the start, and a checkpoint's is on the host
            if not isinstance(held, Tensor) or held.device.type != device.type:
                group["lr"] = torch.zeros((), device=device)
            group["lr"].fill_(lr)

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Result:
        if self.failed:
            return super().__call__(*inputs, **named)
        if self.replay is not None and self.captured != self.deciding():
            self.replay, self.to_warm_up = None, 1  # which may compile other operations
        if self.to_warm_up:
            self.to_warm_up -= 1
            eager = super().__call__
            return aside(lambda: eager(*inputs, **named), self.acc.device)
        if self.replay is None:
            self._capture(inputs, named)
            return self(*inputs, **named)
        for own, new in zip(self.inputs, inputs, strict=True):
            own.copy_(new)
        for name, new in named.items():
            self.named[name].copy_(new)
        return self.replay()

    def _capture(self, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        self.replay, self.captured = None, self.deciding()
        self.inputs = tuple(value.clone() for value in inputs)
        self.named = {name: value.clone() for name, value in named.items()}
        eager = super().__call__
        try:
            self.replay = self.record(lambda: eager(*self.inputs, **self.named))
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


def why_not_capture(acc: Accelerator, accumulate: int = 1, keep: str = "all") -> str:
    """Why the step cannot be a CUDA graph here; "" if it can."""
    if acc.device.type != "cuda":
        return f"it needs an NVIDIA GPU, and this runs on {acc.device.type}"
    if why := several(acc):
        return why
    if acc.scaler is not None:
        return "--precision fp16 looks at its gradients in every step: use bf16"
    if accumulate > 1:
        return "--accumulate makes steps differ: raise --batch-size instead"
    if keep == "recompute":
        return "--keep recompute stores the state of random numbers: use --keep all"
    return ""


def several(acc: Accelerator) -> str:
    """Why what is for one process is not for these; "" if there is one."""
    return f"it is for one process, not {acc.num_processes}" if acc.num_processes > 1 else ""
