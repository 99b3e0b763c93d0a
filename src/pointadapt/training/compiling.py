"""Compiled forward and backward passes: what inductor is told, and where it keeps its results.

The compiler merges element-wise operations, and decides by itself what the backward computes again,
so the memory recipes of :mod:`pointadapt.backbones.memory` step aside. A run that asks to be lean,
of a method that can be, has the outputs of short products computed again, too
(docs/decisions/how-fast-a-gpu-step-can-be.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters.model import PointModel
from ..backbones.memory import Keep
from ..core import console
from ..core.errors import ConfigError, PointAdaptError, first_line
from ..core.files import cache_dir

REPAYS = 1_500_000
"""Clouds of a run (epochs times clouds) from which on compiling saves more time than it takes."""

SHORT, MOST = 64, 384  # inputs of products whose outputs a lean step computes again


class CompiledFunction:
    """A function of tensors, compiled when it is first called; its backward pass as well.

    Args:
        function: what is compiled.
        name: what an error calls it.
        must: whether it is an error if it cannot be compiled; else it runs as it is.
        lean: the backward computes again what is cheap, see :func:`settings`.
    """

    def __init__(
        self, function: Callable[..., Any], name: str, must: bool, lean: bool = False
    ) -> None:
        self.function, self.name, self.must, self.lean = function, name, must, lean
        self.place = keep_results()
        self.forward: Any = torch.compile(function, dynamic=False)
        self.called = self.failed = False

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Any:
        if self.failed:
            return self.function(*inputs, **named)
        if not self.called:
            self.called = True
            console.note_line(
                f"compiling the training step takes about a minute; {self.place or 'nothing'} "
                "keeps what it makes for later runs"
            )
        try:
            with settings(self.lean):
                return self.forward(*inputs, **named)
        except (PointAdaptError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a compiler may raise
            self._give_up(error)
        return self.function(*inputs, **named)

    def _give_up(self, error: Exception) -> None:
        """Go on without, or raise a ConfigError."""
        why = first_line(getattr(error, "inner_exception", error))
        if self.must:
            raise ConfigError(
                f"--step compile: {self.name} cannot be compiled here ({why}): use --step auto"
            ) from error
        self.failed = True
        console.note_line(f"the training step cannot be compiled, so it is not ({why})")


class Compiled(CompiledFunction):
    """The forward pass of ``net``, compiled when it is first called; the backward pass as well.

    Args:
        net: what accelerate made of ``model``.
        model: if lean, it keeps "all" from now on, and the compiler what it decides.
        must: whether a network that cannot be compiled is an error; else it runs as it is.
    """

    def __init__(self, net: nn.Module, model: PointModel, must: bool) -> None:
        self.model = model
        self.keep: Keep = model.keep
        lean = model.keep == "lean" and model.adapter.taps.lean
        if self.keep == "lean":
            model.keep = "all"
        super().__init__(net, model.backbone.name, must, lean)

    def _give_up(self, error: Exception) -> None:
        super()._give_up(error)
        self.model.keep = self.keep


def keep_results() -> str:
    """The folder that keeps what is compiled: the user's choice, or one beside fetched weights.

    To be called before the compiler is loaded, which else chooses a folder that a restart empties.
    """
    with suppress(PointAdaptError, OSError):
        folder = cache_dir() / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    return os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")


def why_not_compile() -> str:
    """Why nothing can be compiled for an NVIDIA GPU; "" where it may work."""
    from torch.utils._triton import has_triton

    return "" if has_triton() else "Triton is not installed"


@contextmanager
def settings(lean: bool) -> Iterator[None]:
    """The compiler's settings. Both passes are compiled together, so that all fails at once.

    ``lean`` computes again whatever needs neither a sum nor a long product, however far away it is
    used, and the products that :class:`ShortProducts` marks.
    """
    import torch._functorch.config as autograd
    import torch._inductor.config as inductor

    wanted = {"force_non_lazy_backward_lowering": True}
    if lean:
        wanted |= {
            "ban_recompute_used_far_apart": False,
            "ban_recompute_long_fusible_chains": False,
        }
    known = {name: value for name, value in wanted.items() if hasattr(autograd, name)}
    with ExitStack() as stack:
        stack.enter_context(autograd.patch(known))  # type: ignore[attr-defined]
        if lean:
            stack.enter_context(inductor.patch(joint_custom_post_pass=short_products()))  # type: ignore[attr-defined]
        yield


def short_products() -> Any:
    """What marks products of few inputs in the graph of both passes, before it is cut in two.

    A product of at most :data:`SHORT` inputs, or of at most :data:`MOST` and no more outputs.
    """
    from torch._inductor.custom_graph_pass import CustomGraphPass
    from torch.utils.checkpoint import CheckpointPolicy

    class ShortProducts(CustomGraphPass):
        def __call__(self, graph: torch.fx.Graph) -> None:
            for node in graph.nodes:
                if is_short(node):
                    node.meta["recompute"] = CheckpointPolicy.PREFER_RECOMPUTE

        def uuid(self) -> Any:  # of the compiler's cache
            return f"pointadapt: products of {SHORT} and {MOST}"

    return ShortProducts()


def is_short(node: torch.fx.Node) -> bool:
    """Whether this is a product of few inputs."""
    if node.target not in (torch.ops.aten.addmm.default, torch.ops.aten.mm.default):
        return False
    weight: Any = node.args[-1]
    inner, outer = weight.meta["val"].shape
    return inner <= SHORT or (inner <= MOST and outer <= inner)


__all__ = ["REPAYS", "Compiled", "CompiledFunction", "settings", "why_not_compile"]
