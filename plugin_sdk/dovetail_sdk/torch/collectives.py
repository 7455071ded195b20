"""The ops of divided graphs by torch.distributed, over the group of this process."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from dovetail_sdk.runner import Kernel


def all_reduce(x: Tensor) -> Tensor:
    """The sum over the members, any shape; in the place of x, which nothing else reads."""
    x = x.contiguous()
    distributed.all_reduce(x)
    return x


def all_gather(x: Tensor, *, parts: int = 1) -> Tensor:
    """The members' parts of the last axis: [*, W] -> [*, parts * W]."""
    x = x.contiguous()
    every = x.new_empty(parts, *x.shape)
    distributed.all_gather(list(every.unbind()), x)
    return torch.movedim(every, 0, -2).flatten(-2)


def collectives() -> dict[str, Kernel]:
    """Kernels for a member of a mesh."""
    how = distributed.get_backend() if distributed.is_initialized() else "the group's library"
    return {
        "all_reduce": Kernel("torch all_reduce", all_reduce, note=f"by {how}"),
        "all_gather": Kernel("torch all_gather", all_gather, note=f"by {how}"),
    }
