"""Blocks of the cache to host memory and back, beside the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from dovetail.platform import I32, Ticket
from numpy.typing import NDArray
from torch import Tensor

from dovetail_sdk.runner import Event

from .queue import Queue
from .state import TorchState


def read_blocks(state: TorchState, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
    """Gathered behind what was issued before, copied beside what is issued after; all layers' keys, then values."""
    queue = state.backend.queue
    at = state.staging.send([blocks])[0]
    parts = [_bytes(array).index_select(0, at) for array in state.cache().group_arrays(group)]
    gathered = torch.cat(parts, dim=1)
    host = torch.empty(gathered.shape, dtype=torch.uint8, pin_memory=queue.pinned)
    with queue.copying(gathered):
        host.copy_(gathered, non_blocking=True)
        return BlocksRead(queue.record(), host, out)


def write_blocks(
    state: TorchState, group: int, blocks: I32, data: NDArray[np.uint8]
) -> Ticket[None]:
    """Copied beside the kernels that run, put in place before what is issued after."""
    queue: Queue = state.backend.queue
    host = torch.empty(data.shape, dtype=torch.uint8, pin_memory=queue.pinned)
    np.copyto(host.numpy(), data)
    words = torch.empty(data.shape, dtype=torch.uint8, device=state.backend.device)
    with queue.copying(words):
        words.copy_(host, non_blocking=True)
    queue.follow()
    at, start = state.staging.send([blocks])[0].long(), 0
    for array in state.cache().group_arrays(group):
        like = _bytes(array)
        like.index_copy_(0, at, words[:, start : start + like.shape[1]])
        start += like.shape[1]
    return BlocksWritten(queue.record(), (host, words))


def _bytes(array: Tensor) -> Tensor:
    """[B, bytes of a block], of the same memory."""
    return array.view(len(array), -1).view(torch.uint8)


@dataclass(slots=True)
class BlocksRead(Ticket[None]):
    """Blocks on their way; they are in `out` when the result was asked for."""

    event: Event
    host: Tensor | None
    out: NDArray[np.uint8]

    def done(self) -> bool:
        return self.event.done()

    def result(self) -> None:
        self.event.wait()
        if self.host is not None:
            np.copyto(self.out, self.host.numpy())
            self.host = None


@dataclass(slots=True)
class BlocksWritten(Ticket[None]):
    """kept  memory that the copy reads until it has ended"""

    event: Event
    kept: Any

    def done(self) -> bool:
        return self.event.done()

    def result(self) -> None:
        self.event.wait()
        self.kept = None
