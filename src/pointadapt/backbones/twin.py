"""A second backbone around the same tensors, but for a few that it has for itself."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def twin(module: M, names: Collection[str]) -> M:
    """A module that computes what ``module`` does, with copies of the tensors ``names``.

    The modules on the way to such a tensor are copies too, in their own mode. All other modules and
    tensors are the same objects in both, so what a twin costs is what ``names`` hold.

    Args:
        module: left as it is.
        names: of parameters and buffers, as in its ``state_dict``. Copies of parameters do not
            train until they are told to.
    """
    own = {name for name in names if "." not in name}
    inside: dict[str, list[str]] = defaultdict(list)
    for name in names:
        first, dot, rest = name.partition(".")
        if dot:
            inside[first].append(rest)
    new = copy.copy(module)
    new.__dict__ = module.__dict__ | {
        "_parameters": {
            k: nn.Parameter(v.detach().clone(), requires_grad=False) if v is not None and k in own
            else v for k, v in module._parameters.items()
        },
        "_buffers": {
            k: v.detach().clone() if v is not None and k in own else v
            for k, v in module._buffers.items()
        },
        "_modules": {
            k: twin(v, inside[k]) if v is not None and k in inside else v
            for k, v in module._modules.items()
        },
    }  # fmt: skip
    return new
