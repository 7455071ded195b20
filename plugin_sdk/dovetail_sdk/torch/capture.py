"""Captured work: launched as one, on the arrays that it was captured with.

`Capture` is what a device offers, `buckets` and `Bucket` the policy: steps in which every row has one token are padded
to one of a few numbers of rows, and run what was captured for that number. Other steps are launched kernel by kernel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Outputs = Mapping[str, Tensor]
Work = Callable[[], Outputs]


class Captured(ABC):
    """Work that was captured.

    outputs  the arrays that every launch writes to
    """

    outputs: Outputs

    @abstractmethod
    def launch(self) -> None:
        """Run it again, after what was issued before, on what its inputs hold by then."""


class Capture(ABC):
    """How a device captures. Work that is captured together shares memory: one of it runs at a time."""

    @abstractmethod
    def capture(self, work: Work) -> Captured:
        """Run the work once for what a first call makes, then once more to write it down."""


class RecordingCapture(Capture):
    """Captures nothing: every launch calls the work again and copies its outputs to where the first ones are.

    For tests of the policy, on any device. Like a real capture it shows the work only what the arrays hold; the first
    launch stands for the capture.

    launched  the work of each launch, in order
    """

    def __init__(self) -> None:
        self.launched: list[Captured] = []

    def capture(self, work: Work) -> Captured:
        return _Recorded(work, self.launched)


class _Recorded(Captured):
    outputs: dict[str, Tensor]

    def __init__(self, work: Work, launched: list[Captured]) -> None:
        self._work, self._launched = work, launched
        self.outputs = {}

    def launch(self) -> None:
        self._launched.append(self)
        for name, output in self._work().items():
            if name in self.outputs:
                self.outputs[name].copy_(output)
            else:
                self.outputs[name] = output.clone()


class CudaCapture(Capture):
    """CUDA and HIP graphs, in one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = torch.cuda.graph_pool_handle()

    def capture(self, work: Work) -> Captured:
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            work()
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = work()
        return _CudaGraph(graph, outputs)


class _CudaGraph(Captured):
    def __init__(self, graph: Any, outputs: Outputs) -> None:
        self._graph, self.outputs = graph, outputs

    def launch(self) -> None:
        self._graph.replay()


def buckets(rows: int) -> list[int]:
    """Numbers of rows that steps are padded to, for at most `rows`: 1, 2, 4, 8, then every 8th to 64, 16th to 256, 64th."""
    found = [1, 2, 4]
    size = 8
    while size < rows:
        found.append(size)
        size += 8 if size < 64 else 16 if size < 256 else 64
    return [size for size in found if size < rows] + [rows]
