"""Released classification heads: what a fine-tuned file says of its own.

All are ``Sequential``s of linear layers, of which the hidden ones are followed by BatchNorm, ReLU
and dropout, or by ReLU and dropout alone. The numbers of the layers tell which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ..core.errors import CheckpointError

ALONE = "--backbone-only writes the backbone alone"  # what is left to do
STEPS = {True: 4, False: 3}  # from one linear layer to the next, with BatchNorm and without


@dataclass(frozen=True)
class TunedHead:
    """A released head.

    Attributes:
        tensors: under the names of its Sequential, such as "0.weight".
        widths: of its hidden layers.
        batchnorm: whether each hidden layer has one.
        inputs: width of what it reads.
        outputs: how many classes it tells apart.
    """

    tensors: dict[str, Tensor]
    widths: tuple[int, ...]
    batchnorm: bool
    inputs: int
    outputs: int

    def cut(self, outputs: int) -> TunedHead:
        """The head that gives only the first ``outputs`` of its logits."""
        last = str(len(self.widths) * STEPS[self.batchnorm])
        kept = {k: v[:outputs] for k, v in self.tensors.items() if k.split(".")[0] == last}
        return replace(self, tensors=self.tensors | kept, outputs=outputs)


def read_head(tensors: Mapping[str, Tensor], prefix: str, title: str, source: str) -> TunedHead:
    """The head whose tensors' names start with ``prefix``.

    Args:
        tensors: of the whole file.
        prefix: of the head's.
        title: whose it is, for messages.
        source: the file, for messages.

    Raises:
        CheckpointError: it is none of the forms above.
    """
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    weights = {k.split(".")[0]: v for k, v in own.items() if k.endswith(".weight") and v.dim() == 2}
    batchnorm = any(key.endswith(".running_mean") for key in own)
    linear = [str(i * STEPS[batchnorm]) for i in range(len(weights))]
    odd = sorted({*own} ^ _names(linear, batchnorm))
    if not weights or set(weights) != set(linear) or odd:
        what = f"{prefix}{(odd or sorted(own) or ['0.weight'])[0]}"
        state = f"has no {what!r}" if what not in tensors else f"with {what!r}"
        raise CheckpointError(
            f"{source}: the fine-tuned {title} head is of no form that is known ({state}): {ALONE}"
        )
    widths = [weights[number].shape[0] for number in linear]
    return TunedHead(own, tuple(widths[:-1]), batchnorm, weights["0"].shape[1], widths[-1])


def _names(linear: list[str], batchnorm: bool) -> set[str]:
    """The names of all tensors of a head with these linear layers."""
    names = {f"{number}.{what}" for number in linear for what in ("weight", "bias")}
    moving = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    if batchnorm:
        names |= {f"{int(number) + 1}.{what}" for number in linear[:-1] for what in moving}
    return names
