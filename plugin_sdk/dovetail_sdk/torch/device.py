"""A torch device as the contract has it, made of a table of kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from dovetail.errors import OutOfMemory
from dovetail.graph import Graph
from dovetail.platform import I32, Capabilities, KVLayout, LoadedModel, Program, Shape, Ticket
from numpy.typing import NDArray

from dovetail_sdk.runner import Kernel, KernelDevice, KernelModel
from dovetail_sdk.runner.call import Call

from . import blocks as transfer
from .backend import TorchBackend
from .capture import Capture
from .draw import Sampling
from .program import TorchProgram
from .queue import allocating, device_errors
from .state import TorchState


class TorchDevice(KernelDevice):
    """Runs graphs on a table op -> Kernel over torch tensors, two steps in flight.

    device    "cpu", "cuda:0", ...
    kernels   as in dovetail_sdk.torch.KERNELS, with a platform's own in the place of some
    sampling  kernels of the platform's own for dovetail_sdk.torch.draw's
    fp8       the kind of the cache form "fp8", of dovetail_sdk.torch.fp8.KINDS
    capture   how steps of one token per row are captured; None: every step is launched kernel by kernel
    """

    def __init__(
        self,
        device: torch.device,
        kernels: Mapping[str, Kernel],
        capabilities: Capabilities,
        *,
        sampling: Sampling | None = None,
        capture: Callable[[torch.device], Capture] | None = None,
        fp8: str | None = None,
    ) -> None:
        backend = TorchBackend(device, fp8)
        super().__init__(backend, kernels, replace(capabilities, steps_in_flight=2))
        self._torch, self._sampling, self._capture = backend, sampling, capture

    def load(self, graph: Graph, weights: object) -> LoadedModel:
        with torch.inference_mode(), allocating(f"the weights of {graph.name} do not fit"):
            return super().load(graph, weights)  # type: ignore[arg-type]

    def _model(self, graph: Graph, steps: list[Call]) -> LoadedModel:
        capture = self._capture(self._torch.device) if self._capture else None
        return TorchModel(TorchState(graph, steps, self._torch, self._sampling, capture))

    def close(self) -> None:
        """What was loaded has given its memory back to torch; torch gives it to the driver."""
        if self._torch.queue.pinned:
            torch.get_device_module(self._torch.device).empty_cache()


class TorchModel(KernelModel):
    """Weights and, after `allocate`, the cache."""

    _state: TorchState

    def __init__(self, state: TorchState) -> None:
        super().__init__(state, checked=False)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._state.backend.queue.finish()
        with self._state.lock:
            super().allocate(layout, num_blocks)
        kinds = {array.dtype for array in self._state.cache().arrays()} or {layout.form}
        self.block_format = f"{kinds.pop()} S={layout.block_size} layers K V"

    def compile(self, shape: Shape) -> Program:
        try:
            return TorchProgram(self._state, shape)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"a step of {shape}: {str(error).partition('. ')[0]}") from None

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        self._blocks("copy_blocks", group, np.concatenate([sources, targets]))
        with self._state.lock, torch.inference_mode(), device_errors():
            self._state.copy_blocks(group, sources, targets)

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        """See BlockTransfer."""
        self._blocks("read_blocks", group, blocks)
        with self._state.lock, torch.inference_mode(), device_errors():
            return transfer.read_blocks(self._state, group, blocks, out)

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        """See BlockTransfer."""
        self._blocks("write_blocks", group, blocks)
        with self._state.lock, torch.inference_mode(), device_errors():
            return transfer.write_blocks(self._state, group, blocks, data)

    def close(self) -> None:
        """Also where the device is lost: what cannot be waited for is dropped."""
        try:
            self._state.backend.queue.finish()
        finally:
            super().close()
