"""A step's numbers to the device in one copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dovetail_sdk.runner import Event

from .queue import Queue

DEPTH = 64
"""Copies that may be on their way at once without waiting: those of the steps in flight, their plans and samplings."""
ALIGNED = 4
"""Every part begins at a multiple of this many words: 16 bytes."""


class Staging:
    """A ring of page-locked buffers of 32-bit words. One thread at a time."""

    def __init__(self, queue: Queue, device: torch.device) -> None:
        self._queue, self._device = queue, device
        self._ring: list[tuple[torch.Tensor, Event | None]] = [
            (torch.empty(0, dtype=torch.int32), None) for _ in range(DEPTH)
        ]
        self._turn = 0

    def send(
        self, parts: Sequence[NDArray[Any]], into: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """The parts on the device, each in its own shape, i32 or f32 (u32 as the i32 of the same bits).

        into  words of the device to put them in; new ones if None

        Copied before it returns; on the device before whatever is issued next.
        """
        starts, total = [], 0
        for part in parts:
            starts.append(total)
            total += -(-part.size // ALIGNED) * ALIGNED
        host = self._buffer(total)
        words = host.numpy()
        for part, start in zip(parts, starts, strict=True):
            words[start : start + part.size] = part.reshape(-1).view(np.int32)
        device = (
            torch.empty(total, dtype=torch.int32, device=self._device) if into is None else into
        )
        device[:total].copy_(host[:total], non_blocking=True)
        self._ring[self._turn] = (host, self._queue.record())
        self._turn = (self._turn + 1) % DEPTH
        return [
            _shaped(device[start : start + part.size], part)
            for part, start in zip(parts, starts, strict=True)
        ]

    def _buffer(self, words: int) -> torch.Tensor:
        """The next buffer, once the copy from it has ended."""
        host, event = self._ring[self._turn]
        if event is not None:
            event.wait()
        if host.numel() < words:
            size = 1 << max(10, (words - 1).bit_length())
            host = torch.empty(size, dtype=torch.int32, pin_memory=self._queue.pinned)
        return host


def _shaped(words: torch.Tensor, like: NDArray[Any]) -> torch.Tensor:
    typed = words.view(torch.float32) if like.dtype == np.float32 else words
    return typed.view(like.shape)
